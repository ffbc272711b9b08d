//! What metrics and log learn of one request, when its last byte has gone or its client has.

use std::sync::Arc;

use http::{Request, Response};
use reveille_crds::SandboxKey;
use tokio::time::Instant;
use tracing::{Level, debug, enabled};

use crate::Activator;
use crate::body::Body;
use crate::error::{Awaited, Error};
use crate::metrics::{CodeLabel, MethodLabel, Series, UpstreamReason};

/// The code of a request whose client left before its answer, as nginx counts it.
const CLIENT_LEFT: u16 = 499;

/// Counts a request from its head to its drop.
pub(crate) struct Tally {
    activator: Arc<Activator>,
    began: Instant,
    method: MethodLabel,
    code: u16,
    /// Set once the sandbox is known to exist: a stranger's words make no label.
    sandbox: Option<SandboxKey>,
    series: Option<Arc<Series>>,
    /// Method and target as the client wrote them, if the log wants to know.
    line: Option<Box<str>>,
}

impl Tally {
    pub(super) fn begin<B>(activator: &Arc<Activator>, request: &Request<B>) -> Self {
        activator.metrics.inflight.inc();
        let line = || format!("{} {}", request.method(), request.uri()).into();
        Self {
            activator: Arc::clone(activator),
            began: Instant::now(),
            method: MethodLabel::of(request.method()),
            code: CLIENT_LEFT,
            sandbox: None,
            series: None,
            line: enabled!(Level::DEBUG).then(line),
        }
    }

    /// The request is for this sandbox, which exists, and counts on these series.
    pub(super) fn found(&mut self, sandbox: &SandboxKey, series: Option<Arc<Series>>) {
        self.sandbox = Some(sandbox.clone());
        self.series = series;
    }

    /// The sandbox that the request is for, once it is known to exist.
    pub(super) fn sandbox(&self) -> Option<&SandboxKey> {
        self.sandbox.as_ref()
    }

    /// The request was answered with an error of this proxy.
    pub(super) fn failed(&self, error: &Error) {
        let metrics = &self.activator.metrics;
        metrics.refused(error.kind());
        let reason = match error {
            Error::Connect(..) => UpstreamReason::Dial,
            Error::NoResponse(..) | Error::NotReading(..) => UpstreamReason::Timeout,
            Error::OutOfTime { awaited, .. } => match awaited {
                Awaited::Wake(_) | Awaited::Delayed { .. } | Awaited::Body => return,
                Awaited::Connection | Awaited::Port => UpstreamReason::Dial,
                Awaited::Answer => UpstreamReason::Timeout,
            },
            Error::Exchange(..) => UpstreamReason::Eof,
            Error::Exhausted(_) => UpstreamReason::Other,
            _ => return,
        };
        let series = self.series.as_ref().unwrap_or(&metrics.strangers);
        series.failed(metrics, reason);
    }

    /// Goes on counting until the response's last byte.
    pub(super) fn follow(mut self, response: Response<Body>) -> Response<Body> {
        self.code = response.status().as_u16();
        response.map(|body| body.counted(self))
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        if let Some(line) = &self.line {
            let sandbox = self.sandbox.as_ref().map(tracing::field::display);
            debug!(%line, sandbox, status = self.code, took_ms = took.as_secs_f64() * 1e3, "request");
        }
        let metrics = &self.activator.metrics;
        metrics.inflight.dec();
        let series = self.series.as_ref().unwrap_or(&metrics.strangers);
        series.served(metrics, self.method, CodeLabel::of(self.code), took);
    }
}
