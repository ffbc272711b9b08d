//! Invariants of what watchers know, and of claims, which are watched in two halves: 15 to 17.

use std::time::Duration;

use reveille_scaler_core::sandbox::Rules;

use crate::objects::Change;
use crate::sim::NodeKind;
use crate::watch::APART;
use crate::world::World;

/// After the storm all cuts are mended; a list, and what is held of claims, take up to so long.
const HEALED: Duration = Duration::from_secs(8);
/// What vanishes is told of within so long then.
const TOLD: Duration = Duration::from_secs(3);

/// Invariant 15: A claim lives, or is remembered; and an activator whose watches are whole knows it.
pub(super) fn claim_kept(world: &World) -> Result<(), String> {
    let objects = world.api.objects();
    let plan = &world.sim.plan;
    let claims = (0..plan.targets.len()).filter(|number| plan.targets[*number].claim);
    for name in claims.map(|number| plan.name(number)) {
        if !objects.claims.contains_key(&name) && !objects.released.contains_key(&name) {
            return Err(format!("{name} was released, and nothing remembers it"));
        }
    }
    for (index, name) in &world.facts.dropped {
        let is_claim = plan.target(name).is_some_and(|target| target.claim);
        let streams = &world.activators[*index].streams;
        // Where the memory came and went while its stream was broken, only the claim is known to be gone: it is
        // told of that up to `APART` after the delete, before which the memory was there, and holds it for as long.
        let gone = world.sim.now() - APART * 2;
        let is_whole =
            streams.silent_since().is_none() && !streams.has_gap_since(Change::MEMORIES, gone);
        if is_claim && is_whole && plan.watch.lag < APART {
            return Err(format!("activator-{index} took {name} for gone"));
        }
    }
    Ok(())
}

/// Invariant 16: Once all is well, no watcher knows what is not there.
pub(super) fn gone_is_gone(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    if !world.sim.is_calm() || now < world.calm + HEALED {
        return Ok(());
    }
    let there = world.api.objects();
    for node in world.nodes() {
        let known = match node.kind {
            NodeKind::Activator => &world.activators[node.index].cache,
            NodeKind::Scaler => &world.scalers[node.index].cache,
        };
        if known.counts() == there.counts() {
            continue;
        }
        for stream in 0..Change::STREAMS {
            let present = there.of(stream);
            for change in known.of(stream) {
                let name = change.name();
                let is_there = present.iter().any(|present| present.name() == name);
                let vanished = world.api.vanished.get(name);
                if !is_there && vanished.is_none_or(|at| now > *at + TOLD) {
                    let label = node.label();
                    return Err(format!("{label} still knows {name}, which is gone"));
                }
            }
        }
    }
    Ok(())
}

/// Invariant 17: Once all is well, the view that a machine acts on is the object's.
pub(super) fn view_is_object(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    if !world.sim.is_calm() || now < world.calm + HEALED {
        return Ok(());
    }
    // Longer than our own writes are believed before the watch shows them.
    let settled = Rules::default().write_timeout + TOLD;
    for scaler in world.scalers.iter().filter(|scaler| scaler.is_up) {
        for (name, machine) in &scaler.machines {
            let changed = world.needs.get(name).and_then(|need| need.changed);
            let Some((_, present)) = world.api.standing(name) else {
                continue;
            };
            if changed.is_some_and(|at| now < at + settled) {
                continue;
            }
            let seen = machine.core.view().sandbox.as_ref();
            let seen = seen.map(|seen| (&seen.uid, seen.epoch, seen.mode));
            let there = (&present.uid, present.epoch, present.mode);
            if seen != Some(there) {
                return Err(format!(
                    "scaler-{} acts on {seen:?} of {name}, which is {there:?}",
                    scaler.node.index
                ));
            }
        }
    }
    Ok(())
}
