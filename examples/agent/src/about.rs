//! `GET /`: who the agent is and what it remembers; the same before and after a sleep, but for the
//! process and the number of wakes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::agent::Agent;

/// Answer of `GET /`.
#[derive(Debug, Serialize)]
pub(crate) struct About {
    name: String,
    hostname: String,
    pid: u32,
    started: String,
    wakes: u64,
    remembered: u64,
    last_message: Option<String>,
}

/// `GET /`
pub(crate) async fn show(State(agent): State<Arc<Agent>>) -> Json<About> {
    let memory = agent.notebook.memory();
    let identity = agent.identity.clone();
    Json(About {
        name: identity.name,
        hostname: identity.hostname,
        pid: std::process::id(),
        started: identity.started,
        wakes: memory.wakes,
        remembered: memory.turns,
        last_message: memory.recent.back().map(|turn| turn.message.clone()),
    })
}
