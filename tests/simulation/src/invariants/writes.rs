//! Invariants of what scalers write: 3, 4, 8, 12.

use std::time::Duration;

use reveille_activator_core::view::State;
use reveille_scaler_core::act::SleepReason;
use reveille_scaler_core::sandbox::Rules;
use reveille_scaler_core::view::{Hold, Mode};

use crate::api::Write;
use crate::cluster::Fate;
use crate::objects::{Change, Name};
use crate::requests::Request;
use crate::sim::NodeKind;
use crate::trouble::NOTICED;
use crate::watch::LONGEST_STALL;
use crate::world::World;
use crate::writes::{Applied, Pending};

/// Cause of a sleep of what nobody waits for and never came up.
const NEVER_READY: &str = SleepReason::NeverReady.as_str();
/// Cause of a sleep that an operator's hold orders: what is in flight then has a grace, and no lease counts.
const ORDERED: &str = SleepReason::Held.as_str();
/// Cause of a sleep that takes back a wake of ours that failed.
const WAKE_FAILED: &str = SleepReason::WakeFailed.as_str();

/// Invariant 3: N waiters on one sandbox, on any number of activators, cost one wake: none is done twice.
pub(super) fn one_wake_for_all(world: &World) -> Result<(), String> {
    for applied in done(world).filter(|applied| applied.pending.write.wakes()) {
        if let Some((_, epoch, Mode::Running)) = &applied.before {
            let target = &applied.pending.target;
            return Err(format!(
                "{target} was woken again at epoch {epoch} while it was awake"
            ));
        }
    }
    Ok(())
}

/// Invariant 4: No sandbox sleeps with a request in flight, an open active stream, a busy lease, or an unknown
/// activator.
pub(super) fn no_sleep_in_use(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    // What only its fences can hold comes when the gates have long opened again.
    // And two objects cannot be tested at once: who wakes by hand what is being released takes his chance.
    // And by its epoch alone a write of before an object was replaced is not to be told from one of after.
    let is_older = |pending: &Pending| {
        let replaced = world.replaced.get(&pending.target);
        replaced.is_some_and(|at| pending.issued <= *at)
    };
    let on_time = |applied: &&Applied| {
        !world.is_loose(&applied.pending) && !applied.by_hand && !is_older(&applied.pending)
    };
    for applied in sleeps(world).filter(on_time) {
        let target = &applied.pending.target;
        let is_ordered = applied.pending.cause == ORDERED;
        if is_ordered && grace_is_over(world, &applied.pending) {
            continue;
        }
        let in_use = world.requests.live().find(|(_, request)| {
            request.wish.target == *target
                && request.is_in_flight()
                && is_in_the_way(request, world)
        });
        if let Some((id, request)) = in_use {
            let number = id.number();
            return Err(format!(
                "{target} was put to sleep under #{number}: {:?}",
                request.stage
            ));
        }
        let lease = world.leases.iter().find(|lease| {
            // What is said while the write is under way already comes too late, and a pod whose wake
            // has failed is taken back whatever it said before it crashed.
            let in_time = lease.heard < applied.pending.issued
                && applied.pending.cause != WAKE_FAILED
                && !is_ordered;
            lease.until > now
                && in_time
                && world.remembers(lease)
                && stands(world, applied, &lease.pod)
        });
        if let Some(lease) = lease {
            let left = lease.until - now;
            return Err(format!(
                "{target} was put to sleep though {} is busy for {left:?}",
                lease.pod
            ));
        }
        if let Some(left) = cut_short(world, applied) {
            return Err(format!(
                "the wake of {target} was taken back though it had {left:?} left to come up in"
            ));
        }
        let in_the_way = applied.busy_until.filter(|_| !is_ordered);
        if in_the_way.is_some_and(|until| until > now) && applied.pending.cause != WAKE_FAILED {
            return Err(format!("{target} was put to sleep under the lease on it"));
        }
        all_have_drained(world, target)?;
    }
    Ok(())
}

/// Whether each activator that would send to `target` has closed its gate.
fn all_have_drained(world: &World, target: &Name) -> Result<(), String> {
    let now = world.sim.now();
    for activator in world.activators.iter().filter(|activator| activator.serves) {
        let Some(slot) = activator.slots.get(target) else {
            continue;
        };
        let is_open = matches!(slot.entry.view().state, State::Awake(_));
        let has_drained = slot.drained.iter().any(|drained| now < drained.until);
        if is_open && !has_drained {
            return Err(format!(
                "{target} was put to sleep though {} had not drained",
                activator.name
            ));
        }
    }
    Ok(())
}

/// Whether what was in flight when its scaler first told this order has had its grace.
fn grace_is_over(world: &World, pending: &Pending) -> bool {
    let told = world
        .orders
        .get(&(pending.by.index, pending.target.clone()));
    told.is_some_and(|(_, at)| pending.issued >= *at + world.sim.plan.grace)
}

/// What was left of the time of a wake that was taken back though its pod was still on its way up.
fn cut_short(world: &World, applied: &Applied) -> Option<Duration> {
    let Pending { target, cause, .. } = &applied.pending;
    let is_taken_back = *cause == WAKE_FAILED || *cause == NEVER_READY;
    let is_mode = matches!(applied.pending.write, Write::Mode { .. });
    let need = world.needs.get(target)?;
    // What becomes of a wake whose pod was lost is decided by what that one died of.
    let woken = need
        .woken
        .filter(|at| need.pod_lost.is_none_or(|lost| lost < *at));
    let woken = woken.filter(|_| is_taken_back && is_mode)?;
    // An epoch that began anew and was reached once more, all in a gap of its writer's watch, is the old one to it.
    let replaced = world.replaced.get(target);
    let streams = &world.scalers[applied.pending.by.index].streams;
    if replaced.is_some_and(|at| *at < woken) && streams.has_gap_since(Change::SANDBOXES, woken) {
        return None;
    }
    let policy = world.api.objects().policies.get(target);
    let progress = policy.map_or_else(
        || Rules::default().unmanaged_progress_deadline,
        |policy| policy.progress(),
    );
    let left = (woken + progress).saturating_duration_since(world.sim.now());
    let mut agents = world.cluster.agents();
    let is_starting = agents.any(|(uid, agent)| {
        let is_sound = matches!(agent.fate, Fate::Up | Fate::Slow) && agent.container == 0;
        stands(world, applied, uid) && is_sound
    });
    (is_starting && !left.is_zero()).then_some(left)
}

/// A stream that moved bytes again after its activator had drained came too late.
fn is_in_the_way(request: &Request, world: &World) -> bool {
    let slot = world.activators[request.activator]
        .slots
        .get(&request.wish.target);
    let mut drained = slot.into_iter().flat_map(|slot| &slot.drained);
    let stream = request.stream.as_ref();
    let too_late = drained.any(|drained| stream.is_some_and(|it| it.used_since >= drained.at));
    request.is_in_use(world.sim.now()) && !too_late
}

/// Whether that pod is there, not being deleted before, and belongs to what was put to sleep.
fn stands(world: &World, applied: &Applied, pod: &str) -> bool {
    let mut pods = world.api.objects().pods.values();
    pods.any(|present| {
        *present.uid == *pod
            && !present.terminating
            && world.owners.get(&present.sandbox_uid) == Some(&applied.pending.target)
    })
}

/// Invariant 8: Sleep is fenced by epoch and UID: a wake that came first wins every tie.
pub(super) fn sleep_is_fenced(world: &World) -> Result<(), String> {
    for applied in sleeps(world) {
        let write = applied.pending.goes_to();
        let (uid, epoch) = write.fence();
        let Some((real_uid, real_epoch, mode)) = &applied.before else {
            continue;
        };
        if (uid, epoch, Mode::Running) != (real_uid, *real_epoch, *mode) {
            return Err(format!(
                "a sleep of {} written for {uid} at epoch {epoch} was done to {real_uid} at epoch {real_epoch}, {mode:?}",
                applied.pending.target
            ));
        }
        // One whose Sandbox an operator has just deleted harms nobody.
        if let Write::Release { sandbox, .. } = write
            && let sandbox = sandbox.as_ref().map(|sandbox| sandbox.fence().0)
            && applied.bound.is_some()
            && sandbox != applied.bound.as_ref()
        {
            return Err(format!(
                "{} was to be released with {sandbox:?}, and was with {:?}",
                applied.pending.target, applied.bound
            ));
        }
    }
    Ok(())
}

/// Invariant 12: Held, expired, foreign and pool-owned sandboxes are never woken or put to sleep: a hold at the
/// moment of the write, the rest as far as the writer's own watch had shown it, and no sleep by one whose
/// watches may be behind. A wake of ours that failed is taken back also under a hold.
pub(super) fn hands_off(world: &World) -> Result<(), String> {
    for applied in done(world) {
        let (pending, known) = (&applied.pending, applied.pending.known);
        let wakes = pending.write.wakes();
        // A hold that comes when its Sandbox has been put to sleep comes too late for the claim.
        let hold = match pending.goes_to() {
            Write::Release { .. } => known.hold,
            _ => applied.hold,
        };
        let against_hold = match hold {
            // A release would delete the Sandbox, and the hold with it.
            Some(_) if matches!(pending.write, Write::Release { .. }) => true,
            Some(Hold::Asleep) => wakes,
            Some(Hold::Awake) => !wakes && pending.cause != WAKE_FAILED,
            None => false,
        };
        let why = match () {
            () if against_hold => "held",
            () if known.expired => "expired",
            () if known.pool_member => "a member of a pool",
            () if known.deleting => "being deleted",
            () if known.paused => "paused",
            () if !wakes && is_long_paused(world, pending) => "paused for long",
            () => continue,
        };
        let verb = if wakes { "woken" } else { "put to sleep" };
        return Err(format!("{} is {why} and was {verb}", pending.target));
    }
    Ok(())
}

/// Whether its policy had been paused for longer than a scaler that works can be without knowing.
fn is_long_paused(world: &World, pending: &Pending) -> bool {
    let told = LONGEST_STALL + NOTICED;
    let key = (NodeKind::Scaler, pending.by.index);
    let went_on = world.paused.get(&key);
    let need = world.needs.get(&pending.target);
    let paused = need.and_then(|need| need.paused);
    let known = paused.into_iter().chain(went_on.copied()).max();
    paused.is_some() && known.is_some_and(|at| at + told < pending.issued)
}

/// Invariant 18: An epoch never goes down, nor stays, by our doing.
pub(super) fn epoch_rises(world: &World) -> Result<(), String> {
    for applied in done(world) {
        let Write::Mode { sandbox, .. } = applied.pending.goes_to() else {
            continue;
        };
        let present = world.api.objects().sandboxes.get(sandbox);
        if let (Some(present), Some((uid, before, _))) = (present, &applied.before)
            && present.uid == *uid
            && present.epoch <= *before
        {
            return Err(format!(
                "{sandbox} went from epoch {before} to {} by a write",
                present.epoch
            ));
        }
    }
    Ok(())
}

/// Sleeps done in this step.
fn sleeps(world: &World) -> impl Iterator<Item = &Applied> {
    done(world).filter(|applied| !applied.pending.write.wakes())
}

/// Writes done in this step.
fn done(world: &World) -> impl Iterator<Item = &Applied> {
    world
        .facts
        .applied
        .iter()
        .filter(|applied| applied.result.is_ok())
}
