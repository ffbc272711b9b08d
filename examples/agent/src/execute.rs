//! `POST /execute`: the runtime API that sandbox SDKs speak, only with --allow-execute.

use std::process::Stdio;

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::error::Error;

/// Body of `POST /execute`.
#[derive(Debug, Deserialize)]
pub(crate) struct Execute {
    command: String,
}

/// Runs a shell command and answers with what it wrote.
pub(crate) async fn execute(
    Json(Execute { command }): Json<Execute>,
) -> Result<Json<Value>, Error> {
    let output = Command::new("/bin/sh")
        .args(["-c", &command])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(Error::Command)?;
    Ok(Json(json!({
        "stdout": String::from_utf8_lossy(&output.stdout),
        "stderr": String::from_utf8_lossy(&output.stderr),
        "exit_code": output.status.code().unwrap_or(-1),
    })))
}
