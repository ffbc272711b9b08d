//! `/upload` and `/download`: bodies of any size, in constant memory.

use std::convert::Infallible;
use std::fmt::Write as _;

use axum::Json;
use axum::body::Body;
use axum::extract::Query;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Bytes per piece of a download.
const PIECE: u64 = 64 * 1024;

/// Query of `GET /download`.
#[derive(Debug, Deserialize)]
pub(crate) struct Size {
    bytes: u64,
}

/// `POST /upload`: reads all and tells how much it was.
pub(crate) async fn upload(body: Body) -> Result<Json<Value>, Error> {
    let mut pieces = body.into_data_stream();
    let (mut bytes, mut digest) = (0_u64, Sha256::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Error::BadRequest(error.to_string()))?;
        bytes += piece.len() as u64;
        digest.update(&piece);
    }
    let mut sha256 = String::with_capacity(64);
    for byte in digest.finalize() {
        // Writing to a String does not fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    Ok(Json(json!({"bytes": bytes, "sha256": sha256})))
}

/// `GET /download?bytes=`: the numbers 0 to 255 over and over.
pub(crate) async fn download(Query(Size { bytes }): Query<Size>) -> Response {
    let piece = Bytes::from_iter((0..PIECE).map(|n| (n % 256) as u8));
    let pieces = stream::unfold(bytes, move |left| {
        let piece = piece.slice(..left.min(PIECE) as usize);
        async move {
            let rest = left.checked_sub(piece.len() as u64)?;
            (left > 0).then_some((Ok::<_, Infallible>(piece), rest))
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    response
}
