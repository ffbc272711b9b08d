//! Holds and busy leases that wait for their turn: bounded, one of a kind per Sandbox, and only for as long
//! as somebody waits for the answer.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use reveille_crds::SandboxKey;
use tokio::sync::oneshot;

use crate::api::MarkError;
use crate::apply::{Failure, Mark};

/// Marks that wait, and callers that wait for one. At 50 writes a second 64 are 1.3 s worth; who comes on
/// top is told to come back.
const WAITING: usize = 64;
/// Marks under way at a time: a slow API server leaves the other slots to wakes.
const UNDER_WAY: usize = 16;

type Reply = oneshot::Sender<Result<(), MarkError>>;

/// What is marked: the hold or the lease of one Sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) sandbox: SandboxKey,
    kind: Discriminant<Mark>,
}

/// A mark, and who waits for it.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) uid: Arc<str>,
    pub(super) mark: Mark,
    replies: Vec<Reply>,
}

/// Those that wait, and how many are under way.
#[derive(Debug, Default)]
pub(super) struct Marks {
    waiting: HashMap<Place, Due>,
    under_way: usize,
}

impl Marks {
    /// Takes a mark in: in place of the one of its kind that waits for the same Sandbox, whose callers are
    /// answered as this one's is. Answers the place that has to be queued, if it is not yet.
    pub(super) fn queue(
        &mut self,
        sandbox: SandboxKey,
        uid: Arc<str>,
        mark: Mark,
        reply: Reply,
    ) -> Option<Place> {
        let callers: usize = self.waiting.values().map(|due| due.replies.len()).sum();
        if callers.max(self.waiting.len()) >= WAITING {
            drop(reply.send(Err(MarkError::Overloaded)));
            return None;
        }
        let kind = discriminant(&mark);
        let place = Place { sandbox, kind };
        if let Some(due) = self.waiting.get_mut(&place) {
            (due.uid, due.mark) = (uid, mark);
            due.replies.retain(|reply| !reply.is_closed());
            due.replies.push(reply);
            return None;
        }
        let replies = vec![reply];
        self.waiting
            .insert(place.clone(), Due { uid, mark, replies });
        Some(place)
    }

    /// Its turn has come; none: nobody waits for it any more.
    pub(super) fn begin(&mut self, place: &Place) -> Option<Due> {
        let mut due = self.waiting.remove(place)?;
        due.replies.retain(|reply| !reply.is_closed());
        if due.replies.is_empty() {
            return None;
        }
        self.under_way += 1;
        Some(due)
    }

    /// One that was under way is over.
    pub(super) fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Whether no more may begin.
    pub(super) const fn are_many(&self) -> bool {
        self.under_way >= UNDER_WAY
    }
}

impl Due {
    /// Tells everybody what became of it.
    pub(super) fn answer(self, done: Result<(), Failure>) {
        for reply in self.replies {
            let done = done.clone().map_err(MarkError::NotWritten);
            drop(reply.send(done));
        }
    }
}

#[cfg(test)]
mod tests {
    use reveille_crds::change::Hold;

    use super::*;

    fn key(name: &str) -> SandboxKey {
        SandboxKey::new("agents", name).unwrap()
    }

    fn queue(
        marks: &mut Marks,
        name: &str,
        mark: Mark,
    ) -> (Option<Place>, oneshot::Receiver<Result<(), MarkError>>) {
        let (reply, answer) = oneshot::channel();
        (marks.queue(key(name), "uid".into(), mark, reply), answer)
    }

    #[test]
    fn the_last_mark_of_a_sandbox_counts_and_answers_all() {
        let mut marks = Marks::default();
        let (place, mut first) = queue(&mut marks, "alice", Mark::Hold(Some(Hold::Awake)));
        let (again, mut last) = queue(&mut marks, "alice", Mark::Hold(None));
        let (lease, _leased) = queue(&mut marks, "alice", Mark::Lease(None));
        assert!(again.is_none() && lease.is_some());
        let due = marks.begin(&place.unwrap()).unwrap();
        assert!(matches!(due.mark, Mark::Hold(None)), "{due:?}");
        due.answer(Ok(()));
        for answer in [&mut first, &mut last] {
            assert!(matches!(answer.try_recv(), Ok(Ok(()))));
        }
    }

    #[test]
    fn a_mark_whose_caller_left_is_not_written() {
        let mut marks = Marks::default();
        let (place, answer) = queue(&mut marks, "alice", Mark::Lease(None));
        drop(answer);
        assert!(marks.begin(&place.unwrap()).is_none());
        assert!(!marks.are_many());
    }

    #[test]
    fn more_marks_than_can_be_written_in_time_are_turned_away() {
        let mut marks = Marks::default();
        let mut waiting = Vec::new();
        for number in 0..WAITING {
            let (place, answer) = queue(&mut marks, &format!("s{number}"), Mark::Lease(None));
            waiting.push((place.unwrap(), answer));
        }
        let (none, mut refused) = queue(&mut marks, "alice", Mark::Lease(None));
        assert!(none.is_none());
        assert!(matches!(refused.try_recv(), Ok(Err(MarkError::Overloaded))));
        for (place, _) in &waiting[..UNDER_WAY] {
            assert!(marks.begin(place).is_some());
        }
        assert!(marks.are_many());
        assert!(queue(&mut marks, "alice", Mark::Lease(None)).0.is_some());
        marks.done();
        assert!(!marks.are_many());
    }
}
