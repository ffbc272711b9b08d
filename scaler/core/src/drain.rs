//! The handshake before a sleep: every activator stops sending, or the sleep is off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::act::SleepReason;

/// An order is told so often to who still has something in flight.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// One handshake.
#[derive(Clone, Debug)]
pub struct Drain {
    nonce: u64,
    started: Instant,
    reason: SleepReason,
    asked: Vec<Asked>,
    refused: bool,
    /// When the gates open by themselves.
    holds_until: Instant,
    /// Of an order: when it is done whatever is in flight.
    order: Option<Order>,
    /// Since when the sandbox had been as it was when it was asked, and whether that was up.
    stood: (Instant, bool),
}

#[derive(Clone, Copy, Debug)]
struct Order {
    done: Instant,
    asked: Instant,
}

#[derive(Clone, Debug)]
struct Asked {
    member: Arc<str>,
    incarnation: Arc<str>,
    drained: bool,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// Everyone stopped sending, and the sleep was written.
    Slept,
    /// Somebody is still sending.
    Busy,
    /// Not everyone answered in time.
    TimedOut,
    /// A wake came first.
    Woken,
    /// Something else keeps it awake by now.
    Changed,
    /// The write failed.
    NotWritten,
}

impl Ending {
    /// For metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slept => "slept",
            Self::Busy => "busy",
            Self::TimedOut => "timed-out",
            Self::Woken => "woken",
            Self::Changed => "changed",
            Self::NotWritten => "not-written",
        }
    }
}

/// Where a handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Answers are still missing.
    Asking,
    /// Everyone stopped sending.
    Drained,
    /// It is off.
    Off(Ending),
}

impl Drain {
    /// Asks everyone in `present` (name, incarnation).
    pub fn start<'a>(
        nonce: u64,
        reason: SleepReason,
        present: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
        hold: Duration,
        now: Instant,
    ) -> Self {
        let ask = |(member, incarnation): (&Arc<str>, &Arc<str>)| Asked {
            member: Arc::clone(member),
            incarnation: Arc::clone(incarnation),
            drained: false,
        };
        Self {
            nonce,
            started: now,
            reason,
            asked: present.map(ask).collect(),
            refused: false,
            holds_until: now + hold,
            order: None,
            stood: (now, false),
        }
    }

    /// An order: what is in flight has so long to end, and is then ended.
    #[must_use]
    pub fn within(mut self, grace: Duration) -> Self {
        self.order = Some(Order {
            done: self.started + grace,
            asked: self.started,
        });
        self
    }

    /// Whether it is an order.
    #[must_use]
    pub const fn is_order(&self) -> bool {
        self.order.is_some()
    }

    /// When the gates that it closed open by themselves.
    #[must_use]
    pub const fn holds_until(&self) -> Instant {
        self.holds_until
    }

    /// They are told to stay closed until then.
    pub const fn hold_until(&mut self, until: Instant) {
        self.holds_until = until;
    }

    /// They need not stay closed longer than until then.
    pub fn hold_no_longer_than(&mut self, until: Instant) {
        self.holds_until = self.holds_until.min(until);
    }

    /// When an order is to be told once more.
    #[must_use]
    pub fn asks_again(&self) -> Option<Instant> {
        self.order.map(|order| order.asked + ASK_AGAIN)
    }

    /// When it is to be looked at again, with answers missing.
    #[must_use]
    pub fn due(&self, timeout: Duration) -> Instant {
        let order = self
            .order
            .map(|order| order.done.min(order.asked + ASK_AGAIN));
        order.unwrap_or(self.started + timeout)
    }

    /// Whether what is in flight has had its grace; without an order it has none.
    #[must_use]
    pub fn is_grace_over(&self, now: Instant) -> bool {
        self.order.is_none_or(|order| now >= order.done)
    }

    /// Whether an order is to be told once more: who had something in flight may have nothing by now.
    pub fn ask_again(&mut self, now: Instant) -> bool {
        let due = |order: &&mut Order| now >= order.asked + ASK_AGAIN;
        let order = self.order.as_mut().filter(due);
        order.map(|order| order.asked = now).is_some()
    }

    /// For what is told of the sleep: how the sandbox stood when it was asked, and since when.
    #[must_use]
    pub const fn standing_since(mut self, since: Instant, was_up: bool) -> Self {
        self.stood = (since, was_up);
        self
    }

    /// Takes an answer; one to another question, or of another start of that activator, says nothing.
    pub fn reply(&mut self, member: &str, incarnation: &str, nonce: u64, drained: bool) {
        if nonce != self.nonce {
            return;
        }
        if self.order.is_some() {
            return self.obey(member, incarnation, drained);
        }
        if !drained {
            self.refused = true;
            return;
        }
        let mut asked = self.asked.iter_mut();
        if let Some(asked) =
            asked.find(|asked| *asked.member == *member && *asked.incarnation == *incarnation)
        {
            asked.drained = true;
        }
    }

    /// Who was not there when an order was first told is told it too, and who has drained may have something
    /// in flight again only where its gate was lost with its process.
    fn obey(&mut self, member: &str, incarnation: &str, drained: bool) {
        self.asked.retain(|asked| *asked.member != *member);
        self.asked.push(Asked {
            member: member.into(),
            incarnation: incarnation.into(),
            drained,
        });
    }

    /// Where it stands, given who is `present` now: one that came or restarted since has no gate closed.
    pub fn standing<'a>(
        &self,
        present: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
        timeout: Duration,
        now: Instant,
    ) -> Standing {
        if let Some(order) = self.order {
            let has_drained = |(member, incarnation): (&Arc<str>, &Arc<str>)| {
                let mut asked = self.asked.iter().filter(|asked| asked.drained);
                asked.any(|asked| asked.member == *member && asked.incarnation == *incarnation)
            };
            return if now >= order.done || present.into_iter().all(has_drained) {
                Standing::Drained
            } else {
                Standing::Asking
            };
        }
        if self.refused {
            return Standing::Off(Ending::Busy);
        }
        let known = |(member, incarnation): (&Arc<str>, &Arc<str>)| {
            self.asked
                .iter()
                .any(|asked| asked.member == *member && asked.incarnation == *incarnation)
        };
        if !present.into_iter().all(known) {
            return Standing::Off(Ending::Changed);
        }
        if self.asked.iter().all(|asked| asked.drained) {
            return Standing::Drained;
        }
        if now >= self.started + timeout {
            Standing::Off(Ending::TimedOut)
        } else {
            Standing::Asking
        }
    }

    /// Of the question.
    #[must_use]
    pub const fn nonce(&self) -> u64 {
        self.nonce
    }

    /// When it was asked.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// Since when the sandbox had been as it was then.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.stood.0
    }

    /// Whether it was up then.
    #[must_use]
    pub const fn was_up(&self) -> bool {
        self.stood.1
    }

    /// What for.
    #[must_use]
    pub const fn reason(&self) -> SleepReason {
        self.reason
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(500);

    fn names() -> [(Arc<str>, Arc<str>); 2] {
        [("a".into(), "one".into()), ("b".into(), "one".into())]
    }

    fn standing(drain: &Drain, present: &[(Arc<str>, Arc<str>)], now: Instant) -> Standing {
        drain.standing(
            present.iter().map(|(name, start)| (name, start)),
            TIMEOUT,
            now,
        )
    }

    fn start(present: &[(Arc<str>, Arc<str>)], now: Instant) -> Drain {
        Drain::start(
            7,
            SleepReason::Idle,
            present.iter().map(|(name, start)| (name, start)),
            Duration::from_secs(10),
            now,
        )
    }

    #[test]
    fn everyone_must_stop_sending() {
        let (now, present) = (Instant::now(), names());
        let mut drain = start(&present, now);
        drain.reply("a", "one", 7, true);
        drain.reply("a", "one", 7, true);
        assert_eq!(standing(&drain, &present, now), Standing::Asking);
        drain.reply("b", "one", 7, true);
        assert_eq!(standing(&drain, &present, now), Standing::Drained);
    }

    #[test]
    fn one_busy_answer_ends_it_even_after_a_drained_one() {
        let (now, present) = (Instant::now(), names());
        let mut drain = start(&present, now);
        drain.reply("a", "one", 7, true);
        drain.reply("b", "one", 7, true);
        drain.reply("b", "one", 7, false);
        assert_eq!(standing(&drain, &present, now), Standing::Off(Ending::Busy));
    }

    #[test]
    fn answers_to_another_question_or_of_another_start_say_nothing() {
        let (now, present) = (Instant::now(), names());
        let mut drain = start(&present, now);
        drain.reply("a", "one", 6, false);
        drain.reply("a", "two", 7, true);
        drain.reply("b", "one", 7, true);
        assert_eq!(standing(&drain, &present, now), Standing::Asking);
        assert_eq!(
            standing(&drain, &present, now + TIMEOUT),
            Standing::Off(Ending::TimedOut)
        );
    }

    #[test]
    fn who_restarted_or_came_since_has_no_gate_closed() {
        let (now, present) = (Instant::now(), names());
        let mut drain = start(&present, now);
        drain.reply("a", "one", 7, true);
        drain.reply("b", "one", 7, true);
        let restarted = [present[0].clone(), ("b".into(), "two".into())];
        assert_eq!(
            standing(&drain, &restarted, now),
            Standing::Off(Ending::Changed)
        );
        assert_eq!(
            standing(&drain, &present[..1], now),
            Standing::Drained,
            "who left needs no gate"
        );
    }

    #[test]
    fn an_order_is_told_until_nothing_is_in_flight_or_its_grace_is_over() {
        let (now, present) = (Instant::now(), names());
        let mut drain = start(&present, now).within(Duration::from_secs(30));
        drain.reply("a", "one", 7, true);
        drain.reply("b", "one", 7, false);
        assert_eq!(standing(&drain, &present, now), Standing::Asking);
        assert!(!drain.ask_again(now));
        assert_eq!(drain.due(TIMEOUT), now + ASK_AGAIN);
        assert!(drain.ask_again(now + ASK_AGAIN));
        let end = now + Duration::from_secs(30);
        assert_eq!(standing(&drain, &present, end), Standing::Drained);
        drain.reply("b", "one", 7, true);
        assert_eq!(standing(&drain, &present, now), Standing::Drained);
    }
}
