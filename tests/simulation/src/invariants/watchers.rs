//! Invariants of what watchers know, and of claims, which are watched in two halves: 15, 16.

use std::time::Duration;

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
        let is_whole = world.activators[*index].streams.silent_since().is_none();
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
