//! For any schedule of reads, writes, delays, losses, partitions, pauses, crashes and clock rates: never two
//! leaders at one true instant, nor one before all that the last one may have begun has ended.
#![allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use reveille_scaler_core::election::{Election, Outcome, Record, Step, Timing};

/// What a leader begins has ended after so long, by its own clock.
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);
/// A step without an answer is given up after so long.
const STEP_TIMEOUT: u64 = 3_000_000;
/// Microseconds in which things go wrong, and in which they do not any more.
const STORM: u64 = 150_000_000;
const CALM: u64 = 60_000_000;
/// Clocks are wrong by up to so many parts in a million.
const CLOCK_ERROR: u32 = 25_000;
const DAY: Duration = Duration::from_secs(86_400);

/// True time, in microseconds.
type Micros = u64;

#[derive(Clone, Debug)]
enum Event {
    Poll,
    /// The step, and when its sender gives it up.
    Arrives(Step, Micros),
    /// The step, its outcome; of a read, what it showed.
    Answered(Step, Outcome, Option<Option<Record>>),
    Start,
    Crash,
    Pause(Micros),
    Resign,
}

struct Scaler {
    election: Option<Election>,
    identity: Arc<str>,
    life: u32,
    /// Its clock: where it started, and microseconds of it in a true second.
    zero: Instant,
    rate: u64,
    paused_until: Micros,
    cut_until: Micros,
    /// The last true instant at which it led, if ever; and those of its earlier lives.
    led: Option<Micros>,
    earlier: Vec<Micros>,
}

impl Scaler {
    fn local(&self, now: Micros) -> Instant {
        let micros = u128::from(now) * u128::from(self.rate) / 1_000_000;
        self.zero + Duration::from_micros(u64::try_from(micros).unwrap())
    }

    /// The first true instant at which its clock shows `at`.
    fn truth(&self, at: Instant) -> Micros {
        let micros = at.saturating_duration_since(self.zero).as_micros() * 1_000_000;
        u64::try_from(micros.div_ceil(u128::from(self.rate))).unwrap()
    }

    fn leads(&self, now: Micros) -> bool {
        let election = self.election.as_ref();
        election.is_some_and(|election| election.leads(self.local(now)))
    }

    fn note(&mut self, now: Micros) {
        if let Some(until) = self.election.as_ref().and_then(Election::leads_until) {
            self.led = self.led.max(Some(self.truth(until).min(now)));
        }
    }
}

struct World {
    now: Micros,
    queue: BTreeMap<(Micros, u64), (usize, u32, Event)>,
    sequence: u64,
    scalers: Vec<Scaler>,
    lease: Option<Record>,
    version: u64,
    dice: Vec<u32>,
    thrown: usize,
    terms: u64,
}

impl World {
    fn new(dice: Vec<u32>, count: usize, same_name: bool) -> Self {
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            scalers: Vec::new(),
            lease: None,
            version: 0,
            dice,
            thrown: 0,
            terms: 0,
        };
        for index in 0..count {
            let name = if same_name { 0 } else { index };
            let zero = Instant::now() + DAY * world.throw(1000);
            let rate = 1_000_000 - CLOCK_ERROR + world.throw(2 * CLOCK_ERROR + 1);
            world.scalers.push(Scaler {
                election: None,
                identity: format!("scaler-{name}").into(),
                life: 0,
                zero,
                rate: u64::from(rate),
                paused_until: 0,
                cut_until: 0,
                led: None,
                earlier: Vec::new(),
            });
            let after = world.up_to(3_000_000);
            world.after(after, index, Event::Start);
        }
        world
    }

    fn throw(&mut self, sides: u32) -> u32 {
        let die = self.dice.get(self.thrown % self.dice.len()).copied();
        self.thrown += 1;
        let turn = u32::try_from(self.thrown / self.dice.len()).unwrap();
        die.unwrap_or(0)
            .wrapping_add(turn.wrapping_mul(2_654_435_761))
            % sides
    }

    fn up_to(&mut self, most: Micros) -> Micros {
        u64::from(self.throw(1001)) * most / 1000
    }

    /// One time out of so many, while things go wrong.
    fn happens(&mut self, of: u32) -> bool {
        self.throw(of) == 0 && self.now < STORM
    }

    fn after(&mut self, delay: Micros, index: usize, event: Event) {
        self.sequence += 1;
        let life = self.scalers[index].life;
        let at = (self.now + delay, self.sequence);
        self.queue.insert(at, (index, life, event));
    }

    fn run(&mut self) {
        while let Some(((at, _), (index, life, event))) = self.queue.pop_first() {
            if at > STORM + CALM {
                break;
            }
            (0..self.scalers.len()).for_each(|index| self.scalers[index].note(at));
            self.now = at;
            self.happen(index, life, event);
            self.check();
        }
        let leaders = (0..self.scalers.len()).filter(|index| self.scalers[*index].leads(self.now));
        assert_eq!(
            leaders.count(),
            1,
            "all was well for long, and nobody leads"
        );
    }

    fn happen(&mut self, index: usize, life: u32, event: Event) {
        let now = self.now;
        let scaler = &mut self.scalers[index];
        let is_its_own = !matches!(event, Event::Arrives(..));
        if is_its_own && now < scaler.paused_until {
            let pause = scaler.paused_until - now;
            self.sequence += 1;
            let at = (now + pause, self.sequence);
            self.queue.insert(at, (index, life, event));
            return;
        }
        if scaler.life != life && is_its_own {
            return;
        }
        let local = scaler.local(now);
        match event {
            Event::Start if scaler.election.is_some() => return,
            Event::Start => {
                let identity = Arc::clone(&scaler.identity);
                scaler.election = Some(Election::new(identity, Timing::default(), local));
            }
            Event::Crash => {
                scaler.election = None;
                scaler.life += 1;
                scaler.earlier.extend(scaler.led.take());
                let pause = self.up_to(20_000_000);
                return self.after(pause, index, Event::Start);
            }
            Event::Pause(length) => {
                scaler.paused_until = now + length;
                return;
            }
            Event::Resign => {
                if let Some(election) = &mut scaler.election {
                    election.resign(local + WRITE_TIMEOUT);
                }
                self.after(8_000_000, index, Event::Crash);
            }
            Event::Arrives(step, limit) => return self.arrives(index, life, step, limit),
            Event::Answered(step, outcome, shown) => {
                let Some(election) = &mut scaler.election else {
                    return;
                };
                match shown {
                    Some(record) => election.observed(record, local),
                    None => election.done(&step, &outcome, local),
                }
            }
            Event::Poll => {}
        }
        self.poll(index);
    }

    fn poll(&mut self, index: usize) {
        let now = self.now;
        let scaler = &mut self.scalers[index];
        let local = scaler.local(now);
        let Some(election) = &mut scaler.election else {
            return;
        };
        let poll = election.poll(local);
        if let Some(next) = poll.next {
            let at = self.scalers[index].truth(next).max(now);
            self.after(at - now, index, Event::Poll);
        }
        if let Some(step) = poll.step {
            self.send(index, step);
        }
        match self.throw(150) {
            0 if now < STORM => self.after(0, index, Event::Crash),
            1 if now < STORM => self.after(0, index, Event::Resign),
            2..=4 if now < STORM => {
                let length = self.up_to(40_000_000);
                self.after(0, index, Event::Pause(length));
            }
            5..=8 => self.scalers[index].cut_until = now + self.up_to(25_000_000),
            _ => {}
        }
    }

    fn send(&mut self, index: usize, step: Step) {
        let is_cut = self.now < self.scalers[index].cut_until && self.now < STORM;
        let limit = self.now + STEP_TIMEOUT;
        if is_cut || self.happens(20) {
            return self.answer_at(limit, limit, index, (step, Outcome::Unknown, None));
        }
        let delay = if self.happens(10) {
            self.up_to(12_000_000)
        } else {
            self.up_to(300_000)
        };
        if self.now + delay >= limit {
            self.answer_at(limit, limit, index, (step.clone(), Outcome::Unknown, None));
        }
        self.after(delay, index, Event::Arrives(step, limit));
    }

    /// Its sender hears of a step; nothing, where it has given it up.
    fn answer_at(
        &mut self,
        at: Micros,
        limit: Micros,
        index: usize,
        (step, outcome, shown): (Step, Outcome, Option<Option<Record>>),
    ) {
        let event = if at < limit {
            Event::Answered(step, outcome, shown)
        } else {
            Event::Answered(step, Outcome::Unknown, None)
        };
        self.after(at.min(limit) - self.now, index, event);
    }

    /// A step reaches the server, be its sender dead or no longer waiting for the answer.
    fn arrives(&mut self, index: usize, life: u32, step: Step, limit: Micros) {
        let holder = Some(Arc::clone(&self.scalers[index].identity));
        let present = self.lease.clone();
        let fits = |version: &Arc<str>| {
            let present = self.lease.as_ref();
            present.is_some_and(|present| present.version == *version)
        };
        let renewed = match &step {
            Step::Read => None,
            Step::Create { transitions } => present.is_none().then_some((holder, *transitions)),
            Step::Take {
                version,
                transitions,
            } => fits(version).then_some((holder, *transitions)),
            Step::Renew { version } => fits(version).then(|| {
                (
                    holder,
                    present.as_ref().map_or(0, |lease| lease.transitions),
                )
            }),
            Step::GiveUp { version } => {
                fits(version).then(|| (None, present.as_ref().map_or(0, |lease| lease.transitions)))
            }
        };
        let outcome = match renewed {
            None => Outcome::Conflict,
            Some((holder, transitions)) => {
                self.version += 1;
                let version: Arc<str> = self.version.to_string().into();
                assert!(
                    transitions >= self.terms,
                    "the fencing number never goes back"
                );
                self.terms = transitions;
                let lease = Timing::default().lease;
                self.lease = Some(Record {
                    version: Arc::clone(&version),
                    holder,
                    transitions,
                    lease,
                });
                Outcome::Written(version)
            }
        };
        let shown = matches!(step, Step::Read).then_some(present);
        if self.scalers[index].life != life || self.now >= limit {
            return;
        }
        let delay = if self.happens(10) {
            STEP_TIMEOUT
        } else {
            self.up_to(300_000)
        };
        self.answer_at(self.now + delay, limit, index, (step, outcome, shown));
    }

    fn check(&self) {
        let leaders: Vec<usize> = (0..self.scalers.len())
            .filter(|index| self.scalers[*index].leads(self.now))
            .collect();
        assert!(leaders.len() <= 1, "{leaders:?} all lead at {}", self.now);
        let Some(leader) = leaders.first() else {
            return;
        };
        for (index, scaler) in self.scalers.iter().enumerate() {
            let present = scaler.led.filter(|_| index != *leader);
            for led in scaler.earlier.iter().copied().chain(present) {
                let ended = scaler.truth(scaler.local(led) + WRITE_TIMEOUT);
                let now = self.now;
                assert!(
                    ended <= now,
                    "{leader} leads at {now}, and a write that {index} began at {led} ends at {ended}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn there_are_never_two_leaders_and_always_one_in_the_end(
        dice in proptest::collection::vec(any::<u32>(), 1..600),
        count in 2..4_usize,
        same_name in proptest::bool::weighted(0.2),
    ) {
        World::new(dice, count, same_name).run();
    }
}
