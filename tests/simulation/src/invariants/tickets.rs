//! Invariants of requests and their tickets: 1, 2, 5, 6, 11.

use reveille_activator_core::lot::Ending;
use reveille_activator_core::retry::Exchange;
use reveille_activator_core::wake::Steps;

use crate::facts::Delivery;
use crate::requests::{End, Stage};
use crate::sim::NodeKind;
use crate::world::World;

/// Invariant 1: A parked request ends exactly once, and within its own deadline.
pub(super) fn ticket_ends_once_in_time(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    // Nothing ends in a process that is suspended.
    let suspended = |index: usize| world.is_paused(NodeKind::Activator, index);
    for ended in &world.facts.endings {
        let number = ended.request.number();
        let Some(deadline) = ended.deadline else {
            return Err(format!(
                "the ticket of #{number} ended ({}) without waiting",
                ended.ending.as_str()
            ));
        };
        if now > deadline && !suspended(world.requests.get(ended.request).activator) {
            return Err(format!(
                "the ticket of #{number} ended {:?} after its deadline",
                now - deadline
            ));
        }
    }
    for (id, request) in world.requests.live() {
        if let Stage::Parked { deadline, .. } = request.stage
            && now > deadline
            && !suspended(request.activator)
        {
            let late = now - deadline;
            return Err(format!(
                "#{} still waits {late:?} after its deadline",
                id.number()
            ));
        }
    }
    Ok(())
}

/// Invariant 2: While anyone waits, a Wake is sent within the repeat interval.
pub(super) fn waiters_are_heard(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    let longest = Steps::default().longest;
    let works = |index: usize| !world.is_paused(NodeKind::Activator, index);
    let activators = world.activators.iter().filter(|activator| activator.is_up);
    for activator in activators.filter(|activator| works(activator.node.index)) {
        for (name, slot) in &activator.slots {
            // While released ones are unanswered, the others wait for them and not for a wake.
            let Some(since) = slot.waiting_since.filter(|_| slot.unanswered == 0) else {
                continue;
            };
            let heard = slot
                .asked
                .max(slot.answered)
                .map_or(since, |asked| asked.max(since));
            if now > heard + longest {
                let silent = now - heard;
                return Err(format!(
                    "{} waits for {name} and sent no Wake for {silent:?}",
                    activator.name
                ));
            }
        }
    }
    last_visits_were_served(world)
}

/// After faults stop every waiter is released, or told why.
fn last_visits_were_served(world: &World) -> Result<(), String> {
    for (name, end) in &world.last {
        let Some(target) = world.sim.plan.target(name) else {
            continue;
        };
        let slowest = world.sim.plan.slowest_start();
        let may_fail = world
            .needs
            .get(name)
            .is_some_and(|need| need.wakes_failed > 0)
            || target.policy.progress() < slowest;
        let is_fine = match end {
            End::Answered => true,
            End::Ticket(Ending::Refused | Ending::Failed) | End::TurnedAway => may_fail,
            End::Ticket(Ending::Expired) => world.sim.plan.longest_wait(name) < slowest,
            _ => false,
        };
        if !is_fine {
            return Err(format!(
                "all is well, and yet a request for {name} ended as {end:?}"
            ));
        }
    }
    Ok(())
}

/// 2, at the end.
pub(super) fn nobody_waits(world: &World) -> Result<(), String> {
    if let Some((id, request)) = world.requests.live().next() {
        return Err(format!(
            "at the end #{} for {} is still {:?}",
            id.number(),
            request.wish.target,
            request.stage
        ));
    }
    let targets = world.sim.plan.targets.len();
    if world.last.len() < targets {
        return Err(format!(
            "of {targets} last clients {} were told something",
            world.last.len()
        ));
    }
    Ok(())
}

/// Invariant 5: A request is sent at most once unless it is idempotent, bodiless and unanswered.
pub(super) fn sent_once(world: &World) -> Result<(), String> {
    for delivery in &world.facts.deliveries {
        let request = world.requests.get(delivery.request);
        if request.delivered < 2 {
            continue;
        }
        let before = Exchange {
            method: request.wish.method,
            has_body: request.wish.has_body,
            response_began: request.began,
            sent: request.delivered - 1,
        };
        if !before.may_resend() {
            let number = delivery.request.number();
            return Err(format!(
                "#{number} ({}, body: {}) was delivered {} times",
                before.method, before.has_body, request.delivered
            ));
        }
    }
    Ok(())
}

/// Invariant 6: A request for A never reaches B, nor a pod of A that is being deleted: neither one that its activator
/// could know to be going, nor one that goes because a scaler put its sandbox to sleep.
///
/// An activator that the API server has been out of reach of for long serves from what it knew. What became
/// of pods since then nobody can tell it; but nothing is put to sleep meanwhile, nor does it take for awake
/// what may have been a moment before.
pub(super) fn right_pod(world: &World) -> Result<(), String> {
    let excused = |delivery: &&Delivery| delivery.is_blind && !delivery.meant_asleep;
    let deliveries = world.facts.deliveries.iter();
    for delivery in deliveries.filter(|delivery| !excused(delivery)) {
        let target = &world.requests.get(delivery.request).wish.target;
        let number = delivery.request.number();
        let pod = &delivery.pod;
        if delivery.owner.as_ref() != Some(target) {
            return Err(format!(
                "#{number} for {target} reached {pod} of {:?}",
                delivery.owner
            ));
        }
        if delivery.known_terminating {
            return Err(format!(
                "#{number} for {target} was sent to {pod}, known to be going"
            ));
        }
        if delivery.put_to_sleep {
            return Err(format!(
                "#{number} for {target} reached {pod}, which was put to sleep"
            ));
        }
    }
    Ok(())
}

/// Invariant 11: Release is first in, first out per sandbox (and activator).
pub(super) fn first_come_first(world: &World) -> Result<(), String> {
    let released = world
        .facts
        .endings
        .iter()
        .filter(|ended| ended.ending == Ending::Released);
    for (at, ended) in released.enumerate() {
        let request = world.requests.get(ended.request);
        let same = |other: &crate::requests::Request| {
            (other.activator, other.life) == (request.activator, request.life)
                && other.wish.target == request.wish.target
        };
        let later = world
            .facts
            .endings
            .iter()
            .filter(|ended| ended.ending == Ending::Released)
            .skip(at + 1);
        let overtaken = later
            .filter(|other| same(world.requests.get(other.request)))
            .map(|other| (other.request, other.place))
            .chain(
                world
                    .requests
                    .live()
                    .filter(|(_, other)| same(other))
                    .filter_map(|(id, other)| match other.stage {
                        Stage::Parked { place, .. } => Some((id, place)),
                        _ => None,
                    }),
            )
            .find(|(_, place)| *place < ended.place);
        if let Some((id, _)) = overtaken {
            let (first, second) = (ended.request.number(), id.number());
            return Err(format!(
                "#{first} was released before #{second}, which had waited longer"
            ));
        }
    }
    Ok(())
}
