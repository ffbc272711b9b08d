//! The lot of one sandbox: tickets in the order in which they came.
//!
//! A ticket ends exactly once because ending it takes its payload out of the lot. Every operation on
//! one ticket is O(log n); an empty lot owns no memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Names a ticket within its lot; grows with each arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketId(u64);

/// Every way a wait can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// The sandbox is up: go.
    Released,
    /// The ticket's own deadline passed.
    Expired,
    /// The sandbox will not be woken.
    Refused,
    /// The wake failed.
    Failed,
    /// The client left.
    Abandoned,
}

impl Ending {
    /// Label of metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A ticket that left the lot.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<W> {
    /// Its name.
    pub ticket: TicketId,
    /// When it parked.
    pub since: Instant,
    /// How it ended.
    pub ending: Ending,
    /// What the shell attached to it.
    pub payload: W,
}

/// The lot has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Tickets of one sandbox, first come first.
#[derive(Debug)]
pub struct Lot<W> {
    next: u64,
    tickets: BTreeMap<TicketId, Ticket<W>>,
    deadlines: BTreeSet<(Instant, TicketId)>,
}

#[derive(Debug)]
struct Ticket<W> {
    since: Instant,
    deadline: Instant,
    payload: W,
}

impl<W> Default for Lot<W> {
    fn default() -> Self {
        Self {
            next: 0,
            tickets: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }
}

impl<W> Lot<W> {
    /// Tickets waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// When the oldest ticket parked.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.tickets
            .first_key_value()
            .map(|(_, ticket)| ticket.since)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a place at the end of the queue.
    pub fn park(&mut self, deadline: Instant, payload: W, now: Instant) -> TicketId {
        let id = TicketId(self.next);
        self.next += 1;
        self.tickets.insert(
            id,
            Ticket {
                since: now,
                deadline,
                payload,
            },
        );
        self.deadlines.insert((deadline, id));
        id
    }

    /// The client left. `None` if the ticket has ended before.
    pub fn abandon(&mut self, id: TicketId) -> Option<Ended<W>> {
        self.take(id, Ending::Abandoned)
    }

    /// Ends the tickets whose deadline has passed, the earliest deadline first.
    pub fn expire(&mut self, now: Instant) -> Vec<Ended<W>> {
        let mut ended = Vec::new();
        while let Some((deadline, id)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            ended.extend(self.take(id, Ending::Expired));
        }
        ended
    }

    /// Ends up to `n` tickets as released, the oldest first.
    pub fn release(&mut self, n: usize) -> Vec<Ended<W>> {
        let count = n.min(self.len());
        let mut ended = Vec::with_capacity(count);
        while ended.len() < count {
            let Some((id, _)) = self.tickets.first_key_value() else {
                break;
            };
            ended.extend(self.take(*id, Ending::Released));
        }
        ended
    }

    /// Ends every ticket the same way, the oldest first.
    pub fn end_all(&mut self, ending: Ending) -> Vec<Ended<W>> {
        self.deadlines.clear();
        std::mem::take(&mut self.tickets)
            .into_iter()
            .map(|(ticket, Ticket { since, payload, .. })| Ended {
                ticket,
                since,
                ending,
                payload,
            })
            .collect()
    }

    fn take(&mut self, id: TicketId, ending: Ending) -> Option<Ended<W>> {
        let Ticket {
            since,
            deadline,
            payload,
        } = self.tickets.remove(&id)?;
        self.deadlines.remove(&(deadline, id));
        Some(Ended {
            ticket: id,
            since,
            ending,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::any_instant;

    #[derive(Clone, Debug)]
    enum Op {
        Park(u64),
        Abandon(usize),
        Tick(u64),
        Release(usize),
        EndAll,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0_u64..50).prop_map(Op::Park),
            2 => (0_usize..40).prop_map(Op::Abandon),
            2 => (0_u64..20).prop_map(Op::Tick),
            2 => (0_usize..5).prop_map(Op::Release),
            1 => Just(Op::EndAll),
        ]
    }

    proptest! {
        #[test]
        fn every_ticket_ends_exactly_once_in_order_and_within_its_deadline(
            ops in prop::collection::vec(op(), 0..200)
        ) {
            let start = any_instant();
            let (mut now, mut lot) = (start, Lot::default());
            let mut parked: Vec<(TicketId, Instant)> = Vec::new();
            let mut ended = BTreeSet::new();
            let mut last_released = None;
            for op in ops {
                let out = match op {
                    Op::Park(wait) => {
                        let deadline = now + Duration::from_secs(wait);
                        let id = lot.park(deadline, parked.len(), now);
                        parked.push((id, deadline));
                        Vec::new()
                    }
                    Op::Abandon(n) => {
                        parked.get(n).and_then(|(id, _)| lot.abandon(*id)).into_iter().collect()
                    }
                    Op::Tick(seconds) => {
                        now += Duration::from_secs(seconds);
                        lot.expire(now)
                    }
                    Op::Release(n) => lot.release(n),
                    Op::EndAll => lot.end_all(Ending::Refused),
                };
                for one in out {
                    prop_assert!(ended.insert(one.ticket), "ended twice");
                    prop_assert_eq!(parked[one.payload].0, one.ticket);
                    if one.ending == Ending::Released {
                        prop_assert!(last_released < Some(one.ticket), "out of order");
                        last_released = Some(one.ticket);
                    }
                    let deadline = parked[one.payload].1;
                    prop_assert!(one.ending != Ending::Expired || deadline <= now, "too early");
                }
                lot.expire(now).into_iter().for_each(|one| { ended.insert(one.ticket); });
                prop_assert!(lot.next().is_none_or(|next| next > now));
                prop_assert_eq!(ended.len() + lot.len(), parked.len());
            }
            lot.end_all(Ending::Failed).into_iter().for_each(|one| { ended.insert(one.ticket); });
            prop_assert_eq!(ended.len(), parked.len());
        }
    }

    #[test]
    fn an_empty_lot_has_no_deadline_and_no_oldest() {
        let lot = Lot::<()>::default();
        assert!(lot.is_empty() && lot.next().is_none() && lot.oldest().is_none());
    }
}
