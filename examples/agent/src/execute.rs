//! `POST /execute`: the runtime API that sandbox SDKs speak, only with --allow-execute.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::error::Error;

/// Exit code of a command that was ended for taking too long (that of coreutils' `timeout`).
const TIMED_OUT: i32 = 124;
/// What a command gets whose caller names no limit.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The route; commands run in `folder`, or wherever the agent does.
pub(crate) fn router(folder: Option<PathBuf>) -> Router {
    Router::new()
        .route("/execute", post(execute))
        .with_state(folder)
}

/// Body of `POST /execute`.
#[derive(Debug, Deserialize)]
struct Execute {
    command: String,
    /// Seconds.
    timeout_seconds: Option<f64>,
}

/// Runs a shell command and answers with what it wrote.
async fn execute(
    State(folder): State<Option<PathBuf>>,
    Json(execute): Json<Execute>,
) -> Result<Json<Value>, Error> {
    let limit = execute.timeout_seconds.map_or(Ok(LONGEST), |seconds| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| Error::BadRequest(format!("timeout_seconds is {seconds}")))
    })?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &execute.command])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let Ok(output) = timeout(limit, command.output()).await else {
        return Ok(Json(json!({
            "stdout": "", "stderr": "", "exit_code": TIMED_OUT, "timed_out": true,
        })));
    };
    let output = output.map_err(Error::Command)?;
    Ok(Json(json!({
        "stdout": String::from_utf8_lossy(&output.stdout),
        "stderr": String::from_utf8_lossy(&output.stderr),
        "exit_code": output.status.code().unwrap_or(-1),
        "timed_out": false,
    })))
}
