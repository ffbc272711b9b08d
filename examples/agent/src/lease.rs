//! `/busy`, `/work` and `/slow`: work that goes on while nobody is calling.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::HeaderName;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::agent::Agent;
use crate::error::Error;

/// Tells the proxy in front to keep the agent awake; 0 ends that.
const BUSY_FOR: HeaderName = HeaderName::from_static("x-reveille-busy-for");
/// Longest work or wait: a day.
const LONGEST: f64 = 86_400.0;

/// Body of `POST /busy`.
#[derive(Debug, Deserialize)]
pub(crate) struct Seconds {
    seconds: f64,
}

/// Body of `POST /work`.
#[derive(Debug, Deserialize)]
pub(crate) struct Work {
    seconds: f64,
    #[serde(default)]
    background: bool,
}

/// Query of `/slow`.
#[derive(Debug, Deserialize)]
pub(crate) struct Milliseconds {
    #[serde(default)]
    ms: u64,
}

/// `GET /busy`: what the busy probe of a policy asks.
pub(crate) async fn show(State(agent): State<Arc<Agent>>) -> Json<Value> {
    Json(json!({"busyForSeconds": agent.busy_for_seconds()}))
}

/// `POST /busy`: sets what the probe will be told.
pub(crate) async fn set(
    State(agent): State<Arc<Agent>>,
    Json(Seconds { seconds }): Json<Seconds>,
) -> Result<Json<Value>, Error> {
    agent.set_busy(duration(seconds)?);
    Ok(Json(json!({"busyForSeconds": agent.busy_for_seconds()})))
}

/// `POST /work`: works before it answers, or, in the background, answers at once that it is busy.
pub(crate) async fn work(
    State(agent): State<Arc<Agent>>,
    Json(work): Json<Work>,
) -> Result<Response, Error> {
    let how_long = duration(work.seconds)?;
    if !work.background {
        sleep(how_long).await;
        return Ok(Json(json!({"worked": work.seconds})).into_response());
    }
    agent.set_busy(how_long);
    let seconds = agent.busy_for_seconds();
    let body = Json(json!({"busyForSeconds": seconds}));
    Ok((
        StatusCode::ACCEPTED,
        [(BUSY_FOR, seconds.to_string())],
        body,
    )
        .into_response())
}

/// `ANY /slow?ms=`
pub(crate) async fn slow(Query(Milliseconds { ms }): Query<Milliseconds>) -> Json<Value> {
    sleep(Duration::from_millis(ms)).await;
    Json(json!({"sleptMs": ms}))
}

fn duration(seconds: f64) -> Result<Duration, Error> {
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err(Error::BadRequest(format!(
            "seconds is a number from 0 to {LONGEST}"
        )));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_out_of_range_are_refused() {
        assert_eq!(duration(0.5).unwrap(), Duration::from_millis(500));
        for bad in [-1.0, f64::NAN, f64::INFINITY, LONGEST + 1.0] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
