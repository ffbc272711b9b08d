//! The sandbox controller, the kubelets and the pod network, with upstream's quirks.
//!
//! - A pod bears its Sandbox's name, so there is one of a name at a time; the next one is made only when
//!   the old one is gone.
//! - In Running mode a deletion timestamp is not looked at: flipped back in time, the dying pod goes on
//!   being "Ready" with its address until it is gone.
//! - Without a readiness probe a pod is Ready as soon as its container runs, long before it listens.
//! - A pod deleted from outside is made again; an expired Sandbox is not reconciled at all.
//! - A pod whose node dies goes on being "Ready" for a while, then is not, then is deleted, and never says a word.
//! - Addresses are given out again, the latest freed one first, as soon as [`IP_REST`] has passed.

mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_scaler_core::view::Mode;

use crate::api::Api;
use crate::mutant::Mutant;
use crate::objects::{Ip, Name, Pod, Sandbox, Uid};
use crate::sim::{Event, Sim};

/// An address rests this long before another pod gets it: longer than any watch of the model is late.
/// A pod network that is quicker than the watches cannot be told from the right one by anybody.
pub(crate) const IP_REST: Duration = Duration::from_secs(6);
/// Longest time by which a slow starter is late: longer than most wait, and than some wakes may take.
const LATE: Duration = Duration::from_secs(10);
/// The kubelet's pause before a container that died is started again.
const RESTART: Duration = Duration::from_millis(700);
/// Longest time until a dead node is found out, and from there until its pods are deleted.
const LOST: Duration = Duration::from_secs(4);
const EVICTED: Duration = Duration::from_secs(3);
/// Time until a container of a crash loop dies, and until the kubelet says so.
const CRASHES_AFTER: Duration = Duration::from_millis(30);

/// One running pod as the network meets it.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) name: Name,
    pub(crate) sandbox: Uid,
    pub(crate) ip: Ip,
    /// It takes connections.
    pub(crate) listens: bool,
    /// Starts of its container: a connection does not outlive one.
    pub(crate) container: u32,
    pub(crate) fate: Fate,
}

/// How a pod will go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Up,
    NoImage,
    Mute,
    CrashLoop,
    /// Up, but much later than anybody waits.
    Slow,
}

/// What happens next to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodStep {
    Address,
    Listen,
    Ready,
    Fault,
    Crash,
    Deaf,
    /// Its node, which is dead, is found out.
    Lost,
    /// And it is deleted.
    Evicted,
    Gone,
}

/// Everything beyond the API.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// By pod UID: those that are there, the terminating ones included.
    agents: BTreeMap<Uid, Agent>,
    /// Pods whose node is dead, those that are gone by now included.
    pub(crate) silent: BTreeSet<Uid>,
    /// Freed addresses, the latest last.
    free: Vec<(Ip, Instant)>,
    issued: Ip,
    members: u32,
}

impl Cluster {
    /// The pod of this UID, while it is there.
    pub(crate) fn agent(&self, pod: &Uid) -> Option<&Agent> {
        self.agents.get(pod)
    }

    /// The pod that has this address.
    pub(crate) fn at(&self, ip: Ip) -> Option<(&Uid, &Agent)> {
        self.agents.iter().find(|(_, agent)| agent.ip == ip)
    }

    /// All pods that are there.
    pub(crate) fn agents(&self) -> impl Iterator<Item = (&Uid, &Agent)> {
        self.agents.iter()
    }

    /// Makes true what the objects of this name ask for.
    pub(crate) fn reconcile(&mut self, name: &Name, api: &mut Api, sim: &mut Sim) {
        if api.objects().claims.contains_key(name) {
            self.bind(name, api, sim);
        }
        let now = sim.now();
        let sandbox = api.objects().sandboxes.get(name).cloned();
        let pod = api.objects().pods.get(name).cloned();
        match (sandbox, pod) {
            (Some(sandbox), Some(pod)) if pod.sandbox_uid == sandbox.uid => {
                let is_wanted = sandbox.mode == Mode::Running
                    && sandbox.expires.is_none_or(|at| now < at)
                    && !sandbox.deleting;
                if !is_wanted {
                    self.terminate(name, api, sim);
                } else if pod.terminating && sim.mutant == Some(Mutant::OldPodForgotten) {
                    self.create(name, &sandbox, api, sim);
                }
            }
            (_, Some(_)) => self.terminate(name, api, sim),
            (Some(sandbox), None) => {
                let expired = sandbox.expires.is_some_and(|at| now >= at);
                if sandbox.mode == Mode::Running && !expired && !sandbox.deleting {
                    self.create(name, &sandbox, api, sim);
                }
            }
            (None, None) => {}
        }
    }

    /// Deletes the pod gracefully: it lingers, and stops listening some time before it is gone.
    pub(crate) fn terminate(&mut self, name: &Name, api: &mut Api, sim: &mut Sim) {
        let Some(pod) = api
            .objects()
            .pods
            .get(name)
            .filter(|pod| !pod.terminating)
            .cloned()
        else {
            return;
        };
        api.edit_pod(name, &pod.uid, |pod| pod.terminating = true);
        let grace = sim.up_to(sim.plan.pods.grace);
        let deaf = sim.up_to(grace);
        sim.trace(|| {
            format!(
                "pod {} of {name} is being deleted, gone in {grace:?}",
                pod.uid
            )
        });
        sim.after(deaf, pod_event(name, &pod.uid, PodStep::Deaf));
        sim.after(grace, pod_event(name, &pod.uid, PodStep::Gone));
    }

    /// The next thing happens to a pod.
    pub(crate) fn step(
        &mut self,
        name: &Name,
        uid: &Uid,
        step: PodStep,
        api: &mut Api,
        sim: &mut Sim,
    ) {
        match step {
            PodStep::Lost | PodStep::Evicted => self.found_dead(name, uid, step, api, sim),
            PodStep::Gone => self.gone(name, uid, api, sim),
            _ if self.silent.contains(uid) => {}
            _ => self.go_on(name, uid, step, api, sim),
        }
    }

    /// What a pod does while its node lives.
    fn go_on(&mut self, name: &Name, uid: &Uid, step: PodStep, api: &mut Api, sim: &mut Sim) {
        let Some(agent) = self.agents.get_mut(uid) else {
            return;
        };
        let is_terminating = api
            .objects()
            .pods
            .get(name)
            .is_none_or(|pod| pod.uid != *uid || pod.terminating);
        if is_terminating && step != PodStep::Deaf {
            return;
        }
        sim.trace(|| format!("pod {uid} of {name}: {step:?}"));
        match step {
            PodStep::Address => {
                let ip = agent.ip;
                let is_ready = !sim.plan.pods.probed;
                api.edit_pod(name, uid, |pod| {
                    pod.ip = Some(ip);
                    pod.ready = is_ready;
                });
            }
            PodStep::Listen => {
                agent.listens = true;
                agent.container += 1;
                let fate = agent.fate;
                api.edit_pod(name, uid, |pod| pod.fault = None);
                if fate == Fate::CrashLoop {
                    sim.after(CRASHES_AFTER, pod_event(name, uid, PodStep::Crash));
                }
                let ready = sim.up_to(sim.plan.pods.ready);
                sim.after(ready, pod_event(name, uid, PodStep::Ready));
            }
            PodStep::Ready => {
                if agent.listens || !sim.plan.pods.probed {
                    api.edit_pod(name, uid, |pod| pod.ready = true);
                }
            }
            PodStep::Fault => {
                let fault = if agent.fate == Fate::NoImage {
                    "ImagePullBackOff"
                } else {
                    "CrashLoopBackOff"
                };
                api.edit_pod(name, uid, |pod| pod.fault = Some(fault));
            }
            PodStep::Crash => {
                agent.listens = false;
                let loops = agent.fate == Fate::CrashLoop;
                api.edit_pod(name, uid, |pod| pod.ready = false);
                if loops {
                    sim.after(CRASHES_AFTER, pod_event(name, uid, PodStep::Fault));
                }
                sim.after(RESTART, pod_event(name, uid, PodStep::Listen));
            }
            PodStep::Deaf => agent.listens = false,
            PodStep::Lost | PodStep::Evicted | PodStep::Gone => {}
        }
    }

    /// The node of a pod dies.
    pub(crate) fn fall_silent(&mut self, uid: &Uid, sim: &mut Sim) {
        let Some(agent) = self.agents.get_mut(uid) else {
            return;
        };
        agent.listens = false;
        self.silent.insert(Arc::clone(uid));
        let lost = sim.up_to(LOST);
        sim.after(lost, pod_event(&agent.name, uid, PodStep::Lost));
    }

    /// The node of a pod is found to be dead; then the pod is deleted.
    fn found_dead(&mut self, name: &Name, uid: &Uid, step: PodStep, api: &mut Api, sim: &mut Sim) {
        if !self.agents.contains_key(uid) {
            return;
        }
        if step == PodStep::Evicted {
            return self.terminate(name, api, sim);
        }
        api.edit_pod(name, uid, |pod| pod.ready = false);
        let evicted = sim.up_to(EVICTED);
        sim.after(evicted, pod_event(name, uid, PodStep::Evicted));
    }

    fn gone(&mut self, name: &Name, uid: &Uid, api: &mut Api, sim: &Sim) {
        if let Some(agent) = self.agents.remove(uid) {
            self.free.push((agent.ip, sim.now()));
        }
        if api
            .objects()
            .pods
            .get(name)
            .is_some_and(|pod| pod.uid == *uid)
        {
            api.put_pod(name, None);
        }
    }

    fn create(&mut self, name: &Name, sandbox: &Sandbox, api: &mut Api, sim: &mut Sim) {
        let uid = api.uid(&format!("pod-{name}"));
        let ip = self.address(sim);
        let fate = fate(sim);
        let container = 0;
        let sandbox = Arc::clone(&sandbox.uid);
        let pod = Pod {
            uid: Arc::clone(&uid),
            sandbox_uid: Arc::clone(&sandbox),
            ip: None,
            ready: false,
            terminating: false,
            fault: None,
        };
        sim.trace(|| format!("pod {uid} of {name} is made, address {ip}, fate {fate:?}"));
        let agent = Agent {
            name: Arc::clone(name),
            sandbox,
            ip,
            listens: false,
            container,
            fate,
        };
        self.agents.insert(Arc::clone(&uid), agent);
        api.put_pod(name, Some(pod));
        let address = sim.up_to(sim.plan.pods.address);
        let start = address + sim.up_to(sim.plan.pods.start);
        match fate {
            Fate::NoImage => sim.after(start, pod_event(name, &uid, PodStep::Fault)),
            Fate::Mute => sim.after(address, pod_event(name, &uid, PodStep::Address)),
            Fate::Up | Fate::CrashLoop => {
                sim.after(address, pod_event(name, &uid, PodStep::Address));
                sim.after(start, pod_event(name, &uid, PodStep::Listen));
            }
            Fate::Slow => {
                let late = start + sim.up_to(LATE);
                sim.after(address, pod_event(name, &uid, PodStep::Address));
                sim.after(late, pod_event(name, &uid, PodStep::Listen));
            }
        }
        match fate {
            Fate::Up => {}
            Fate::Slow => sim.coverage.pods_slow += 1,
            Fate::NoImage | Fate::Mute | Fate::CrashLoop => sim.coverage.pods_never_up += 1,
        }
    }

    fn address(&mut self, sim: &mut Sim) -> Ip {
        let now = sim.now();
        let rested = self
            .free
            .iter()
            .rposition(|(_, since)| now >= *since + IP_REST);
        if let Some(at) = rested {
            sim.coverage.addresses_reused += 1;
            return self.free.remove(at).0;
        }
        self.issued = self
            .issued
            .checked_add(1)
            .expect("a run has fewer than 255 pods within the rest time");
        self.issued
    }
}

/// A Sandbox as it is made.
pub(crate) fn cold(uid: Uid, claim: Option<&Name>, has_volumes: bool, now: Instant) -> Sandbox {
    Sandbox {
        uid,
        created: now,
        epoch: 0,
        mode: Mode::Running,
        hold: None,
        busy_until: None,
        woken: None,
        expires: None,
        deleting: false,
        pool_member: false,
        claim: claim.cloned(),
        releasing: None,
        has_volumes,
    }
}

fn fate(sim: &mut Sim) -> Fate {
    if sim.is_calm() {
        return Fate::Up;
    }
    let pods = sim.plan.pods;
    match () {
        () if sim.happens(pods.no_image) => Fate::NoImage,
        () if sim.happens(pods.mute) => Fate::Mute,
        () if sim.happens(pods.crash_loop) => Fate::CrashLoop,
        () if pods.slow > 0.0 && sim.happens(pods.slow) => Fate::Slow,
        () => Fate::Up,
    }
}

fn pod_event(name: &Name, uid: &Uid, step: PodStep) -> Event {
    Event::Pod(Arc::clone(name), Arc::clone(uid), step)
}
