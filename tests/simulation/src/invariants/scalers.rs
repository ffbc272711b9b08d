//! Invariants of what one scaler does in turn: 19, 20.

use std::time::Duration;

use crate::scaler::WRITES;
use crate::sim::NodeKind;
use crate::world::World;

/// A scaler that was suspended spends its tokens as soon as it goes on.
const NOTICED: Duration = Duration::from_millis(100);

/// Invariant 19: A wake is told once, by whoever wrote it.
pub(super) fn told_once(world: &World) -> Result<(), String> {
    match world.facts.told_twice.first() {
        Some((target, epoch)) => Err(format!(
            "the wake of {target} at epoch {epoch} was told again"
        )),
        None => Ok(()),
    }
}

/// Invariant 20: No wake waits for its turn longer than the wakes before it take at the rate. There are never so
/// many under way here that those which another scaler writes first wait for them, too.
pub(super) fn wakes_go_first(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    for scaler in world.scalers.iter().filter(|scaler| scaler.is_up) {
        let index = scaler.node.index;
        let went_on = world.paused.get(&(NodeKind::Scaler, index)).copied();
        if went_on.is_some_and(|at| now < at + NOTICED) {
            continue;
        }
        let before = scaler.waiting.len() as u32;
        let longest = NOTICED + Duration::from_secs(1) * before / WRITES.0;
        for (name, since) in &scaler.waiting {
            let since = went_on.map_or(*since, |at| at.max(*since));
            let waited = now.saturating_duration_since(since);
            if waited > longest {
                return Err(format!(
                    "the wake of {name} waits for {waited:?} at scaler-{index}, with {before} wakes"
                ));
            }
        }
    }
    Ok(())
}
