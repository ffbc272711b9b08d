//! Invariants of what stays open towards a pod that is no more: 22, 23.

use std::time::Duration;

use reveille_activator_core::life::over_at;

use crate::sim::NodeKind;
use crate::world::World;

/// What the end of a pod breaks is told of within so long.
const TOLD: Duration = Duration::from_millis(10);

/// Invariant 22: A request that waits for a pod which was seen to leave is over when that has had its grace.
pub(super) fn dead_pods_left(world: &World) -> Result<(), String> {
    let now = world.sim.now();
    for (id, request) in world.requests.live() {
        let activator = &world.activators[request.activator];
        let left = request.meant_for().and_then(|pod| activator.left.get(pod));
        let is_paused = world.is_paused(NodeKind::Activator, request.activator);
        let Some(left) = left.filter(|_| !is_paused) else {
            continue;
        };
        let over = over_at(*left, world.sim.plan.pods.grace) + TOLD;
        if now > over {
            return Err(format!(
                "#{} for {} still waits for {:?} {:?} after that was over",
                id.number(),
                request.wish.target,
                request.pod(),
                now - over
            ));
        }
    }
    Ok(())
}

/// Invariant 23: A stream that was silent for long is over when its pod is the target's no more.
pub(super) fn silent_let_go(world: &World) -> Result<(), String> {
    let kept = world.requests.live().find(|(id, request)| {
        let is_paused = world.is_paused(NodeKind::Activator, request.activator);
        !is_paused && world.leads_nowhere(*id)
    });
    kept.map_or(Ok(()), |(id, request)| {
        Err(format!(
            "#{} for {} is silent, and open to {:?}, which is gone",
            id.number(),
            request.wish.target,
            request.pod()
        ))
    })
}
