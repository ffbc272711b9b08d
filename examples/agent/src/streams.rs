//! `/events` (server-sent events) and `/ws` (WebSocket).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;

/// Query of `GET /events`.
#[derive(Debug, Deserialize)]
pub(crate) struct Pace {
    /// How many events.
    #[serde(default = "five")]
    n: u64,
    /// Milliseconds between two.
    #[serde(default = "two_hundred")]
    interval_ms: u64,
}

/// Query of `GET /ws`.
#[derive(Debug, Deserialize)]
pub(crate) struct Ticks {
    /// Milliseconds between two messages from the agent; 0 only echoes.
    #[serde(default)]
    tick_ms: u64,
}

/// `GET /events?n=&interval_ms=`: numbered events, each sent when it happens.
pub(crate) async fn events(
    State(agent): State<Arc<Agent>>,
    Query(pace): Query<Pace>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stopping = agent.stopping.clone();
    let begin = Instant::now();
    let state = (agent, 0_u64);
    let stream = unfold(state, move |(agent, sent)| {
        let stopping = stopping.clone();
        async move {
            if sent == pace.n || !next(&stopping, begin, pace.interval_ms, sent).await {
                return None;
            }
            let text = format!("{} {}", agent.identity.name, sent + 1);
            let event = Event::default().id((sent + 1).to_string()).data(text);
            Some((Ok(event), (agent, sent + 1)))
        }
    });
    Sse::new(stream)
}

/// Waits for the turn of an event; false where the agent stops first.
async fn next(stopping: &CancellationToken, begin: Instant, interval_ms: u64, sent: u64) -> bool {
    let due = begin + Duration::from_millis(interval_ms.saturating_mul(sent));
    // Stopping wins, so that a fast stream cannot outrun it.
    tokio::select! {
        biased;
        () = stopping.cancelled() => false,
        () = sleep_until(due) => true,
    }
}

/// `GET /ws?tick_ms=`: echoes text and binary messages.
pub(crate) async fn socket(
    State(agent): State<Arc<Agent>>,
    Query(ticks): Query<Ticks>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| echo(socket, agent, ticks.tick_ms))
}

async fn echo(mut socket: WebSocket, agent: Arc<Agent>, tick_ms: u64) {
    // A minute that is never looked at stands for "no ticks".
    let mut ticks = interval(Duration::from_millis(if tick_ms == 0 {
        60_000
    } else {
        tick_ms
    }));
    ticks.tick().await;
    let mut number = 0_u64;
    loop {
        // No order needed: each branch is one message or the end.
        let message = tokio::select! {
            () = agent.stopping.cancelled() => None,
            _ = ticks.tick(), if tick_ms > 0 => {
                number += 1;
                Some(Message::Text(format!("tick {number}").into()))
            }
            received = socket.recv() => match received {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => Some(message),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        };
        let last = message.is_none();
        if socket
            .send(message.unwrap_or(Message::Close(None)))
            .await
            .is_err()
            || last
        {
            return;
        }
    }
}

fn five() -> u64 {
    5
}

fn two_hundred() -> u64 {
    200
}
