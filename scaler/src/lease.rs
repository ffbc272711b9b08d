//! Holds the Kubernetes `Lease` of the leader: does what [`reveille_scaler_core::election`] decides.
//!
//! One request at a time, each with a deadline a third of the renew deadline, so that two may fail before
//! leading ends. The lease is given up when `shutdown` is cancelled: whoever assembles the process cancels
//! it after [`crate::run`] has returned, when no write of ours can be done any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
pub use reveille_scaler_core::election::Timing;
use reveille_scaler_core::election::{Election, Outcome, Record, Step};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::apply::FIELD_MANAGER;
use crate::leader::Lead;

/// Which lease, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Our name; what differs for each start of the process is added.
    pub identity: String,
    /// Intervals, the same for all scalers.
    pub timing: Timing,
    /// [`crate::config::Config::write_timeout`].
    pub write_timeout: Duration,
}

/// Why the lease is not held at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A sleep begun by a leader could land after the next one began.
    #[error(
        "the lease is too short: renew deadline and write timeout together must be well under its duration, \
         and a renewal must fit twice into the renew deadline"
    )]
    Unsafe,
}

/// Takes part in the election until `shutdown`, and says in `lead` until when we lead.
///
/// # Errors
/// If the intervals of `settings` cannot be kept.
pub async fn hold(
    client: kube::Client,
    settings: Settings,
    lead: Lead,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    if !settings.timing.is_safe(settings.write_timeout) {
        return Err(Error::Unsafe);
    }
    let identity = format!("{}_{}", settings.identity, uuid::Uuid::new_v4());
    info!(lease = %settings.name, identity, "takes part in the election as {identity}");
    let holder = Holder {
        api: Api::namespaced(client, &settings.namespace),
        election: Election::new(identity.as_str().into(), settings.timing, now()),
        limit: settings.timing.renew_deadline / 3,
        seen: None,
        failing: false,
        identity,
        settings,
    };
    holder.run(&lead, shutdown).await;
    Ok(())
}

struct Holder {
    api: Api<Lease>,
    election: Election,
    settings: Settings,
    identity: String,
    /// Time for one request.
    limit: Duration,
    /// The object as last read or written: what others put there is kept.
    seen: Option<Lease>,
    /// Whether the last request failed, so that it is said once.
    failing: bool,
}

impl Holder {
    async fn run(mut self, lead: &Lead, shutdown: CancellationToken) {
        let mut holder = None;
        while !self.election.is_over() {
            if shutdown.is_cancelled() {
                self.election.resign(now());
            }
            let poll = self.election.poll(now());
            self.tell(lead);
            if let Some(step) = poll.step {
                self.take_step(&step).await;
            } else {
                let Some(next) = poll.next else { break };
                tokio::select! {
                    // To stop is never late; the order is of no matter.
                    biased;
                    () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
                    () = sleep_until(next.into()) => {}
                }
            }
            if holder.as_ref() != self.election.holder() {
                holder = self.election.holder().cloned();
                let name = holder.as_deref().unwrap_or_default();
                debug!(lease = %self.settings.name, holder = name, "the lease is held by {name:?}");
            }
        }
        lead.send_replace(None);
    }

    /// Says until when we lead, if that is news.
    fn tell(&self, lead: &Lead) {
        let until = self.election.leads_until().filter(|until| now() < *until);
        lead.send_if_modified(|said| {
            let is_news = *said != until;
            *said = until;
            is_news
        });
    }

    /// Does one step. While it is under way leading may run out; `lead` says until when it lasts.
    async fn take_step(&mut self, step: &Step) {
        let answer = timeout(self.limit, self.request(step)).await;
        let at = now();
        match answer {
            Ok(Ok(lease)) => {
                self.failing = false;
                self.seen.clone_from(&lease);
                match step {
                    Step::Read => self.election.observed(lease.as_ref().map(record), at),
                    _ => {
                        let version = lease.as_ref().map(version).unwrap_or_default();
                        self.election.done(step, &Outcome::Written(version), at);
                    }
                }
            }
            Ok(Err(error)) => {
                let refused =
                    matches!(&error, kube::Error::Api(status) if matches!(status.code, 404 | 409));
                let outcome = if refused {
                    Outcome::Conflict
                } else {
                    self.complain(&error.to_string());
                    Outcome::Unknown
                };
                self.election.done(step, &outcome, at);
            }
            Err(_) => {
                self.complain("no answer in time");
                self.election.done(step, &Outcome::Unknown, at);
            }
        }
    }

    async fn request(&self, step: &Step) -> Result<Option<Lease>, kube::Error> {
        let name = &self.settings.name;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match step {
            Step::Read => self.api.get_opt(name).await,
            Step::Create { .. } => {
                let lease = self.lease(step);
                self.api.create(&params, &lease).await.map(Some)
            }
            Step::Take { .. } | Step::Renew { .. } | Step::GiveUp { .. } => {
                let lease = self.lease(step);
                self.api.replace(name, &params, &lease).await.map(Some)
            }
        }
    }

    /// The object that a step writes.
    fn lease(&self, step: &Step) -> Lease {
        let mut lease = self.seen.clone().unwrap_or_default();
        lease.metadata = ObjectMeta {
            name: Some(self.settings.name.clone()),
            namespace: Some(self.settings.namespace.clone()),
            managed_fields: None,
            ..lease.metadata
        };
        let spec = lease.spec.get_or_insert_default();
        let wall = MicroTime(Timestamp::now());
        spec.renew_time = Some(wall.clone());
        match step {
            Step::Create { transitions } | Step::Take { transitions, .. } => {
                spec.acquire_time = Some(wall);
                spec.lease_transitions = Some(i32::try_from(*transitions).unwrap_or(i32::MAX));
            }
            Step::Read | Step::Renew { .. } | Step::GiveUp { .. } => {}
        }
        let seconds = self.settings.timing.lease.as_secs();
        spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
        spec.holder_identity = Some(match step {
            Step::GiveUp { .. } => String::new(),
            _ => self.identity.clone(),
        });
        if let Step::Take { version, .. } | Step::Renew { version } | Step::GiveUp { version } =
            step
        {
            lease.metadata.resource_version = Some(version.to_string());
        } else {
            lease.metadata.resource_version = None;
        }
        lease
    }

    fn complain(&mut self, error: &str) {
        if !self.failing {
            self.failing = true;
            warn!(lease = %self.settings.name, error, "the lease cannot be read or renewed: {error}");
        }
    }
}

fn record(lease: &Lease) -> Record {
    let none = LeaseSpec::default();
    let spec = lease.spec.as_ref().unwrap_or(&none);
    let seconds = spec.lease_duration_seconds.unwrap_or(0);
    Record {
        version: version(lease),
        holder: spec.holder_identity.as_deref().map(Arc::from),
        transitions: u64::try_from(spec.lease_transitions.unwrap_or(0)).unwrap_or(0),
        lease: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
    }
}

fn version(lease: &Lease) -> Arc<str> {
    lease
        .metadata
        .resource_version
        .as_deref()
        .unwrap_or_default()
        .into()
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
