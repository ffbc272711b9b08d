//! The life of a wake on the activator's side: one task per waking sandbox, none per idle one.
//!
//! The task belongs to the sandbox, not to the request that began it. It sends Wakes, probes the pod
//! once there is one, releases the lot, and ends when nobody waits and the wake is over.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use reveille_activator_core::entry::{Ask, Outcome, Stage, Step};
use reveille_activator_core::lot::Ended;
use reveille_activator_core::view::{Delay, Denial, DenialKind};
use reveille_crds::SandboxKey;
use reveille_crds::message::{Cause, Ready, ToScaler, Wake};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::fallback::{Called, Fallback};
use crate::metrics::Metrics;
use crate::parking::{Grant, Pace, Refusal};
use crate::probe;
use crate::slot::{Slot, Turn, Waiter, now};

/// Longest time a message may wait for the carrier; a Wake is repeated anyway.
const SEND_WITHIN: Duration = Duration::from_millis(50);
/// Wakes that find neither carrier nor API before the lot is told; with the usual steps that is 750 ms.
const UNREACHABLE_WAKES: u32 = 3;
/// Wakes that no scaler answers, over a carrier that is up, before its API is tried as well: its own
/// connection may be the one that is down. With the usual steps that is 750 ms, more than a write takes.
const UNANSWERED_WAKES: u32 = 3;
/// Whoever waited at least so long without a word of any scaler, or while the carrier is down, is told that
/// there is none; who gave the wake less time learns that it took longer.
const SILENCE: Duration = Duration::from_secs(2);
/// What clients are told to wait for while no scaler can be reached.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(2);

/// What all wake tasks share.
pub(crate) struct Wakes {
    pub(crate) activator: String,
    pub(crate) to_scaler: mpsc::Sender<ToScaler>,
    pub(crate) link: watch::Receiver<bool>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) metrics: Metrics,
    /// Cancelled when the process refuses new parking and ends what is parked.
    pub(crate) closing: CancellationToken,
}

impl Wakes {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }
}

/// Carries one wake to its end.
pub(crate) async fn run(slot: Arc<Slot>, wakes: Arc<Wakes>) {
    let mut probing = Probing::default();
    let mut calling = Calling::default();
    while let Some(turn) = slot.turn() {
        let Turn {
            step,
            facts,
            next,
            probe,
            ports,
            is_asleep,
        } = turn;
        let (ask, opened) = (step.wake, step.opened.clone());
        let released = u32::try_from(step.released.len()).unwrap_or(u32::MAX);
        // People first: the messages below may have to wait for the carrier.
        deliver(&slot, step, &facts, *wakes.link.borrow());
        if let Some(ask) = ask {
            calling
                .ask(&slot, &wakes, ask, ports.first().copied(), is_asleep)
                .await;
        }
        if let Some(pod) = &opened {
            wakes.ready(slot.key(), pod, released).await;
        }
        probing.aim(probe.map(|pod| (pod.uid, probe::plans(&facts, &ports))));
        // Without a next time the wake is over, and the next turn says so.
        let due = next.unwrap_or_else(now);
        tokio::select! {
            // Shutdown first: a storm of changes must not keep it waiting. The timer last: what has
            // happened already decides what is due.
            biased;
            () = wakes.closing.cancelled() => {
                return slot.end_all().into_iter().for_each(|waiter| answer(waiter, Err(Refusal::ShuttingDown)));
            }
            () = slot.changed() => {}
            pod = probing.answered() => slot.opened(&pod),
            called = calling.answered() => calling.take(called, &slot),
            () = tokio::time::sleep_until(due.into()) => {}
        }
    }
}

/// Tells every ended ticket of a step. Nothing here holds the slot's lock: a grant nobody takes any
/// more is dropped on the spot and reports to the slot.
fn deliver(slot: &Arc<Slot>, step: Step<Waiter>, facts: &crate::slot::Facts, is_linked: bool) {
    let now = now();
    if let Some(took) = step.took {
        facts.past.lock().note(took);
    }
    for Ended { since, payload, .. } in step.expired {
        let waited = now.saturating_duration_since(since);
        let refusal = if let Some(Delay { reason, message }) = step.delay.clone() {
            Refusal::Delayed { reason, message }
        } else if step.stage == Stage::Unanswered && (waited >= SILENCE || !is_linked) {
            Refusal::Unanswered
        } else if waited >= step.patience {
            let left = facts.past.lock().left(step.elapsed);
            Refusal::still_waking(step.stage, facts.trouble.clone(), left)
        } else {
            let stage = step.stage.as_str();
            Refusal::Expired { waited, stage }
        };
        answer(payload, Err(refusal));
    }
    if let Some(denial) = &step.denial {
        for Ended { payload, .. } in step.denied {
            answer(payload, Err(Refusal::denied(denial, facts)));
        }
    }
    let (Some(release), Some(pod)) = (step.release, &facts.pod) else {
        return;
    };
    for Ended { since, payload, .. } in step.released {
        let grant = Grant {
            pod: Arc::clone(pod),
            http: facts.http,
            young_until: release.dial_until(since),
            parked: now.saturating_duration_since(since),
            wake: release.opened_at.saturating_duration_since(since),
            pace: Pace {
                slot: Arc::clone(slot),
                generation: release.generation,
            },
        };
        answer(payload, Ok(grant));
    }
}

fn answer(waiter: Waiter, answer: Result<Grant, Refusal>) {
    // The request may have left in this very moment; its own guard counts it as abandoned.
    drop(waiter.send(answer));
}

impl Wakes {
    async fn ready(&self, key: &SandboxKey, pod: &Arc<str>, released: u32) {
        tracing::debug!(sandbox = %key, pod = %pod, released, "sandbox answers");
        let ready = Ready {
            key: key.clone(),
            pod: pod.to_string(),
            activator: self.activator.clone(),
            released,
        };
        // A hint for the scaler's records: it may be lost.
        drop(
            self.to_scaler
                .send_timeout(ToScaler::Ready(ready), SEND_WITHIN)
                .await,
        );
    }

    async fn send(&self, slot: &Slot, ask: Ask, port: Option<u16>) {
        let key = slot.key();
        self.metrics.wakes_asked.inc();
        let wake = Wake {
            key: key.clone(),
            reason: Cause::Http,
            port,
            waiting: u32::try_from(ask.waiting).unwrap_or(u32::MAX),
            oldest_wait_ms: u64::try_from(ask.oldest.as_millis()).unwrap_or(u64::MAX),
            activator: self.activator.clone(),
            by: slot.asker(),
            traceparent: None,
        };
        if self
            .to_scaler
            .send_timeout(ToScaler::Wake(wake), SEND_WITHIN)
            .await
            .is_err()
        {
            tracing::debug!(sandbox = %key, "wake not taken by the carrier, repeating it");
        }
    }
}

/// The probes of the present pod.
#[derive(Default)]
struct Probing {
    /// UID of the pod, and how it is probed.
    aim: Option<(Arc<str>, Vec<probe::Plan>)>,
    /// One for each plan; none once the pod has answered.
    running: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Probing {
    /// Probes that pod in these ways from now on; what probes another one, or in other ways, is dropped.
    fn aim(&mut self, aim: Option<(Arc<str>, Vec<probe::Plan>)>) {
        if self.aim == aim {
            return;
        }
        let plans = aim.iter().flat_map(|(_, plans)| plans.clone());
        self.running = plans
            .map(|plan| -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(probe::until_ready(plan))
            })
            .collect();
        self.aim = aim;
    }

    /// UID of the pod that answered. Cancel-safe: the probes go on in the next turn.
    async fn answered(&mut self) -> Arc<str> {
        match (self.running.next().await, &self.aim) {
            (Some(()), Some((pod, _))) => {
                self.running.clear();
                Arc::clone(pod)
            }
            _ => std::future::pending().await,
        }
    }
}

/// How Wakes are sent: by the carrier, or by the scalers' API while it is down or nobody answers there.
#[derive(Default)]
struct Calling {
    running: Option<Pin<Box<dyn Future<Output = Called> + Send>>>,
    unreachable: u32,
    /// Wakes that the carrier took and nobody answered.
    unanswered: u32,
}

impl Calling {
    async fn ask(
        &mut self,
        slot: &Slot,
        wakes: &Wakes,
        ask: Ask,
        port: Option<u16>,
        is_asleep: bool,
    ) {
        let is_up = *wakes.link.borrow();
        if is_up {
            wakes.send(slot, ask, port).await;
            self.unreachable = 0;
            self.unanswered = if ask.heard { 0 } else { self.unanswered + 1 };
            if self.unanswered < UNANSWERED_WAKES || !is_asleep {
                return;
            }
        }
        match &wakes.fallback {
            Some(fallback) if self.running.is_none() => {
                if !is_up {
                    wakes.metrics.wakes_asked.inc();
                }
                let call = fallback.clone().wake(slot.key().clone(), ask.waiting);
                self.running = Some(Box::pin(async move {
                    match call.await {
                        // Somebody may yet answer by the carrier.
                        Called::Unreachable if is_up => Called::InVain,
                        called => called,
                    }
                }));
            }
            Some(_) => {}
            // The carrier may be back in time.
            None => {}
        }
        // A wake the watch shows to be under way needs no scaler to be told again.
        if !is_asleep {
            self.unreachable = 0;
        }
    }

    async fn answered(&mut self) -> Called {
        match &mut self.running {
            Some(running) => {
                let called = running.await;
                self.running = None;
                called
            }
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, called: Called, slot: &Slot) {
        match called {
            Called::Accepted => {
                self.unreachable = 0;
                slot.outcome(Outcome::Waking);
            }
            Called::Denied(denial) => slot.outcome(Outcome::Denied(denial)),
            Called::InVain => {}
            Called::Unreachable => {
                self.unreachable += 1;
                if self.unreachable >= UNREACHABLE_WAKES {
                    self.unreachable = 0;
                    slot.outcome(Outcome::Denied(unreachable()));
                }
            }
        }
    }
}

fn unreachable() -> Denial {
    Denial {
        kind: DenialKind::Failed,
        reason: "NoScaler".into(),
        message: "no scaler can be reached to wake the sandbox".into(),
        retry_after: Some(UNREACHABLE_RETRY),
    }
}
