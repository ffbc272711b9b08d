//! `/v1/sandboxes`: what an operator or a program may ask of the scaler.
//!
//! Handlers only translate: each asks the fleet's task over a bounded channel and waits for its answer,
//! with a deadline. Errors are JSON `{"detail", "reason"}`, as the activator's.

mod reply;

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use reveille_crds::SandboxKey;
use reveille_crds::change::Hold;
use reveille_crds::message::Cause;
use reveille_scaler_core::command::{Answer, Command};
use reveille_scaler_core::lease::LONGEST_LEASE;
use reveille_scaler_core::why::Why;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::reply::{Flaps, LastSleep, LastWake, SandboxState, hold_word};
use self::reply::{Problem, answered, json_line};
use crate::apply::{Failure, Mark};
use crate::observe;

/// Requests of handlers that wait for the fleet's task. Each is one HTTP request under way on an admin
/// listener; beyond that they are told to come back.
const REQUESTS: usize = 64;
/// Time for the fleet's task to answer, the write of a hold or a lease (4 s) included.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest time a sleep waits for what was needed a moment ago: three reports of an activator.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two looks.
const AGAIN: Duration = Duration::from_millis(100);
/// Most sandboxes of one answer, as many as `kubectl` asks for at a time. Explaining one takes the fleet's task
/// some ten microseconds, so a page keeps it from its work for some milliseconds.
const PAGE: usize = 500;
/// The longest body is `{"seconds": 86400}`.
const MAX_BODY: usize = 1024;

/// Requests to the fleet's task.
#[derive(Debug)]
pub struct Receiver(pub(crate) mpsc::Receiver<Request>);

/// One request to the fleet's task; a dropped reply means that it ended.
#[derive(Debug)]
pub(crate) enum Request {
    List {
        list: List,
        reply: oneshot::Sender<Page>,
    },
    Get {
        key: SandboxKey,
        reply: oneshot::Sender<Option<SandboxState>>,
    },
    Command {
        key: SandboxKey,
        command: Command,
        /// A refusal is told, for it is not tried again.
        last: bool,
        reply: oneshot::Sender<Option<(Answer, u64)>>,
    },
    Mark {
        key: SandboxKey,
        mark: Mark,
        reply: oneshot::Sender<Result<(), MarkError>>,
    },
}

/// Which sandboxes are asked for.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) namespace: Option<String>,
    /// Those that come after this name.
    pub(crate) after: Option<SandboxKey>,
    pub(crate) limit: usize,
}

/// Some of the sandboxes asked for, by name.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) sandboxes: Vec<SandboxState>,
    /// How many come after them.
    pub(crate) remaining: usize,
}

/// Why a hold or a busy lease was not set.
#[derive(Debug)]
pub(crate) enum MarkError {
    NotFound,
    /// A lease keeps awake, it does not wake.
    NotAwake(Why),
    /// A claim without a Sandbox has nothing to pin.
    NoSandbox,
    /// Too many wait already.
    Overloaded,
    NotWritten(Failure),
}

/// The routes, and the end that [`crate::run`] takes.
pub fn router() -> (Router, Receiver) {
    let (sender, receiver) = mpsc::channel(REQUESTS);
    let one = "/v1/sandboxes/{namespace}/{name}";
    let router = Router::new()
        .route("/v1/sandboxes", get(list))
        .route(one, get(show))
        .route(&format!("{one}/wake"), post(wake))
        .route(&format!("{one}/sleep"), post(sleep))
        .route(&format!("{one}/hold"), post(hold))
        .route(&format!("{one}/release"), post(release))
        .route(&format!("{one}/busy"), post(busy))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Fleet(sender));
    (router, Receiver(receiver))
}

#[derive(Clone)]
struct Fleet(mpsc::Sender<Request>);

impl Fleet {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        self.0
            .try_send(request(reply))
            .map_err(|_| Problem::overloaded())?;
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Problem::overloaded()),
        }
    }

    async fn command(&self, key: SandboxKey, command: Command) -> Result<Response, Problem> {
        let (answer, epoch) = self.order(&key, command, true).await?;
        answered(&key, &answer, epoch)
    }

    async fn order(
        &self,
        key: &SandboxKey,
        command: Command,
        last: bool,
    ) -> Result<(Answer, u64), Problem> {
        let answer = self
            .ask(|reply| Request::Command {
                key: key.clone(),
                command,
                last,
                reply,
            })
            .await?;
        answer.ok_or_else(|| Problem::not_found(key))
    }

    async fn mark(&self, key: SandboxKey, mark: Mark) -> Result<Response, Problem> {
        let done = self
            .ask(|reply| Request::Mark {
                key: key.clone(),
                mark,
                reply,
            })
            .await?;
        done.map_err(|error| Problem::mark(&key, error))?;
        Ok(reply::marked(&key, mark))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    namespace: Option<String>,
    limit: Option<usize>,
    /// `metadata.continue` of the page before: the last name of that.
    #[serde(rename = "continue")]
    after: Option<SandboxKey>,
}

/// What an activator sends whose carrier is down; an operator sends nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WakeBody {
    cause: Cause,
    /// Requests parked.
    waiting: u32,
}

impl Default for WakeBody {
    fn default() -> Self {
        Self {
            cause: Cause::Api,
            waiting: 0,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SleepBody {
    /// Whoever needs it.
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    mode: HoldMode,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum HoldMode {
    Awake,
    Asleep,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BusyBody {
    seconds: u64,
}

type Named = Path<(String, String)>;
type Handled = Result<Response, Problem>;

async fn list(
    State(fleet): State<Fleet>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Handled {
    let Query(query) = query.map_err(|error| Problem::query(&error))?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::limit(limit, PAGE));
    }
    let list = List {
        namespace: query.namespace,
        after: query.after,
        limit,
    };
    let page = fleet.ask(|reply| Request::List { list, reply }).await?;
    Ok(reply::page(&page))
}

async fn show(State(fleet): State<Fleet>, Path(name): Named) -> Handled {
    let key = key(&name)?;
    let state = fleet
        .ask(|reply| Request::Get {
            key: key.clone(),
            reply,
        })
        .await?;
    state
        .map(|state| json_line(StatusCode::OK, &state))
        .ok_or_else(|| Problem::not_found(&key))
}

async fn wake(State(fleet): State<Fleet>, Path(name): Named, body: Bytes) -> Handled {
    let key = key(&name)?;
    let body = if body.is_empty() {
        WakeBody::default()
    } else {
        let Json(body) = Json::from_bytes(&body)
            .map_err(|error| Problem::body(&error, r#"nothing, or {"cause": "http"}"#))?;
        body
    };
    let command = Command::Wake {
        cause: observe::cause(body.cause),
        waiting: body.waiting,
    };
    fleet.command(key, command).await
}

async fn sleep(State(fleet): State<Fleet>, Path(name): Named, body: Bytes) -> Handled {
    let key = key(&name)?;
    let SleepBody { force } = if body.is_empty() {
        SleepBody::default()
    } else {
        let Json(body) = Json::from_bytes(&body)
            .map_err(|error| Problem::body(&error, r#"nothing, or {"force": true}"#))?;
        body
    };
    let command = Command::Sleep { force };
    // What was needed a moment ago is let go within a report of its activators.
    let patience = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < patience {
        match fleet.order(&key, command, false).await? {
            (Answer::Conflict(why), _) if why.is_of_the_moment() => {
                tokio::time::sleep(AGAIN).await;
            }
            (Answer::Conflict(_) | Answer::Unheard(_), _) => break,
            (answer, epoch) => return answered(&key, &answer, epoch),
        }
    }
    fleet.command(key, command).await
}

async fn hold(
    State(fleet): State<Fleet>,
    Path(name): Named,
    body: Result<Json<HoldBody>, JsonRejection>,
) -> Handled {
    let key = key(&name)?;
    let Json(body) =
        body.map_err(|error| Problem::body(&error, r#"{"mode": "awake"} or {"mode": "asleep"}"#))?;
    let hold = match body.mode {
        HoldMode::Awake => Hold::Awake,
        HoldMode::Asleep => Hold::Asleep,
    };
    fleet.mark(key, Mark::Hold(Some(hold))).await
}

async fn release(State(fleet): State<Fleet>, Path(name): Named) -> Handled {
    fleet.mark(key(&name)?, Mark::Hold(None)).await
}

async fn busy(
    State(fleet): State<Fleet>,
    Path(name): Named,
    body: Result<Json<BusyBody>, JsonRejection>,
) -> Handled {
    let key = key(&name)?;
    let Json(BusyBody { seconds }) =
        body.map_err(|error| Problem::body(&error, r#"{"seconds": 600}"#))?;
    let longest = LONGEST_LEASE.as_secs();
    if seconds > longest {
        return Err(Problem::too_long(seconds, longest));
    }
    fleet.mark(key, Mark::Lease(busy_until(seconds))).await
}

/// When a lease of so many seconds ends, in whole seconds: not before its time. None for zero seconds.
fn busy_until(seconds: u64) -> Option<Timestamp> {
    let end = Timestamp::now().as_second().checked_add_unsigned(seconds)?;
    let end = Timestamp::from_second(end.checked_add(1)?).ok()?;
    Some(end).filter(|_| seconds > 0)
}

fn key((namespace, name): &(String, String)) -> Result<SandboxKey, Problem> {
    SandboxKey::new(namespace, name).map_err(|error| Problem::name(&error))
}
