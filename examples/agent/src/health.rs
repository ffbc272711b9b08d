//! `/healthz`, `/readyz` and `/crash`.

use std::future::pending;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::agent::Agent;

/// `GET /healthz`: the process runs.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: the agent takes requests.
pub(crate) async fn ready(State(agent): State<Arc<Agent>>) -> (StatusCode, Json<Value>) {
    match agent.ready_at {
        Some(at) if at <= Instant::now() => (StatusCode::OK, Json(json!({"status": "ready"}))),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "not ready"})),
        ),
    }
}

/// `ANY /crash`: the process ends at once, without an answer.
pub(crate) async fn crash(State(agent): State<Arc<Agent>>) {
    agent.crash.notify_one();
    pending().await
}
