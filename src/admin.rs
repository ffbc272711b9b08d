//! The operators' listener: health, metrics and the scaler's API. Not for the sandboxes' clients.

mod front;
mod guard;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use self::guard::Names;
use self::tasks::Tasks;
use crate::cli::GuardArgs;

/// Requests still open when everything else has stopped are cut after this.
const GRACE: Duration = Duration::from_secs(2);

/// Whether this process can do its job; the text says why not.
pub(crate) type Readiness = Box<dyn Fn() -> Result<(), &'static str> + Send + Sync>;

/// The listener, and the names it may be asked under besides those that no stranger can own.
pub(crate) struct Door {
    listener: TcpListener,
    names: Names,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, guard: &GuardArgs) -> Self {
        let names = guard.admin_host.as_slice().into();
        Self { listener, names }
    }
}

/// Serves until `shutdown` is cancelled; `api` is that of a scaler.
///
/// # Errors
/// If the listener fails.
pub(crate) async fn serve(
    door: Door,
    api: Option<Router>,
    mut registry: Registry,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    registry.register_collector(Box::new(Tasks::of(&Handle::current())));
    let (registry, readiness) = (Arc::new(registry), Arc::new(readiness));
    let more: &[front::Entry] = match api {
        Some(_) => &front::SANDBOXES,
        None => &[],
    };
    let router = Router::new()
        .route(
            "/",
            get(async |headers: HeaderMap| front::page(more, &headers)),
        )
        .route(
            "/healthz",
            get(|| async {
                (
                    [(header::CONTENT_TYPE, "application/json")],
                    "{\"status\":\"ok\"}\n",
                )
            }),
        )
        .route("/readyz", get(move || ready(Arc::clone(&readiness))))
        .route("/metrics", get(move || metrics(Arc::clone(&registry))))
        .merge(api.unwrap_or_default())
        .fallback(front::not_found)
        .method_not_allowed_fallback(front::not_allowed)
        .layer(from_fn_with_state(door.names, guard::guard))
        .layer(CatchPanicLayer::new());
    let stopping = shutdown.clone();
    let served =
        axum::serve(door.listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    // The grace begins with the order to stop; a finished server is preferred to its end.
    tokio::select! {
        biased;
        served = served => served.context("admin listener"),
        () = async { stopping.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

async fn ready(readiness: Arc<Readiness>) -> impl IntoResponse {
    match readiness() {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn metrics(registry: Arc<Registry>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
