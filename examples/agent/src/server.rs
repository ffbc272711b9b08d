//! The life of the process: start (slowly or badly, if so asked), serve, stop.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Identity};
use crate::memory::Ask;
use crate::notebook::Notebook;
use crate::options::{CrashOnStart, Options};
use crate::{about, chat, echo, execute, files, health, lease, streams, transfer};

/// Time for requests in flight after SIGTERM. Pods get 30 s by default, and no request of this
/// agent that is worth finishing takes longer than this.
const GRACE: Duration = Duration::from_secs(5);
/// Counts the failed starts of `--crash-on-start <n>`.
const CRASHES: &str = "crashes";

/// How the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Asked to by SIGTERM or SIGINT.
    Stopped,
    /// Asked to by --crash-on-start or GET /crash.
    Crashed,
}

/// Runs the agent to its end.
pub(crate) async fn run(options: Options) -> anyhow::Result<End> {
    let stopping = stop_on_signal(options.ignore_term)?;
    if crashes_now(&options)? {
        return Ok(End::Crashed);
    }
    tokio::select! {
        () = sleep(Duration::from_millis(options.start_delay_ms)) => {}
        () = stopping.cancelled() => return Ok(End::Stopped),
    }
    if let Some(folder) = &options.workspace {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot use the workspace {}", folder.display()))?;
    }
    let (notebook, writer) = Notebook::open(options.data.as_deref())?;
    notebook.write(Ask::Wake(std::process::id())).await?;
    if options.refuse_port {
        stopping.cancelled().await;
        return Ok(End::Stopped);
    }
    let listener = TcpListener::bind((options.host, options.port))
        .await
        .with_context(|| format!("cannot listen on {}:{}", options.host, options.port))?;
    println!(
        "example-agent: {} serves on {}",
        options.name,
        listener.local_addr()?
    );
    let ready_at = (!options.never_ready)
        .then(|| Instant::now() + Duration::from_millis(options.ready_delay_ms));
    let agent = Agent::new(identity(&options), notebook, ready_at, stopping.clone());
    let serving = axum::serve(listener, router(&agent, &options))
        .with_graceful_shutdown(stopping.clone().cancelled_owned());
    let late = async {
        stopping.cancelled().await;
        sleep(GRACE).await;
    };
    // Whichever ends first decides; their order does not matter.
    let end = tokio::select! {
        served = serving => { served?; End::Stopped }
        () = late => End::Stopped,
        () = agent.crash.notified() => End::Crashed,
    };
    if end == End::Stopped && Arc::into_inner(agent).is_some() {
        // Nobody else can ask any more, so the writer ends when it has written all.
        let _ = timeout(GRACE, tokio::task::spawn_blocking(|| writer.join())).await;
    }
    Ok(end)
}

fn router(agent: &Arc<Agent>, options: &Options) -> Router {
    let workspace = options.workspace.clone();
    let router = Router::new()
        .route("/", get(about::show))
        .route("/chat", post(chat::say))
        .route("/history", get(chat::history))
        .route("/count", get(chat::counted).post(chat::count))
        .route("/events", get(streams::events))
        .route("/ws", get(streams::socket))
        .route("/download", get(transfer::download))
        .route("/busy", get(lease::show).post(lease::set))
        .route("/work", post(lease::work))
        .route("/slow", any(lease::slow))
        .route("/crash", any(health::crash))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/echo", any(echo::echo))
        .route("/echo/{*rest}", any(echo::echo));
    let router = router.with_state(Arc::clone(agent));
    let router = match workspace.clone() {
        Some(folder) => router.merge(files::router(folder)),
        None => router.route("/upload", post(transfer::upload).put(transfer::upload)),
    };
    if options.allow_execute {
        router.merge(execute::router(workspace))
    } else {
        router
    }
}

fn stop_on_signal(ignore_term: bool) -> anyhow::Result<CancellationToken> {
    let (mut term, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stopping = CancellationToken::new();
    let stop = stopping.clone();
    // Ends with the runtime, which is the process.
    tokio::spawn(async move {
        let terminated = async {
            term.recv().await;
            if ignore_term {
                pending::<()>().await;
            }
        };
        // Either signal means the same.
        tokio::select! {
            () = terminated => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(stopping)
}

fn crashes_now(options: &Options) -> anyhow::Result<bool> {
    let Some(CrashOnStart::Times(times)) = options.crash_on_start else {
        return Ok(options.crash_on_start.is_some());
    };
    let folder = options
        .data
        .as_deref()
        .context("--crash-on-start <n> counts in --data")?;
    let crashed = crashes(folder);
    if crashed >= times {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(CRASHES), (crashed + 1).to_string())?;
    Ok(true)
}

fn crashes(folder: &Path) -> u32 {
    std::fs::read_to_string(folder.join(CRASHES))
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn identity(options: &Options) -> Identity {
    let hostname = options.hostname.clone().or_else(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(name.trim().to_owned())
    });
    Identity {
        name: options.name.clone(),
        hostname: hostname.unwrap_or_default(),
        started: jiff::Timestamp::now().to_string(),
    }
}

#[cfg(test)]
mod tests;
