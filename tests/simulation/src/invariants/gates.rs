//! Invariant of the gates that drains close: 21.

use std::time::{Duration, Instant};

use reveille_activator_core::view::State;
use reveille_scaler_core::sandbox::Rules;

use crate::sim::Node;
use crate::world::World;

/// After the storm the carrier is whole; an order that was called off is told of again within a second, and a
/// sleep and the wake after it are shown by then.
const HEARD: Duration = Duration::from_secs(3);

/// Invariant 21: Once all is well, no gate of what is awake stays closed for drains that are all settled: asleep by
/// now, or ordered and called off, or of a scaler that died longer than a hold ago.
pub(super) fn gates_open(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    if !world.sim.is_calm() || now < world.calm + HEARD {
        return Ok(());
    }
    for activator in world.activators.iter().filter(|activator| activator.is_up) {
        for (name, slot) in &activator.slots {
            let is_awake = matches!(slot.entry.view().state, State::Awake(_));
            if !is_awake || slot.drained.is_empty() || !slot.entry.is_gated(now) {
                continue;
            }
            let mut closed = slot.drained.iter().filter(|drained| now < drained.until);
            let mut last = None;
            let all = closed.all(|drained| {
                let settled = settled(world, activator.node, drained.nonce);
                last = last.max(settled);
                settled.is_some()
            });
            if let Some(last) = last.filter(|at| all && now > *at + HEARD) {
                let late = now - last;
                return Err(format!(
                    "{} keeps requests for {name} back {late:?} after the last drain of it was settled",
                    activator.name
                ));
            }
        }
    }
    Ok(())
}

/// Since when that drain needs no gate of this activator. Who was suspended reads the last word of a scaler that
/// has died when it goes on, and holds its gate from then.
fn settled(world: &World, activator: Node, nonce: u64) -> Option<Instant> {
    let left_alone = || {
        let died = world.left_alone.get(&nonce)?;
        let went_on = world.paused.get(&(activator.kind, activator.index));
        let read = went_on.map_or(*died, |at| *died.max(at));
        Some(read + Rules::default().drain_hold)
    };
    left_alone().or_else(|| world.settled.get(&nonce).copied())
}
