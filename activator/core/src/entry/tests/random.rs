//! Anything may happen in any order; some things hold all the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Arrive(Option<u64>),
    Leave(usize),
    Answer,
    Tick(u64),
    Asleep,
    Waking,
    Awake(u8, bool),
    Blocked,
    Open,
    Forget,
    Failed,
    Refused,
    Drain,
    Undrain,
    Finish,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => prop::option::of(0_u64..70).prop_map(Op::Arrive),
        2 => (0_usize..50).prop_map(Op::Leave),
        3 => Just(Op::Answer),
        4 => (0_u64..3_000).prop_map(Op::Tick),
        2 => Just(Op::Asleep),
        2 => Just(Op::Waking),
        4 => (0_u8..3, any::<bool>()).prop_map(|(pod, ready)| Op::Awake(pod, ready)),
        1 => Just(Op::Blocked),
        3 => Just(Op::Open),
        1 => Just(Op::Forget),
        1 => Just(Op::Failed),
        1 => Just(Op::Refused),
        2 => Just(Op::Drain),
        2 => Just(Op::Undrain),
        3 => Just(Op::Finish),
    ]
}

/// The entry, and what a bystander would write down.
struct World {
    entry: Entry<u32>,
    now: Instant,
    epoch: u64,
    nonce: u64,
    generation: u32,
    tickets: Vec<TicketId>,
    deadlines: BTreeMap<u32, Instant>,
    ended: BTreeSet<u32>,
    sent: u32,
    last_released: Option<u32>,
    /// The gate is known to be closed by a drain answered so, until then.
    gated_until: Option<Instant>,
}

impl World {
    fn new() -> Self {
        Self {
            entry: Entry::new(),
            now: start(),
            epoch: 0,
            nonce: 0,
            generation: 0,
            tickets: Vec::new(),
            deadlines: BTreeMap::new(),
            ended: BTreeSet::new(),
            sent: 0,
            last_released: None,
            gated_until: None,
        }
    }

    fn observe(&mut self, state: State) {
        self.epoch += 1;
        self.gated_until = None;
        let pod = match (&state, &self.entry.view().state) {
            (State::Asleep, State::Awake(pod)) => Some(Arc::clone(&pod.uid)),
            _ => None,
        };
        let mut view = view(self.epoch, state);
        view.pod = view.pod.or(pod);
        self.entry.observe(view, self.now);
    }

    fn arrive(&mut self, most: Option<u64>) {
        let id = u32::try_from(self.tickets.len()).unwrap();
        self.entry.begin();
        match self
            .entry
            .arrive(most.map(secs), |_| Ok::<_, Infallible>(id), self.now)
        {
            Arrival::Parked { ticket, .. } => {
                self.tickets.push(ticket);
                let wait = secs(most.unwrap_or(55).min(55));
                self.deadlines.insert(id, self.now + wait);
            }
            Arrival::Go(_) => {
                assert!(self.entry.parked() == 0, "passed those who wait");
                self.went();
            }
            Arrival::Refused(_) | Arrival::Full | Arrival::Turned(_) => self.entry.end(self.now),
        }
    }

    fn went(&mut self) {
        assert!(
            self.gated_until.is_none_or(|until| until <= self.now),
            "slipped through the gate"
        );
        assert!(
            matches!(self.entry.view().state, State::Awake(_)),
            "sent to a sandbox not awake"
        );
        self.sent += 1;
    }

    fn apply(&mut self, op: &Op) {
        let now = self.now;
        match *op {
            Op::Arrive(most) => self.arrive(most),
            Op::Leave(n) => {
                if let Some(ended) = self.tickets.get(n).and_then(|id| self.entry.abandon(*id)) {
                    self.entry.end(now);
                    self.end(ended.payload);
                }
            }
            Op::Answer => self.entry.answered(self.generation, now),
            Op::Tick(by) => self.wait(millis(by)),
            Op::Asleep => self.observe(State::Asleep),
            Op::Waking => self.observe(State::Waking),
            Op::Awake(n, ready) => self.observe(pod(&format!("pod-{n}"), ready)),
            Op::Blocked => self.observe(State::Blocked(denial(DenialKind::Refused, None))),
            Op::Open => {
                let uid = self.entry.probe(now).map(|pod| Arc::clone(&pod.uid));
                uid.into_iter()
                    .for_each(|uid| assert!(self.entry.opened(&uid)));
            }
            Op::Forget => {
                let uid = self.entry.pod().map(|pod| Arc::clone(&pod.uid));
                uid.into_iter().for_each(|uid| self.entry.forget(&uid, now));
            }
            Op::Failed => {
                self.entry.outcome(
                    Outcome::Denied(denial(DenialKind::Failed, Some(secs(3)))),
                    now,
                );
            }
            Op::Refused => self
                .entry
                .outcome(Outcome::Denied(denial(DenialKind::Refused, None)), now),
            Op::Drain => {
                self.nonce += 1;
                if drain(&mut self.entry, self.nonce, now) == DrainAnswer::Drained {
                    assert!(
                        self.sent == 0 && self.entry.parked() == 0,
                        "drained while in use"
                    );
                    self.gated_until = Some(now + secs(10));
                }
            }
            Op::Undrain => {
                self.entry
                    .outcome(Outcome::Undrain { nonce: self.nonce }, now);
                self.gated_until = None;
            }
            Op::Finish => {
                if self.sent > 0 {
                    self.sent -= 1;
                    self.entry.end(now);
                }
            }
        }
        self.poll();
    }

    /// Lets time pass as the shell does: by its own timer, from deadline to deadline.
    fn wait(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(next) = self.entry.next(self.now).filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.poll();
        }
        self.now = end;
    }

    fn poll(&mut self) {
        for _ in 0..4 {
            let step = self.entry.poll(self.now);
            for ended in step.expired {
                assert!(
                    self.deadlines[&ended.payload] <= self.now,
                    "expired too early"
                );
                self.entry.end(self.now);
                self.end(ended.payload);
            }
            for ended in step.denied {
                self.entry.end(self.now);
                self.end(ended.payload);
            }
            for ended in step.released {
                assert!(self.last_released < Some(ended.payload), "out of order");
                self.last_released = Some(ended.payload);
                self.went();
                self.end(ended.payload);
            }
            self.generation = step
                .release
                .map_or(self.generation, |release| release.generation);
        }
        assert!(
            self.entry.next(self.now).is_none_or(|next| next > self.now),
            "polled and still due: the shell would spin"
        );
        let overdue = |(id, at): (&u32, &Instant)| *at <= self.now && !self.ended.contains(id);
        assert!(
            !self.deadlines.iter().any(overdue),
            "waits past its deadline"
        );
    }

    fn end(&mut self, id: u32) {
        assert!(self.ended.insert(id), "ended twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_tickets_end_once_in_order_and_in_time_and_no_gate_leaks(
        ops in prop::collection::vec(op(), 0..120)
    ) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.wait(secs(61));
        prop_assert_eq!(world.ended.len(), world.tickets.len());
        world.wait(secs(600));
        prop_assert!(!world.entry.is_waking(), "a wake outlives its deadline");
    }

    #[test]
    fn after_anything_a_sandbox_that_comes_up_lets_everybody_go(
        ops in prop::collection::vec(op(), 0..120)
    ) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.observe(pod("pod-9", true));
        world.wait(secs(54));
        prop_assert_eq!(world.entry.parked(), 0);
        world.arrive(None);
        prop_assert!(world.entry.parked() == 0, "{:?}", world.entry);
    }
}
