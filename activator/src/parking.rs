//! Steps 4 and 5 of the life of a request: where to send it, waiting for a wake if need be.
//!
//! Cancellation is `Drop`: a request whose future is dropped gives its ticket and its place back, and
//! the wake it began goes on without it.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reveille_activator_core::admission::Places;
use reveille_activator_core::entry::{Arrival, Release, Role};
use reveille_activator_core::lot::{Ending, TicketId};
use reveille_activator_core::quota::Quota;
use reveille_crds::SandboxKey;
use reveille_crds::change::PodFacts;
use reveille_crds::scaled_sandbox::Protocol;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::slot::{Activity, Endpoint, Facts, HttpFacts, Slot, now};
use crate::wake::{self, Wakes};

mod refusal;

pub(crate) use refusal::Refusal;

/// Callers and sandboxes whose wake quota is remembered: 64 Ki keys of about 150 bytes are 10 MiB.
const QUOTA_KEYS: NonZeroUsize = NonZeroUsize::new(1 << 16).expect("not zero");

/// Finds endpoints, and parks requests of sandboxes that have none.
pub(crate) struct Parking {
    places: Arc<Places>,
    quotas: Quotas,
    wakes: Arc<Wakes>,
    tasks: TaskTracker,
    metrics: Metrics,
}

struct Quotas {
    callers: Mutex<Quota<IpAddr>>,
    sandboxes: Mutex<Quota<SandboxKey>>,
}

impl Parking {
    pub(crate) fn new(config: &Config, wakes: Arc<Wakes>, metrics: Metrics) -> Self {
        let quotas = Quotas {
            callers: Mutex::new(Quota::new(
                config.wakes_per_caller,
                config.wake_burst,
                QUOTA_KEYS,
            )),
            sandboxes: Mutex::new(Quota::new(
                config.wakes_per_sandbox,
                config.wake_burst,
                QUOTA_KEYS,
            )),
        };
        let places = Arc::new(Places::new(config.total_parked));
        Self {
            places,
            quotas,
            wakes,
            tasks: TaskTracker::new(),
            metrics,
        }
    }

    /// Where to send. `port` is the container port, `most` lowers the wait. Dropping the future abandons
    /// the ticket.
    pub(crate) async fn endpoint(
        &self,
        activity: &Activity,
        port: u16,
        most: Option<Duration>,
    ) -> Result<Admission, Refusal> {
        let mut parked = match self.enter(activity, port, most)? {
            Entered::Go(admission) => return Ok(admission),
            Entered::Parked(parked) => parked,
        };
        // The wake task answers every ticket it takes; only its death leaves one without an answer.
        let answer = (&mut parked.answer)
            .await
            .unwrap_or_else(|_| Err(Refusal::lost_task()));
        parked.ended(answer.as_ref().err());
        let grant = answer?;
        Ok(Admission {
            endpoint: endpoint(&grant.pod, &grant.http, port, grant.young_until)?,
            http: grant.http,
            sandbox_uid: Arc::clone(&grant.pod.sandbox_uid),
            waited: Some(Waited {
                parked: grant.parked,
                wake: grant.wake.min(grant.parked),
                how: parked.how,
            }),
            pace: Some(grant.pace),
        })
    }

    /// Requests parked in the whole process.
    #[cfg(test)]
    pub(crate) fn parked(&self) -> u32 {
        self.places.taken()
    }

    /// Waits for the wake tasks, which end by themselves once the wakes are closing.
    pub(crate) async fn join(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn enter(
        &self,
        activity: &Activity,
        port: u16,
        most: Option<Duration>,
    ) -> Result<Entered, Refusal> {
        let slot = activity.slot();
        let mut kept = None;
        let take = |role| {
            if self.wakes.is_closing() {
                return Err(Refusal::ShuttingDown);
            }
            let place = Place::take(&self.places).ok_or(Refusal::TotalFull)?;
            if role == Role::Started {
                self.quotas.charge(activity)?;
            }
            let (sender, answer) = oneshot::channel();
            kept = Some((place, answer));
            Ok(sender)
        };
        let (arrival, facts, needs_task) = slot.arrive(port, most, take);
        if matches!(
            arrival,
            Arrival::Parked {
                role: Role::Started,
                ..
            }
        ) {
            slot.asked_by(activity.words());
        }
        if needs_task {
            self.tasks
                .spawn(wake::run(Arc::clone(slot), Arc::clone(&self.wakes)));
        } else if matches!(arrival, Arrival::Parked { .. }) {
            slot.nudge();
        }
        match arrival {
            Arrival::Go(release) => go(&facts, &release, port).map(Entered::Go),
            Arrival::Refused(denial) => Err(Refusal::denied(&denial, &facts)),
            Arrival::Full => Err(Refusal::LotFull),
            Arrival::Turned(refusal) => Err(refusal),
            Arrival::Parked { ticket, role } => {
                let (place, answer) = kept.expect("a ticket is given only for a payload");
                let how = match role {
                    Role::Started => WakeRole::Started,
                    Role::Joined => WakeRole::Joined,
                };
                self.metrics.parked.inc();
                let (slot, metrics) = (Arc::clone(slot), self.metrics.clone());
                let since = now();
                let ended = None;
                Ok(Entered::Parked(Parked {
                    slot,
                    ticket,
                    answer,
                    how,
                    since,
                    ended,
                    metrics,
                    _place: place,
                }))
            }
        }
    }
}

enum Entered {
    Go(Admission),
    Parked(Parked),
}

/// A ticket, from the side of the request that holds it.
struct Parked {
    slot: Arc<Slot>,
    ticket: TicketId,
    answer: oneshot::Receiver<Result<Grant, Refusal>>,
    how: WakeRole,
    since: Instant,
    ended: Option<Ending>,
    metrics: Metrics,
    _place: Place,
}

impl Parked {
    fn ended(&mut self, refusal: Option<&Refusal>) {
        self.ended = Some(refusal.map_or(Ending::Released, Refusal::ending));
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let ending = self.ended.unwrap_or_else(|| {
            // If the task was faster, its grant dies with the receiver and so counts as answered.
            self.slot.abandon(self.ticket);
            Ending::Abandoned
        });
        self.metrics.parked.dec();
        self.metrics
            .ticket_ended(ending, now().saturating_duration_since(self.since));
    }
}

/// One of the places for parked requests; given back when dropped.
struct Place(Arc<Places>);

impl Place {
    fn take(places: &Arc<Places>) -> Option<Self> {
        places.take().then(|| Self(Arc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.give();
    }
}

impl Quotas {
    /// Takes a token of the caller and one of the sandbox, or none at all. The sandbox's table stays locked
    /// until the caller's has answered, always in this order.
    fn charge(&self, activity: &Activity) -> Result<(), Refusal> {
        let now = now();
        let key = activity.slot().key().clone();
        let mut sandboxes = self.sandboxes.lock();
        sandboxes.check(&key, now).map_err(Refusal::throttled)?;
        if let Some(caller) = activity.caller() {
            let mut callers = self.callers.lock();
            callers.take(caller, now).map_err(Refusal::throttled)?;
        }
        sandboxes.take(key, now).map_err(Refusal::throttled)
    }
}

/// The request may go.
pub(crate) struct Admission {
    pub(crate) endpoint: Endpoint,
    pub(crate) http: HttpFacts,
    /// UID of the Sandbox whose pod that is.
    pub(crate) sandbox_uid: Arc<str>,
    /// Set if it was parked.
    pub(crate) waited: Option<Waited>,
    /// To be held from here to the first response byte, or failure.
    pub(crate) pace: Option<Pace>,
}

/// What a parked request waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited {
    /// Time in the lot.
    pub(crate) parked: Duration,
    /// Of which the sandbox was waking; the rest went by in the queue.
    pub(crate) wake: Duration,
    pub(crate) how: WakeRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WakeRole {
    /// This request began the wake.
    Started,
    /// It joined one.
    Joined,
}

/// What the wake task hands to a released request.
pub(crate) struct Grant {
    pub(crate) pod: Arc<PodFacts>,
    pub(crate) http: HttpFacts,
    pub(crate) young_until: Option<Instant>,
    pub(crate) parked: Duration,
    pub(crate) wake: Duration,
    pub(crate) pace: Pace,
}

/// Paces the emptying of the lot: dropped at the first response byte, or failure.
pub(crate) struct Pace {
    pub(crate) slot: Arc<Slot>,
    pub(crate) generation: u32,
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.slot.answered(self.generation);
    }
}

fn go(facts: &Facts, release: &Release, port: u16) -> Result<Admission, Refusal> {
    let pod = facts
        .pod
        .as_ref()
        .expect("an awake entry was observed together with its pod");
    let endpoint = endpoint(pod, &facts.http, port, release.dial_until(now()))?;
    Ok(Admission {
        endpoint,
        http: facts.http,
        sandbox_uid: Arc::clone(&pod.sandbox_uid),
        waited: None,
        pace: None,
    })
}

fn no_such_port(pod: &PodFacts, port: u16) -> Refusal {
    let mapped = pod.ports.iter().flatten();
    Refusal::PortNotDeclared {
        port,
        declared: mapped.map(|(declared, _)| *declared).collect(),
    }
}

fn endpoint(
    pod: &PodFacts,
    http: &HttpFacts,
    port: u16,
    young_until: Option<Instant>,
) -> Result<Endpoint, Refusal> {
    Ok(Endpoint {
        pod: Arc::clone(&pod.uid),
        address: pod.address(port).ok_or_else(|| no_such_port(pod, port))?,
        h2c: match http.protocol {
            Protocol::Auto => pod.h2c.contains(&port),
            Protocol::Http1 => false,
            Protocol::H2c => true,
        },
        silence: http.idle_timeout,
        young_until,
    })
}
