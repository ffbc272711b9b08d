//! The drain gate: between an activator's "drained" and the sleep no request may slip through.
//!
//! It fails awake: without an Undrain, and without a sleep that is seen, it opens by itself.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The question of a scaler that wants a sandbox to sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Matches replies to the question, and the Undrain.
    pub nonce: u64,
    /// The sandbox's epoch as the scaler knows it.
    pub epoch: u64,
    /// UID of the Sandbox that stands for it, as the scaler knows it.
    pub uid: Option<Arc<str>>,
    /// How long the gate stays closed by itself.
    pub hold: Duration,
    /// The gate closes whatever is in flight, and no lease counts.
    pub order: bool,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainAnswer {
    /// Nothing in flight, none parked, no lease; new requests park.
    Drained,
    /// The sleep is off.
    Busy,
}

/// Most drains that hold a gate closed at a time. A leader asks one at a time; more than two means that
/// scalers take turns as leader faster than holds run out.
const MOST_CLOSINGS: usize = 4;

/// Open unless a drain closed it. Each drain closes it for itself: messages overtake each other, and the
/// Undrain of one question says nothing about another whose answer a scaler still builds on.
#[derive(Debug, Default)]
pub struct Gate {
    /// At most [`MOST_CLOSINGS`].
    closings: Vec<Closing>,
    /// The last drain called off: the question may arrive after its own Undrain.
    called_off: Option<NonZeroU64>,
    /// The last drain that was settled: the question may arrive once more after that.
    settled: Option<NonZeroU64>,
}

#[derive(Clone, Debug)]
struct Closing {
    nonce: u64,
    epoch: u64,
    uid: Option<Arc<str>>,
    /// The target has been seen so since it closed, or when it did.
    is_seen: bool,
    until: Instant,
    /// It stays closed until then, whatever its hold.
    least: Option<Instant>,
}

impl Closing {
    fn opens(&self) -> Instant {
        self.least.map_or(self.until, |least| self.until.max(least))
    }

    /// Whether its question is settled, now that the target is seen so. Epochs begin anew with each Sandbox of a
    /// claim, and with one that somebody replaces: then what was drained has to have been seen before.
    fn is_settled(&mut self, epoch: u64, uid: Option<&Arc<str>>) -> bool {
        let is_drained = epoch == self.epoch && self.uid.as_ref() == uid;
        self.is_seen |= is_drained;
        epoch > self.epoch || (self.uid.is_some() && self.is_seen && !is_drained)
    }
}

impl Gate {
    /// Answers a drain and closes the gate if nothing speaks against it. A doubled question gets the same answer
    /// and does not lengthen the hold, nor does it close the gate anew once it is settled; an order is told again and
    /// again, and each time for how long from then on.
    /// `epoch` and `uid` are those of the present view.
    pub fn drain(
        &mut self,
        drain: Drain,
        (epoch, uid): (u64, Option<&Arc<str>>),
        is_busy: bool,
        now: Instant,
    ) -> DrainAnswer {
        self.expire(now);
        let is_over = [self.called_off, self.settled]
            .iter()
            .flatten()
            .any(|over| over.get() == drain.nonce);
        if is_busy || drain.epoch < epoch || is_over {
            return DrainAnswer::Busy;
        }
        let mut known = self.closings.iter_mut();
        if let Some(closing) = known.find(|closing| closing.nonce == drain.nonce) {
            let until = now + drain.hold;
            closing.until = if drain.order {
                until
            } else {
                closing.until.min(until)
            };
            return DrainAnswer::Drained;
        }
        if self.closings.len() == MOST_CLOSINGS {
            return DrainAnswer::Busy;
        }
        self.closings.push(Closing {
            nonce: drain.nonce,
            epoch: drain.epoch,
            is_seen: drain.epoch == epoch && drain.uid.as_ref() == uid,
            uid: drain.uid,
            until: now + drain.hold,
            least: None,
        });
        DrainAnswer::Drained
    }

    /// The sleep of that nonce is off.
    pub fn undrain(&mut self, nonce: u64) {
        self.called_off = NonZeroU64::new(nonce);
        self.keep(|closing| closing.nonce != nonce);
    }

    /// The target is seen at `epoch`, with the Sandbox `uid`: a later epoch, or anything else after what was
    /// drained, means that the question has been settled.
    pub fn observe(&mut self, epoch: u64, uid: Option<&Arc<str>>) {
        let mut settled = self.settled;
        self.keep(|closing| {
            let is_settled = closing.is_settled(epoch, uid);
            if is_settled {
                settled = NonZeroU64::new(closing.nonce);
            }
            !is_settled
        });
        self.settled = settled;
    }

    /// Lets go of closings whose hold is over.
    pub fn expire(&mut self, now: Instant) {
        self.keep(|closing| now < closing.opens());
    }

    /// Keeps a closed gate closed until then.
    pub fn prolong(&mut self, until: Instant) {
        for closing in &mut self.closings {
            closing.least = closing.least.max(Some(until));
        }
    }

    /// Whether no drain holds it, be its hold over or not.
    #[must_use]
    pub const fn is_unused(&self) -> bool {
        self.closings.is_empty()
    }

    /// Whether requests may pass.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.closings.iter().all(|closing| closing.opens() <= now)
    }

    /// When a closed gate opens by itself.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.closings.iter().map(Closing::opens).max()
    }

    fn keep(&mut self, keep: impl FnMut(&mut Closing) -> bool) {
        self.closings.retain_mut(keep);
        if self.closings.is_empty() {
            // Gates of idle targets own no memory.
            self.closings = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_instant;

    fn uid() -> Arc<str> {
        "sandbox".into()
    }

    /// The answer of a gate whose target is seen at that epoch.
    fn ask(gate: &mut Gate, drain: Drain, epoch: u64, is_busy: bool, now: Instant) -> DrainAnswer {
        gate.drain(drain, (epoch, Some(&uid())), is_busy, now)
    }

    fn drain(nonce: u64, epoch: u64) -> Drain {
        Drain {
            nonce,
            epoch,
            uid: Some(uid()),
            hold: Duration::from_secs(10),
            order: false,
        }
    }

    #[test]
    fn a_gate_opens_by_itself_when_its_hold_is_over_and_a_doubled_drain_does_not_lengthen_it() {
        let now = any_instant();
        let mut gate = Gate::default();
        assert_eq!(
            ask(&mut gate, drain(1, 4), 4, false, now),
            DrainAnswer::Drained
        );
        let later = now + Duration::from_secs(9);
        assert_eq!(
            ask(&mut gate, drain(1, 4), 4, false, later),
            DrainAnswer::Drained
        );
        assert!(!gate.is_open(later));
        assert!(gate.is_open(now + Duration::from_secs(10)));
    }

    #[test]
    fn each_telling_of_an_order_says_for_how_long_but_takes_nothing_from_what_sight_adds_to_it() {
        let now = any_instant();
        let mut gate = Gate::default();
        let (long, short) = (Duration::from_secs(40), Duration::from_secs(6));
        let question = |hold| Drain {
            hold,
            order: true,
            ..drain(1, 4)
        };
        ask(&mut gate, question(long), 4, false, now);
        assert_eq!(
            ask(&mut gate, question(short), 4, false, now),
            DrainAnswer::Drained
        );
        assert_eq!(gate.next(), Some(now + short));
        ask(&mut gate, question(long), 4, false, now);
        assert_eq!(gate.next(), Some(now + long));
        gate.prolong(now + long);
        ask(&mut gate, question(short), 4, false, now);
        assert_eq!(gate.next(), Some(now + long));
        assert!(!gate.is_open(now + short));
        assert!(gate.is_open(now + long));
    }

    #[test]
    fn a_drain_that_arrives_after_its_own_undrain_is_answered_busy() {
        let now = any_instant();
        let mut gate = Gate::default();
        gate.undrain(7);
        assert_eq!(
            ask(&mut gate, drain(7, 1), 1, false, now),
            DrainAnswer::Busy
        );
        assert!(gate.is_open(now));
    }

    #[test]
    fn only_the_undrain_of_the_same_nonce_opens_the_gate() {
        let now = any_instant();
        let mut gate = Gate::default();
        ask(&mut gate, drain(2, 1), 1, false, now);
        gate.undrain(1);
        assert!(!gate.is_open(now));
        gate.undrain(2);
        assert!(gate.is_open(now));
    }

    #[test]
    fn every_drain_closes_for_itself_whatever_the_order_of_messages() {
        let now = any_instant();
        let mut gate = Gate::default();
        ask(&mut gate, drain(2, 1), 1, false, now);
        ask(
            &mut gate,
            drain(1, 1),
            1,
            false,
            now + Duration::from_secs(1),
        );
        gate.undrain(1);
        assert!(!gate.is_open(now), "the answer to the second still stands");
        ask(
            &mut gate,
            drain(3, 1),
            1,
            false,
            now + Duration::from_secs(1),
        );
        assert!(!gate.is_open(now + Duration::from_secs(10)));
        assert_eq!(gate.next(), Some(now + Duration::from_secs(11)));
        assert!(gate.is_open(now + Duration::from_secs(11)));
    }

    #[test]
    fn questions_beyond_those_a_gate_can_hold_are_answered_busy() {
        let now = any_instant();
        let mut gate = Gate::default();
        for nonce in 1..=4 {
            assert_eq!(
                ask(&mut gate, drain(nonce, 1), 1, false, now),
                DrainAnswer::Drained
            );
        }
        assert_eq!(
            ask(&mut gate, drain(5, 1), 1, false, now),
            DrainAnswer::Busy
        );
        assert_eq!(
            ask(&mut gate, drain(4, 1), 1, false, now),
            DrainAnswer::Drained
        );
    }

    #[test]
    fn a_drain_of_an_epoch_that_is_over_is_answered_busy() {
        let now = any_instant();
        let mut gate = Gate::default();
        assert_eq!(
            ask(&mut gate, drain(1, 3), 4, false, now),
            DrainAnswer::Busy
        );
        assert_eq!(ask(&mut gate, drain(2, 5), 4, true, now), DrainAnswer::Busy);
        assert_eq!(
            ask(&mut gate, drain(3, 5), 4, false, now),
            DrainAnswer::Drained
        );
        gate.observe(5, Some(&uid()));
        assert!(!gate.is_open(now), "the watch has only caught up");
        gate.observe(6, Some(&uid()));
        assert!(gate.is_open(now));
    }

    #[test]
    fn a_gate_opens_when_another_sandbox_stands_for_the_target_after_the_one_that_was_drained() {
        let now = any_instant();
        let (before, after): (Arc<str>, Arc<str>) = ("before".into(), "after".into());
        let mut gate = Gate::default();
        ask(&mut gate, drain(1, 2), 2, false, now);
        gate.observe(1, None);
        assert!(gate.is_open(now), "it was released");
        ask(&mut gate, drain(3, 2), 2, false, now);
        gate.observe(0, Some(&uid()));
        assert!(gate.is_open(now), "it was replaced");

        // The watch is behind: what it shows goes before the Sandbox that is drained.
        gate.drain(drain(2, 2), (0, Some(&before)), false, now);
        gate.observe(1, None);
        gate.observe(2, Some(&before));
        assert!(!gate.is_open(now));
        gate.observe(0, Some(&uid()));
        gate.observe(2, Some(&uid()));
        assert!(!gate.is_open(now));
        gate.observe(0, Some(&after));
        assert!(gate.is_open(now));
    }

    #[test]
    fn a_doubled_question_does_not_close_a_gate_whose_target_was_put_to_sleep_by_it_and_is_awake_again()
     {
        let now = any_instant();
        let (before, after): (Arc<str>, Arc<str>) = ("before".into(), "after".into());
        // A claim was released and bound again: the Sandbox that stands for it now counts from zero, too.
        let question = |nonce| Drain {
            uid: Some(Arc::clone(&before)),
            ..drain(nonce, 0)
        };
        let mut gate = Gate::default();
        gate.drain(question(1), (0, Some(&before)), false, now);
        gate.observe(1, None);
        gate.observe(0, Some(&after));
        for order in [false, true] {
            let doubled = Drain {
                order,
                ..question(1)
            };
            let answer = gate.drain(doubled, (0, Some(&after)), false, now);
            assert_eq!(answer, DrainAnswer::Busy);
            assert!(gate.is_open(now));
        }
        gate.undrain(3);
        gate.drain(question(1), (0, Some(&after)), false, now);
        assert!(gate.is_open(now), "what was called off since is another");
        gate.drain(question(2), (0, Some(&after)), false, now);
        assert!(!gate.is_open(now), "the watch may be behind a new question");
    }
}
