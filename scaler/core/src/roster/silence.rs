//! Who is not heard, so that nothing may sleep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Roster;
use super::activator::Heard;

/// Why nothing may sleep now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Another scaler leads.
    NotLeading,
    /// The carrier to the activators is down.
    LinkDown,
    /// A watch does not run: policies, holds and members may be other than we know.
    Blind,
    /// There is no activator that could tell.
    NoMembers,
    /// This member has never been heard since we started.
    Unheard(Arc<str>),
    /// This member has not reported lately.
    Silent(Arc<str>),
    /// This member has not sent a full report yet.
    Partial(Arc<str>),
}

impl<K: Clone + Ord> Roster<K> {
    /// Why nothing may sleep now; `None`: every member was heard lately, and in full.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Option<Silence> {
        if !self.lead.holds(now) {
            return Some(Silence::NotLeading);
        }
        if !self.linked {
            return Some(Silence::LinkDown);
        }
        if !self.current {
            return Some(Silence::Blind);
        }
        let mut members = self
            .activators
            .iter()
            .filter(|(_, activator)| activator.member)
            .peekable();
        if members.peek().is_none() {
            return Some(Silence::NoMembers);
        }
        members.find_map(|(name, activator)| {
            let Some(heard) = &activator.heard else {
                return Some(Silence::Unheard(Arc::clone(name)));
            };
            match () {
                () if heard.is_silent(self.silence, now) => Some(Silence::Silent(Arc::clone(name))),
                () if !heard.full => Some(Silence::Partial(Arc::clone(name))),
                () => None,
            }
        })
    }

    /// Members that block every sleep now.
    #[must_use]
    pub fn silent_members(&self, now: Instant) -> usize {
        let clear = |heard: &Heard<K>| heard.full && !heard.is_silent(self.silence, now);
        let members = self
            .activators
            .values()
            .filter(|activator| activator.member);
        members
            .filter(|activator| !activator.heard.as_ref().is_some_and(clear))
            .count()
    }

    /// Members that were heard once, and not for too long now.
    pub fn lapsed(&self, now: Instant) -> impl Iterator<Item = &Arc<str>> {
        let members = self.activators.iter().filter(|(_, each)| each.member);
        members.filter_map(move |(name, each)| {
            let heard = each.heard.as_ref()?;
            heard.is_silent(self.silence, now).then_some(name)
        })
    }

    /// When the next member lapses if nothing more is heard of it.
    #[must_use]
    pub fn lapses_at(&self, now: Instant) -> Option<Instant> {
        let members = self.activators.values().filter(|each| each.member);
        let heard = members.filter_map(|each| each.heard.as_ref());
        let heard = heard.filter(|heard| !heard.is_silent(self.silence, now));
        heard
            .map(|heard| heard.at + self.silence + Duration::from_nanos(1))
            .min()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    #[test]
    fn a_member_lapses_when_it_was_heard_and_is_not_any_more() {
        let start = Instant::now();
        let a: Arc<str> = "a".into();
        let mut roster = Roster::<u8>::new(Duration::from_secs(3), start);
        roster.set_members([&a]);
        assert_eq!(roster.lapses_at(start), None, "it was never heard");
        roster.report(&a, "i", (1, true), &[], start);
        let at = roster.lapses_at(start).unwrap();
        assert_eq!(roster.lapsed(at - Duration::from_nanos(1)).count(), 0);
        assert_eq!(roster.lapsed(at).collect::<Vec<_>>(), [&a]);
        assert_eq!(roster.lapses_at(at), None);
        assert_eq!(roster.silent_members(at), 1);
        roster.set_members([]);
        assert_eq!(roster.lapsed(at).count(), 0, "it is gone");
    }
}
