//! What is remembered of a run beside its state, for the invariants.

use std::sync::Arc;
use std::time::Instant;

use reveille_scaler_core::act::SleepReason;
use reveille_scaler_core::view::Mode;

use super::World;
use crate::activator::Slot;
use crate::api::Write;
use crate::claims::Stage;
use crate::exchange::stream::Stream;
use crate::objects::{Change, Name};
use crate::requests::{End, RequestId};
use crate::watch::LONGEST_STALL;
use crate::writes::Pending;

/// When a target was last needed, and what stood in the way of its sleep.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    /// A request was last under way.
    pub(crate) used: Option<Instant>,
    /// An activator last asked for its wake.
    pub(crate) asked: Option<Instant>,
    /// An object of it last changed.
    pub(crate) changed: Option<Instant>,
    /// Drains that failed since its last sleep, by scaler.
    pub(crate) drains_failed: [u32; 2],
    /// Its policy has been paused since.
    pub(crate) paused: Option<Instant>,
    /// A scaler last woke it.
    pub(crate) woken: Option<Instant>,
    /// How often scalers woke it.
    pub(crate) wakes: u32,
    /// A pod of it was last gone.
    pub(crate) pod_lost: Option<Instant>,
    /// Wakes that failed.
    pub(crate) wakes_failed: u32,
    /// The latest term in which it was put to sleep.
    pub(crate) term: u64,
}

impl World {
    /// Governed targets that are wanted awake.
    pub(crate) fn awake(&self) -> impl Iterator<Item = Name> {
        let plan = &self.sim.plan;
        let governed = (0..plan.targets.len()).filter(|number| plan.targets[*number].managed);
        governed.map(|number| plan.name(number)).filter(|name| {
            let objects = self.api.objects();
            let lives = objects.claims.contains_key(name);
            let is_released = !lives && objects.released.contains_key(name);
            let is_suspended = self
                .api
                .standing(name)
                .is_some_and(|(_, sandbox)| sandbox.mode == Mode::Suspended);
            !is_released && !is_suspended
        })
    }

    /// Remembers which Sandbox stands for which target, and when something changed.
    pub(crate) fn note_owner(&mut self, change: &Change) {
        let now = self.sim.now();
        match change {
            Change::Sandbox(name, Some(sandbox)) => {
                if sandbox.mode == Mode::Running {
                    self.asleep.remove(&sandbox.uid);
                }
                if !sandbox.pool_member {
                    let owner = sandbox.claim.clone().unwrap_or_else(|| Arc::clone(name));
                    self.owners.insert(Arc::clone(&sandbox.uid), owner);
                }
            }
            Change::Pod(_, Some(pod)) if pod.terminating => {
                if let Some(at) = self.asleep.get(&pod.sandbox_uid) {
                    self.put_to_sleep.insert(Arc::clone(&pod.uid), *at);
                }
            }
            _ => {}
        }
        let name = change.name();
        if change.is_end() {
            self.api.vanished.insert(Arc::clone(name), now);
        }
        let target = self.owner_of(name).unwrap_or_else(|| Arc::clone(name));
        let need = self.needs.entry(target).or_default();
        need.changed = Some(now);
        if matches!(change, Change::Pod(_, None)) {
            need.pod_lost = Some(now);
        }
        if let Change::Policy(_, policy) = change {
            let is_paused = policy.as_ref().is_some_and(|policy| policy.paused);
            need.paused = is_paused.then(|| need.paused.unwrap_or(now));
        }
    }

    /// The claim of a Sandbox.
    pub(crate) fn owner_of(&self, sandbox: &Name) -> Option<Name> {
        self.api.objects().sandboxes.get(sandbox)?.claim.clone()
    }

    /// What a scaler wrote is done.
    pub(crate) fn note_written(&mut self, pending: &Pending, by_hand: bool) {
        let sandbox = match &pending.write {
            Write::Mode { sandbox, .. } => Some(sandbox),
            Write::Release { .. } | Write::Bind { .. } | Write::Collect { .. } => None,
        };
        let is_checked = self.sim.is_calm() || self.sim.plan.calm;
        let counts = &mut self.sim.coverage;
        *match &pending.write {
            Write::Mode {
                to: Mode::Running, ..
            } => &mut counts.restored,
            Write::Mode {
                to: Mode::Suspended,
                ..
            } => &mut counts.suspended,
            Write::Release { .. } if matches!(pending.stage, Stage::Suspend { .. }) => {
                &mut counts.suspended
            }
            Write::Release { .. } => &mut counts.given_back,
            Write::Bind { .. } => &mut counts.bound,
            Write::Collect { .. } => return,
        } += 1;
        if pending.write.wakes() {
            let need = self.needs.entry(Arc::clone(&pending.target)).or_default();
            need.woken = Some(self.sim.now());
            need.wakes += 1;
        }
        let counts = &mut self.sim.coverage;
        let pods = &self.api.objects().pods;
        if !pending.write.wakes() {
            counts.quiet_awaited += u64::from(is_checked);
            let its = self
                .owners
                .iter()
                .filter(|(_, owner)| **owner == pending.target);
            let now = self.sim.now();
            let its: Vec<_> = its.map(|(uid, _)| (Arc::clone(uid), now)).collect();
            // It comes whenever it comes, after all gates have opened; or somebody opened them who woke by hand what
            // is being released.
            if by_hand || self.is_loose(pending) || self.is_unheard_order(pending) {
                return;
            }
            self.asleep.extend(its);
        } else if let Some(pod) = sandbox.and_then(|name| pods.get(name)) {
            counts.woken_while_terminating += u64::from(pod.terminating);
        }
    }

    /// Whether it is a sleep by order, which comes after its grace whatever an activator has not heard that was
    /// suspended or cut off: never, or so long ago that its gate opens before its watch shows the sleep.
    fn is_unheard_order(&self, pending: &Pending) -> bool {
        let shown = self.sim.now() + LONGEST_STALL;
        let key = (pending.by.index, Arc::clone(&pending.target));
        let order = self.orders.get(&key).map(|(nonce, _)| *nonce);
        let has_heard = |slot: &Slot| {
            let ordered = slot.ordered.filter(|(nonce, _)| Some(*nonce) == order);
            ordered.is_some_and(|(_, until)| until > shown)
        };
        let serving = self.activators.iter().filter(|activator| activator.serves);
        let mut slots = serving.filter_map(|activator| activator.slots.get(&pending.target));
        pending.cause == SleepReason::Held.as_str()
            && slots.any(|slot| slot.entry.view().is_wanted && !has_heard(slot))
    }

    /// Remembers which targets are under way.
    pub(super) fn note_use(&mut self) {
        let now = self.sim.now();
        for (_, request) in self.requests.live() {
            if request.is_in_use(now) {
                // A stream is until it has been silent for long.
                let silent = request.stream.as_ref().and_then(Stream::silent_from);
                let need = self
                    .needs
                    .entry(Arc::clone(&request.wish.target))
                    .or_default();
                need.used = need.used.max(Some(silent.unwrap_or(now)));
            }
        }
    }

    /// A request is over.
    pub(crate) fn note_end(&mut self, id: RequestId, end: End) {
        let wish = &self.requests.get(id).wish;
        let target = Arc::clone(&wish.target);
        if wish.is_last {
            self.sim.coverage.waiters_awaited += 1;
            self.last.push((target, end));
        } else {
            let used = Some(self.sim.now());
            if let Some(need) = self.needs.get_mut(&target) {
                need.used = need.used.max(used);
            }
        }
    }
}
