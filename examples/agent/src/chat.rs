//! `/chat`, `/history` and `/count`: what is written down before it is answered.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::error::Error;
use crate::memory::{Ask, Record, Turn};

/// Longest message, in bytes.
const MESSAGE_MAX: usize = 64 * 1024;

/// Body of `POST /chat`.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    message: String,
}

/// Query of `GET /history`.
#[derive(Debug, Deserialize)]
pub(crate) struct Limit {
    #[serde(default = "hundred")]
    limit: usize,
}

/// Answer of `/count`.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    value: u64,
    /// Place of this request among those that reached this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<u64>,
}

/// `POST /chat`
pub(crate) async fn say(
    State(agent): State<Arc<Agent>>,
    Json(said): Json<Message>,
) -> Result<Json<Value>, Error> {
    if said.message.len() > MESSAGE_MAX {
        return Err(Error::BadRequest(format!(
            "a message has at most {MESSAGE_MAX} bytes"
        )));
    }
    match agent.notebook.write(Ask::Chat(said.message)).await? {
        Record::Turn(turn) => Ok(Json(
            json!({"reply": turn.reply, "turn": turn.turn, "remembered": turn.turn}),
        )),
        other => unreachable!("a message is recorded as a turn, not as {other:?}"),
    }
}

/// `GET /history?limit=`
pub(crate) async fn history(
    State(agent): State<Arc<Agent>>,
    Query(Limit { limit }): Query<Limit>,
) -> Json<Vec<Arc<Turn>>> {
    let memory = agent.notebook.memory();
    let skip = memory.recent.len().saturating_sub(limit);
    Json(memory.recent.iter().skip(skip).cloned().collect())
}

/// `POST /count`: executed exactly once per request that arrives.
pub(crate) async fn count(State(agent): State<Arc<Agent>>) -> Result<Json<Counted>, Error> {
    let order = Some(agent.arrival());
    match agent.notebook.write(Ask::Count).await? {
        Record::Count { value } => Ok(Json(Counted { value, order })),
        other => unreachable!("a count is recorded as a count, not as {other:?}"),
    }
}

/// `GET /count`
pub(crate) async fn counted(State(agent): State<Arc<Agent>>) -> Json<Counted> {
    Json(Counted {
        value: agent.notebook.memory().count,
        order: None,
    })
}

fn hundred() -> usize {
    100
}
