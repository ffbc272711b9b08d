//! One target, one activator called `a`, and a clock: what the cases drive.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_scaler_core::act::{Act, Intent, Note, Tell, Write, Written};
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::roster::Roster;
use reveille_scaler_core::sandbox::{Poll, Rules, Sandbox};
use reveille_scaler_core::view::{ClaimView, Mode, PodView, Policy, SandboxView, View};
use reveille_scaler_core::wake::{Ask, Cause};

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) roster: Roster<&'static str>,
    pub(crate) machine: Sandbox,
    pub(crate) view: View,
    pub(crate) a: Arc<str>,
    pub(crate) start: &'static str,
    sequence: u64,
    /// When the activator reports next.
    beat: Instant,
    pub(crate) acts: Vec<Act>,
    pub(crate) next: Option<Instant>,
    /// The write that was begun last.
    begun: Option<Write>,
}

pub(crate) fn policy() -> Policy {
    Policy {
        cooldown: seconds(30),
        minimum_uptime: Duration::ZERO,
        ..Policy::default()
    }
}

pub(crate) fn pod(uid: &str, ready: bool) -> PodView {
    PodView {
        uid: uid.into(),
        addressed: ready,
        ready,
        proven_by_ready: true,
        fault: None,
    }
}

pub(crate) fn sandbox_view(mode: Mode) -> SandboxView {
    SandboxView {
        uid: "uid".into(),
        epoch: 1,
        mode,
        hold: None,
        busy_until: None,
        woken: None,
        expires: None,
        deleting: false,
        pool_member: false,
        has_volumes: true,
        fault: None,
        age: Duration::ZERO,
    }
}

pub(crate) fn claim_view(released: bool) -> ClaimView {
    ClaimView {
        uid: "claim".into(),
        epoch: 1,
        released,
        deleting: false,
        stays_bound: false,
        fault: None,
        age: Duration::ZERO,
    }
}

impl World {
    /// Awake since now, ready, quiet, and the activator has been heard in full.
    pub(crate) fn awake() -> Self {
        let pod = Some(pod("pod-1", true));
        Self::of(View {
            sandbox: Some(sandbox_view(Mode::Running)),
            claim: None,
            pod,
            policy: Some(policy()),
        })
    }

    pub(crate) fn asleep() -> Self {
        let sandbox = Some(sandbox_view(Mode::Suspended));
        Self::of(View {
            sandbox,
            claim: None,
            pod: None,
            policy: Some(policy()),
        })
    }

    pub(crate) fn of(view: View) -> Self {
        let now = Instant::now() + seconds(100_000);
        let a: Arc<str> = "a".into();
        let mut roster = Roster::new(seconds(3), now);
        roster.set_members([&a]);
        let machine = Sandbox::new(Arc::new(Rules::default()), 100, now);
        let mut world = Self {
            now,
            roster,
            machine,
            view: View::default(),
            a,
            start: "start",
            sequence: 0,
            beat: now + seconds(1),
            acts: Vec::new(),
            next: None,
            begun: None,
        };
        world.report(None);
        world.see(|seen| *seen = view);
        world
    }

    /// The watch shows a changed picture.
    pub(crate) fn see(&mut self, change: impl FnOnce(&mut View)) {
        change(&mut self.view);
        self.machine.observe(self.view.clone(), self.now);
        self.poll();
    }

    pub(crate) fn see_sandbox(&mut self, change: impl FnOnce(&mut SandboxView)) {
        self.see(|view| change(view.sandbox.as_mut().expect("the case has a Sandbox")));
    }

    /// The controller makes true what was written: a ready pod while Running, none while Suspended.
    pub(crate) fn settle(&mut self, uid: &str) {
        self.see(|view| view.pod = Some(pod(uid, true)));
    }

    pub(crate) fn poll(&mut self) {
        let Poll { acts, next } = self.machine.poll(&self.roster, self.now);
        assert!(
            next.is_none_or(|next| next > self.now),
            "a poll that wants to be polled at once never ends"
        );
        self.acts.extend(acts);
        self.next = next;
    }

    /// One report; with an entry for the target if `report` is some.
    pub(crate) fn report(&mut self, report: Option<Report>) {
        self.sequence += 1;
        let entries: Vec<_> = report
            .iter()
            .map(|report| ("t", report.is_active()))
            .collect();
        let place = (self.sequence, self.sequence == 1);
        let heard = self
            .roster
            .report(&self.a, self.start, place, &entries, self.now);
        assert!(heard.accepted);
        if let Some(report) = report {
            let a = Arc::clone(&self.a);
            self.machine.report(&a, &report, self.now);
        }
        self.poll();
    }

    pub(crate) fn active(&mut self, in_flight: u32, parked: u32) {
        self.report(Some(Report {
            in_flight,
            parked,
            ..Report::default()
        }));
    }

    /// The activator starts anew and reports in full.
    pub(crate) fn restart_activator(&mut self, start: &'static str) {
        self.start = start;
        self.sequence = 0;
        self.report(None);
    }

    pub(crate) fn ask(&mut self) {
        let ask = Ask {
            cause: Cause::Http,
            waiting: 1,
            member: Some(Arc::clone(&self.a)),
            by: Some("GET /".into()),
        };
        self.machine.ask(&ask, self.now);
        self.poll();
    }

    /// Time passes in steps of the activator's reports and the machine's own deadlines.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        if self.beat <= self.now {
            self.beat = self.now + seconds(1);
        }
        while self.now < end {
            let due = self.next.unwrap_or(end);
            self.now = due.min(self.beat).min(end);
            if self.now >= self.beat {
                self.beat += seconds(1);
                self.report(None);
            }
            self.poll();
        }
    }

    /// Time passes, and nobody reports.
    pub(crate) fn pass_in_silence(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.next.unwrap_or(end).min(end);
            self.poll();
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// The drain that was asked for since the last look.
    pub(crate) fn drain(&mut self) -> Option<u64> {
        let found = self.acts.iter().find_map(|act| match act {
            Act::Drain { nonce, .. } => Some(*nonce),
            _ => None,
        });
        self.acts.retain(|act| !matches!(act, Act::Drain { .. }));
        found
    }

    pub(crate) fn reply(&mut self, nonce: u64, drained: bool) {
        self.machine.reply("a", self.start, nonce, drained);
        self.poll();
    }

    /// The writes asked for since the last look.
    pub(crate) fn writes(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        self.acts.retain(|act| match act {
            Act::Write(write) => {
                writes.push(write.clone());
                false
            }
            _ => true,
        });
        writes
    }

    /// The one write asked for since the last look; its turn has come.
    pub(crate) fn begin(&mut self, what: Intent) -> Write {
        let writes = self.writes();
        assert_eq!(
            writes.iter().map(|write| write.what).collect::<Vec<_>>(),
            [what],
            "{:?}",
            self.acts
        );
        assert!(self.begin_write(&writes[0]));
        writes[0].clone()
    }

    /// Whether its turn is taken.
    pub(crate) fn begin_write(&mut self, write: &Write) -> bool {
        let begun = self.machine.begin_write(write, self.now);
        if begun {
            self.begun = Some(write.clone());
        }
        begun
    }

    pub(crate) fn written(&mut self, fate: Written) {
        let write = self.begun.clone().expect("a write was begun");
        self.machine.written(&write, &fate, self.now);
        self.poll();
    }

    /// Drains, writes, and is asleep.
    pub(crate) fn fall_asleep(&mut self) {
        let nonce = self.drain().expect("a drain is asked for");
        self.reply(nonce, true);
        let write = self.begin(Intent::Suspend);
        self.written(Written::Done(write.epoch + 1));
        self.see(|view| {
            view.pod = None;
            let sandbox = view.sandbox.as_mut().expect("the case has a Sandbox");
            (sandbox.mode, sandbox.epoch) = (Mode::Suspended, write.epoch + 1);
        });
    }

    pub(crate) fn tells(&mut self) -> Vec<Tell> {
        let mut tells = Vec::new();
        self.acts.retain(|act| match act {
            Act::Tell(tell) => {
                tells.push(tell.clone());
                false
            }
            _ => true,
        });
        tells
    }

    pub(crate) fn notes(&self) -> Vec<&Note> {
        let notes = self.acts.iter().filter_map(|act| match act {
            Act::Note(note) => Some(note),
            _ => None,
        });
        notes.collect()
    }

    pub(crate) fn undrained(&mut self, nonce: u64) -> bool {
        let before = self.acts.len();
        self.acts.retain(|act| *act != Act::Undrain { nonce });
        self.acts.len() != before
    }

    pub(crate) fn why(&self) -> String {
        self.machine.explain(&self.roster, self.now).why.to_string()
    }
}
