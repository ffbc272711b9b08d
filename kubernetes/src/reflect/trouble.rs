//! What a person is told of a watch that does not run, and how long it rests meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::fetch::Failure;
use crate::health::Reporter;
use crate::kind::Head;

/// Between two tries of what is not allowed: somebody has to change a role first.
const FORBIDDEN: Duration = Duration::from_secs(10);
/// Between two warnings about the same failure.
const WARNINGS: Duration = Duration::from_secs(60);
/// Objects of which is remembered that somebody was warned about them.
const NAMES: usize = 256;

/// The troubles of one watch.
pub(super) struct Trouble {
    reporter: Reporter,
    backoff: Backoff,
    /// When and of what (HTTP status) was last warned.
    warned: Option<(Instant, Option<u16>)>,
    /// Names of objects that cannot be read.
    unreadable: BTreeSet<String>,
}

impl Trouble {
    pub(super) fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            backoff: Backoff::default(),
            warned: None,
            unreadable: BTreeSet::new(),
        }
    }

    /// Says why the watch does not run; answers how long to wait before it is tried again.
    pub(super) fn pause(&mut self, failure: &Failure) -> Duration {
        let now = Instant::now();
        let why = failure.to_string();
        self.reporter.failing(&why, now.into_std());
        let code = failure.code();
        let known = self
            .warned
            .is_some_and(|(at, of)| of == code && now - at < WARNINGS);
        if !known {
            self.warned = Some((now, code));
            self.warn(code, &why);
        }
        if code == Some(403) {
            return FORBIDDEN;
        }
        self.backoff.next()
    }

    /// The server takes its time; nothing is seen meanwhile.
    pub(super) fn slow(&self) {
        let now = Instant::now().into_std();
        self.reporter
            .failing("the API server has not answered yet", now);
    }

    /// The same as [`Self::pause`] where only a list helps: until there is one, what is known is old. That
    /// a server no longer knows what happened since a version is nothing to be alarmed at.
    pub(super) fn lost(&mut self, failure: &Failure) -> Duration {
        self.reporter.relisted();
        self.reporter
            .failing(&failure.to_string(), Instant::now().into_std());
        if failure.code() != Some(410) {
            return self.pause(failure);
        }
        tracing::info!("the watch of {} fell behind, listing again", self.what());
        self.backoff.next()
    }

    /// The watch runs.
    pub(super) fn over(&mut self) {
        let since = self.reporter.running();
        if let (Some(since), Some(_)) = (since, self.warned.take()) {
            let away = Instant::now().into_std() - since;
            tracing::info!("watching {} again after {away:.1?}", self.what());
        }
    }

    /// An object is passed over. Said once for each, as far as that can be remembered.
    pub(super) fn unreadable(&mut self, head: &Head, why: &str) {
        let name = format!("{}/{}", head.namespace, head.name);
        if self.unreadable.len() >= NAMES || !self.unreadable.insert(name.clone()) {
            return;
        }
        self.reporter.unreadable();
        tracing::warn!("passing over {name} of {}: {why}", self.what());
    }

    fn what(&self) -> &Arc<str> {
        self.reporter.what()
    }

    fn warn(&self, code: Option<u16>, why: &str) {
        let what = self.what();
        match code {
            Some(403) => tracing::warn!(
                "not allowed to list and watch {what}: grant get, list and watch on it to this account; {why}"
            ),
            _ => tracing::warn!("cannot watch {what} ({why}); what is known of it stays believed"),
        }
    }
}
