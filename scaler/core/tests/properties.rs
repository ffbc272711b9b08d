//! Random lives of one target against a truthful activator and a controller that loses, delays and refuses.
//!
//! What must hold whatever happens: a sleep is begun only behind a closed gate with nothing in flight, no
//! lease, no pin against it and a policy for it; at most one write is under way; nothing pinned asleep,
//! expired or foreign is ever woken; and after the faults stop, whoever waits is woken or told why.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use proptest::prelude::*;
use reveille_scaler_core::act::{Act, Intent, Tell, Write, Written};
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::view::{Hold, Mode, Policy, View};
use world::{World, pod, policy, sandbox_view, seconds};

#[derive(Clone, Debug)]
enum Step {
    Begin,
    End,
    Report,
    Ask,
    Reply,
    LoseReply,
    Turn,
    Done,
    Conflict,
    Unavailable,
    Lost,
    LostButDone,
    Watch,
    PodUp,
    PodFault,
    Hold(u8),
    Restart,
    Lease(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Begin),
        1 => Just(Step::End),
        3 => Just(Step::Report),
        2 => Just(Step::Ask),
        4 => Just(Step::Reply),
        1 => Just(Step::LoseReply),
        4 => Just(Step::Turn),
        3 => Just(Step::Done),
        1 => Just(Step::Conflict),
        1 => Just(Step::Unavailable),
        1 => Just(Step::Lost),
        1 => Just(Step::LostButDone),
        3 => Just(Step::Watch),
        2 => Just(Step::PodUp),
        1 => Just(Step::PodFault),
        1 => (0u8..6).prop_map(Step::Hold),
        1 => Just(Step::Restart),
        1 => (0u64..20).prop_map(Step::Lease),
        6 => (1u64..3000).prop_map(Step::Pass),
    ]
}

/// The truth, which the machine only hears of.
struct Truth {
    world: World,
    in_flight: u32,
    /// The activator's gate: the drain's number, and until when.
    gate: Option<(u64, std::time::Instant)>,
    asked: Vec<(u64, bool)>,
    object: (Mode, u64, Option<Hold>),
    queued: Vec<Write>,
    begun: Option<Write>,
    lease_until: Option<std::time::Instant>,
    pods: u32,
    starts: u32,
}

impl Truth {
    fn new() -> Self {
        let view = View {
            sandbox: Some(sandbox_view(Mode::Running)),
            claim: None,
            pod: Some(pod("pod-0", true)),
            policy: Some(Policy {
                cooldown: seconds(3),
                ..policy()
            }),
        };
        Self {
            world: World::of(view),
            in_flight: 0,
            gate: None,
            asked: Vec::new(),
            object: (Mode::Running, 1, None),
            queued: Vec::new(),
            begun: None,
            lease_until: None,
            pods: 0,
            starts: 0,
        }
    }

    fn gated(&self) -> bool {
        self.gate.is_some_and(|(_, until)| self.world.now < until)
    }

    fn collect(&mut self) {
        for act in self.world.take() {
            match act {
                Act::Drain { nonce, order, .. } => self.asked.push((nonce, order)),
                Act::Undrain { nonce } => {
                    self.gate.take_if(|(closed, _)| *closed == nonce);
                }
                Act::Write(write) => self.queued.push(write),
                Act::Tell(_) | Act::AskBusy { .. } | Act::Note(_) => {}
            }
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Begin if !self.gated() && self.object.0 == Mode::Running => self.in_flight += 1,
            Step::End => self.in_flight = self.in_flight.saturating_sub(1),
            Step::Report => self.report(),
            Step::Ask => self.world.ask(),
            Step::Reply => {
                if let Some((nonce, order)) = self.asked.pop() {
                    let drained = self.in_flight == 0;
                    if drained || order {
                        let hold = if order { 40 } else { 10 };
                        self.gate = Some((nonce, self.world.now + seconds(hold)));
                    }
                    self.world.reply(nonce, drained);
                }
            }
            Step::LoseReply => self.asked.clear(),
            Step::Turn => self.turn(),
            Step::Done => self.fate(true, None),
            Step::Conflict => self.fate(false, Some(Written::Conflict)),
            Step::Unavailable => self.fate(false, Some(Written::Unavailable("no".into()))),
            Step::Lost => self.fate(false, Some(Written::Lost)),
            Step::LostButDone => self.fate(true, Some(Written::Lost)),
            Step::Watch => self.watch(),
            Step::PodUp if self.object.0 == Mode::Running => {
                self.pods += 1;
                let uid = format!("pod-{}", self.pods);
                self.world.view.pod = Some(pod(&uid, true));
                self.watch();
            }
            Step::PodFault if self.world.view.pod.is_some() => {
                let fault = reveille_scaler_core::view::Fault::new("CrashLoopBackOff", "it exits");
                self.world.view.pod.as_mut().unwrap().fault = Some(fault);
                self.watch();
            }
            Step::Hold(which) => {
                self.object.2 = [
                    None,
                    None,
                    None,
                    None,
                    Some(Hold::Awake),
                    Some(Hold::Asleep),
                ][usize::from(*which)];
                self.watch();
            }
            // One that starts while the write is on its way is the one race no handshake closes.
            Step::Restart if self.begun.is_none() => {
                self.in_flight = 0;
                self.gate = None;
                self.asked.clear();
                self.starts += 1;
                let name: &'static str =
                    Box::leak(format!("start-{}", self.starts).into_boxed_str());
                self.world.restart_activator(name);
            }
            Step::Lease(length) => self.lease(*length),
            Step::Pass(ms) => self.pass(Duration::from_millis(*ms)),
            Step::Begin | Step::PodUp | Step::PodFault | Step::Restart => {}
        }
        self.collect();
    }

    fn report(&mut self) {
        self.world.report(Some(Report {
            in_flight: self.in_flight,
            ..Report::default()
        }));
    }

    fn lease(&mut self, length: u64) {
        let Some(pod) = self.world.view.pod.as_ref().map(|pod| pod.uid.clone()) else {
            return;
        };
        if self.object.0 == Mode::Running && self.in_flight > 0 {
            let busy = Some((pod, seconds(length)));
            self.lease_until = None;
            self.world.report(Some(Report {
                in_flight: self.in_flight,
                busy,
                ..Report::default()
            }));
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            let next = self
                .world
                .next
                .unwrap_or(end)
                .min(end)
                .min(self.world.now + seconds(1));
            self.world.now = next;
            self.report();
            self.collect();
        }
    }

    /// The turn of the oldest queued write has come.
    fn turn(&mut self) {
        if self.begun.is_some() || self.queued.is_empty() {
            return;
        }
        let write = self.queued.remove(0);
        self.world.poll();
        if !self.world.begin_write(&write) {
            self.world.poll();
            return;
        }
        // What is in flight when a sleep is ordered has a grace, and no more.
        let ordered = write.cause == "hold";
        if write.what == Intent::Suspend && write.epoch == self.object.1 && !ordered {
            assert_eq!(self.in_flight, 0, "a sleep with a request in flight");
            assert!(self.gated(), "a sleep without a closed gate");
        }
        if write.what == Intent::Restore {
            assert_ne!(
                self.world.machine.view().hold(),
                Some(Hold::Asleep),
                "woken though held asleep"
            );
        }
        self.begun = Some(write);
    }

    fn fate(&mut self, done: bool, fate: Option<Written>) {
        let Some(write) = self.begun.take() else {
            return;
        };
        let from = if write.what == Intent::Restore {
            Mode::Suspended
        } else {
            Mode::Running
        };
        let fits = (self.object.0, self.object.1) == (from, write.epoch);
        if done && fits {
            if write.what == Intent::Suspend && write.cause == "hold" {
                self.in_flight = 0;
            }
            if write.what == Intent::Suspend {
                assert_eq!(self.in_flight, 0, "put to sleep with a request in flight");
                self.world.view.pod = None;
            }
            let to = if write.what == Intent::Restore {
                Mode::Running
            } else {
                Mode::Suspended
            };
            self.object = (to, write.epoch + 1, self.object.2);
        }
        let told = if fits && done {
            Written::Done(write.epoch + 1)
        } else {
            Written::Conflict
        };
        self.world.written(fate.unwrap_or(told));
    }

    fn watch(&mut self) {
        let (mode, epoch, hold) = self.object;
        self.world.see_sandbox(|sandbox| {
            (sandbox.mode, sandbox.epoch, sandbox.hold) = (mode, epoch, hold)
        });
        if mode == Mode::Suspended {
            self.gate = None;
        }
    }

    /// No more faults: whoever waits is woken, or told why, within the wake deadline.
    fn heal(&mut self) {
        self.object.2 = None;
        self.watch();
        self.collect();
        if self.begun.is_some() {
            self.fate(true, None);
            self.watch();
            self.collect();
        }
        let limit = self.world.now + seconds(75);
        while self.world.now < limit {
            self.world.ask();
            let failed = self
                .world
                .acts
                .iter()
                .any(|act| matches!(act, Act::Tell(Tell::Failed { .. })));
            self.collect();
            let up = self.object.0 == Mode::Running
                && self
                    .world
                    .view
                    .pod
                    .as_ref()
                    .is_some_and(|pod| pod.ready && pod.fault.is_none());
            if failed || up {
                return;
            }
            for step in [
                Step::Turn,
                Step::Done,
                Step::Watch,
                Step::PodUp,
                Step::Pass(500),
            ] {
                self.apply(&step);
            }
        }
        panic!(
            "somebody waits, and nothing happens: {:?}",
            self.world.machine
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_life_of_a_target_breaks_a_rule(steps in prop::collection::vec(step(), 1..120)) {
        let mut truth = Truth::new();
        for step in &steps {
            truth.apply(step);
            prop_assert!(truth.queued.len() < 50, "writes pile up");
        }
        truth.heal();
    }
}
