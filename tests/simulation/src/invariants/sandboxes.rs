//! Invariants of sandboxes and of what is remembered about them: 7, 9, 10.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reveille_scaler_core::sandbox::Rules;
use reveille_scaler_core::view::{Hold, Mode};

use crate::activator::REPORT_EVERY;
use crate::objects::{Name, Pod};
use crate::requests::Stage;
use crate::scaler::MARKS;
use crate::world::World;

/// What messages, watches and writes take together when all is well.
const TRAVEL: Duration = Duration::from_secs(1);
/// Reporters that are no members are remembered up to that many.
const GUESTS: usize = 64;
/// After trouble, a new leader's included, all activators are heard: a report shows the gap, the next one
/// is full.
const HEARD: Duration = Duration::from_secs(2);
/// The longest pause after a drain that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(61);
/// An ask counts for so long, if no report of its activator comes.
const ASK_COUNTS: Duration = Duration::from_millis(2500);
/// The pod of before a sleep is not taken for the new one for so long, should it have been kept.
const OLD_POD: Duration = Duration::from_secs(2);

/// Invariant 7: Never two live pods with one identity writing one volume by our doing.
pub(super) fn one_pod_per_identity(world: &World) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (uid, agent) in world.cluster.agents() {
        if let Some(other) = seen.insert(&agent.sandbox, uid) {
            return Err(format!(
                "{other} and {uid} are both pods of {}",
                agent.sandbox
            ));
        }
    }
    let mut bound = BTreeMap::new();
    for (name, sandbox) in &world.api.objects().sandboxes {
        let Some(claim) = &sandbox.claim else {
            continue;
        };
        let lives = world
            .api
            .objects()
            .pods
            .get(name)
            .is_some_and(|pod| !pod.terminating);
        if lives && let Some(other) = bound.insert(claim, name) {
            return Err(format!("{other} and {name} both stand for claim {claim}"));
        }
    }
    Ok(())
}

/// Invariant 9: A quiet sandbox sleeps within cooldown, one report interval and the drain time, once all activators
/// are heard.
pub(super) fn quiet_sleeps(world: &World) -> Result<(), String> {
    let is_calm = world.sim.is_calm() || world.sim.plan.calm;
    if !is_calm || world.leader().is_none() {
        return Ok(());
    }
    let now = world.sim.now();
    for name in world.awake() {
        if let Some(due) = sleeps_at(world, &name)
            && now > due
        {
            let late = now - due;
            return Err(format!(
                "{name} is quiet and should have slept {late:?} ago{}",
                excuse(world, &name)
            ));
        }
    }
    Ok(())
}

/// When a target that is awake must have been put to sleep; `None`: it may stay awake.
fn sleeps_at(world: &World, name: &Name) -> Option<Instant> {
    let (_, sandbox) = world.api.standing(name)?;
    let policy = world.api.objects().policies.get(name)?;
    let expired = sandbox.expires.is_some_and(|at| world.sim.now() >= at);
    if policy.paused
        || expired
        || sandbox.hold == Some(Hold::Awake)
        || sandbox.mode == Mode::Suspended
    {
        return None;
    }
    let need = world.needs.get(name).copied().unwrap_or_default();
    let pods = world.cluster.agents();
    let busy = pods.filter(|(_, agent)| agent.sandbox == sandbox.uid);
    let busy = busy.flat_map(|(uid, _)| world.leases.iter().filter(move |lease| lease.pod == *uid));
    let busy = busy.map(|lease| lease.until);
    let busy = busy.chain(sandbox.busy_until).max();
    let asked = need.asked.map(|at| at + ASK_COUNTS);
    let changed = need.changed.map(|at| at + OLD_POD);
    let quiet = [need.used, changed, asked, busy]
        .into_iter()
        .flatten()
        .max()?
        .max(world.sim.troubled + HEARD);
    let pod = world.api.objects().pods.get(world.api.standing(name)?.0);
    let listens = |pod: &Pod| {
        let agent = world.cluster.agent(&pod.uid);
        agent.is_some_and(|agent| agent.listens)
    };
    let is_up = pod.is_some_and(|pod| pod.ready && !pod.terminating && listens(pod));
    let start = if is_up {
        Duration::ZERO
    } else {
        policy.progress()
    };
    let pause = if need.drains_failed != [0; 2] {
        LONGEST_PAUSE
    } else {
        Duration::ZERO
    };
    let settled = sandbox.created + policy.initial_cooldown;
    let cooldown = policy.cooldown.max(policy.minimum_uptime);
    let handshake = REPORT_EVERY + Rules::default().drain_timeout + TRAVEL;
    Some(quiet.max(settled) + start + cooldown + pause + handshake)
}

/// 9, at the end.
pub(super) fn all_asleep(world: &World) -> Result<(), String> {
    let awake = world.awake().next();
    awake.map_or(Ok(()), |name| {
        Err(format!(
            "{name} is still awake at the end{}",
            excuse(world, &name)
        ))
    })
}

/// What the leader says of it.
fn excuse(world: &World, name: &Name) -> String {
    let leader = world.leader().map(|index| &world.scalers[index]);
    let machine = leader.and_then(|scaler| Some((scaler, scaler.machines.get(name)?)));
    machine.map_or_else(
        || "; no leader knows it".into(),
        |(scaler, machine)| {
            let told = machine.core.explain(&scaler.roster, world.sim.now());
            let silence = scaler.roster.silence(world.sim.now());
            format!(
                "; scaler-{} says {:?}: {}; {silence:?}",
                scaler.node.index, told.state, told.why
            )
        },
    )
}

/// Invariant 10: Memory is bounded: by parked requests, by known sandboxes, never by strangers' input.
pub(super) fn memory_bounded(world: &World) -> Result<(), String> {
    for activator in world.activators.iter().filter(|activator| activator.is_up) {
        let known = activator.cache.len();
        if activator.slots.len() > known {
            let slots = activator.slots.len();
            return Err(format!(
                "{} has {slots} slots for {known} known objects",
                activator.name
            ));
        }
        let parked: usize = activator
            .slots
            .values()
            .map(|slot| slot.entry.parked())
            .sum();
        let waiting = world.requests.live().filter(|(_, request)| {
            request.activator == activator.node.index
                && matches!(request.stage, Stage::Parked { .. })
        });
        let waiting = waiting.count();
        if parked > waiting {
            return Err(format!(
                "{} has {parked} tickets for {waiting} waiting requests",
                activator.name
            ));
        }
    }
    for scaler in world.scalers.iter().filter(|scaler| scaler.is_up) {
        let known = scaler.cache.len();
        let index = scaler.node.index;
        if scaler.machines.len() > known {
            return Err(format!(
                "scaler-{index} has {} machines for {known} objects",
                scaler.machines.len()
            ));
        }
        if scaler.budget.len() > scaler.machines.len() + 1 + MARKS {
            return Err(format!(
                "scaler-{index} has {} writes queued",
                scaler.budget.len()
            ));
        }
        let heard = scaler.roster.present().count();
        if heard > world.activators.len() + GUESTS {
            return Err(format!("scaler-{index} remembers {heard} activators"));
        }
    }
    Ok(())
}
