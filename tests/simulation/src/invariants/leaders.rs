//! Invariants of several scalers: 13, 14.

use reveille_scaler_core::roster::Silence;

use crate::world::World;

/// Invariant 13: At most one scaler leads, and one that leads no more knows so.
pub(super) fn one_leader(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    let scalers = world.scalers.iter().filter(|scaler| scaler.is_up);
    let believers = scalers.filter(|scaler| {
        scaler.leads(now) || scaler.roster.silence(now) != Some(Silence::NotLeading)
    });
    let believers: Vec<usize> = believers.map(|scaler| scaler.node.index).collect();
    if believers.len() > 1 {
        return Err(format!("scalers {believers:?} all go by leading"));
    }
    Ok(())
}

/// Invariant 14: A sleep is begun only by the leader, has ended before another leads unless only its
/// fences can hold it, and never comes after a sleep by a later leader.
pub(super) fn sleep_is_led(world: &World) -> Result<(), String> {
    for applied in &world.facts.applied {
        let pending = &applied.pending;
        if applied.result.is_err() || pending.write.wakes() {
            continue;
        }
        let (by, target) = (pending.by, &pending.target);
        let Some(term) = pending.led else {
            return Err(format!(
                "{target} was put to sleep by scaler-{}, which did not lead when it began that",
                by.index
            ));
        };
        if let Some(later) = applied.later {
            return Err(format!(
                "{target} was put to sleep in term {term} after that had been done in term {later}"
            ));
        }
        let leader = world.leader().map(|index| world.scalers[index].node);
        if let Some(other) = leader.filter(|leader| *leader != by && !world.is_loose(pending)) {
            return Err(format!(
                "{target} was put to sleep by scaler-{} while scaler-{} leads",
                by.index, other.index
            ));
        }
    }
    Ok(())
}
