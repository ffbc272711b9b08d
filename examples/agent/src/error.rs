//! The one place that turns errors into responses, in the form of the router's own errors.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::notebook::WriteError;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The client asked for something that makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The conversation could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file could not be read or written.
    #[error("cannot use the file: {0}")]
    File(std::io::Error),
    /// A command could not be started.
    #[error("cannot run the command: {0}")]
    Command(std::io::Error),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Write(WriteError::Volume(_)) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Write(WriteError::Stopping) => StatusCode::SERVICE_UNAVAILABLE,
            Self::File(error) if error.kind() == std::io::ErrorKind::NotFound => {
                StatusCode::NOT_FOUND
            }
            Self::File(_) | Self::Command(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({"detail": self.to_string()}))).into_response()
    }
}
