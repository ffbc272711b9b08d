//! Every request of a run, from its client to its end: what really happened to it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reveille_activator_core::lot::{Ending, TicketId};
use reveille_activator_core::retry::Dial;

use crate::exchange::stream::{Stream, Wire};
use crate::objects::{Ip, Name, Uid};

/// Names a request of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestId(usize);

impl RequestId {
    /// For the trace.
    pub(crate) const fn number(self) -> usize {
        self.0
    }
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) target: Name,
    pub(crate) method: &'static str,
    pub(crate) has_body: bool,
    /// Time until the agent's first byte.
    pub(crate) service: Duration,
    /// What it opens, beyond one answer.
    pub(crate) wire: Option<Wire>,
    /// The answer sets a busy lease.
    pub(crate) lease: Option<Duration>,
    /// `X-Sandbox-Timeout`.
    pub(crate) most: Option<Duration>,
    /// After that the client leaves.
    pub(crate) patience: Option<Duration>,
    /// It came when all was well, and must be served.
    pub(crate) is_last: bool,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) wish: Wish,
    pub(crate) activator: usize,
    pub(crate) life: u32,
    pub(crate) stage: Stage,
    /// What was under way in an earlier step of it is stale.
    pub(crate) turn: u32,
    /// Its activity guard counts.
    pub(crate) counts: bool,
    /// The stream that is open.
    pub(crate) stream: Option<Stream>,
    /// Pods that it could not reach.
    pub(crate) unreached: u32,
    /// The slot it counts in; a target made again has another.
    pub(crate) slot: Option<u64>,
    /// It was sent to a pod that its activator knew to be going.
    pub(crate) sent_to_dying: bool,
    /// It was sent by an activator whose watch had told nothing for longer than can go unnoticed.
    pub(crate) sent_blindly: bool,
    /// The pod that it was meant for.
    pub(crate) meant: Option<Uid>,
    /// Times its activator began to send it.
    pub(crate) sent: u32,
    /// Times an agent got it.
    pub(crate) delivered: u32,
    /// A byte of the answer reached its activator.
    pub(crate) began: bool,
}

/// Where a request stands.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Not looked at yet.
    Fresh,
    Parked {
        ticket: TicketId,
        deadline: Instant,
        /// Order of parking over the whole run.
        place: u64,
    },
    Dialling {
        pod: Uid,
        ip: Ip,
        dial: Dial,
        pace: Option<u32>,
    },
    /// Sent, no byte of an answer yet. The pod is the one that really took it.
    Sent {
        pod: Uid,
        container: u32,
        pace: Option<u32>,
    },
    Answering {
        pod: Uid,
    },
    Over,
}

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Answered,
    /// 502.
    Broken,
    /// Its stream was ended: it was silent for long, and its pod is the target's no more.
    LetGo,
    /// 503 or 504 out of the lot.
    Ticket(Ending),
    /// 503 without a ticket.
    TurnedAway,
    /// 404.
    Unknown,
    /// Nothing: it left, or its activator died.
    Gone,
}

impl Request {
    /// Whether it is on its way to an agent, or with it.
    pub(crate) const fn is_in_flight(&self) -> bool {
        matches!(
            self.stage,
            Stage::Dialling { .. } | Stage::Sent { .. } | Stage::Answering { .. }
        )
    }

    /// The pod that has it.
    pub(crate) const fn pod(&self) -> Option<&Uid> {
        match &self.stage {
            Stage::Sent { pod, .. } | Stage::Answering { pod } => Some(pod),
            _ => None,
        }
    }

    /// The pod that it was meant for, while one has it: addresses are given out again.
    pub(crate) fn meant_for(&self) -> Option<&Uid> {
        self.pod().and(self.meant.as_ref())
    }

    /// Whether its sandbox is in use by it, whatever its activator makes of that.
    pub(crate) fn is_in_use(&self, now: Instant) -> bool {
        let silent = self.stream.as_ref().and_then(Stream::silent_from);
        silent.map_or(self.counts, |silent| now < silent)
    }

    /// Whether its client waits.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }
}

/// All requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    all: Vec<Request>,
    live: BTreeSet<RequestId>,
    places: u64,
}

impl Requests {
    /// A client has sent a request to that life of an activator.
    pub(crate) fn add(&mut self, wish: Wish, (activator, life): (usize, u32)) -> RequestId {
        let id = RequestId(self.all.len());
        self.all.push(Request {
            wish,
            activator,
            life,
            stage: Stage::Fresh,
            turn: 0,
            counts: false,
            stream: None,
            unreached: 0,
            slot: None,
            sent_to_dying: false,
            sent_blindly: false,
            meant: None,
            sent: 0,
            delivered: 0,
            began: false,
        });
        self.live.insert(id);
        id
    }

    pub(crate) fn get(&self, id: RequestId) -> &Request {
        &self.all[id.0]
    }

    pub(crate) fn get_mut(&mut self, id: RequestId) -> &mut Request {
        &mut self.all[id.0]
    }

    /// It is over.
    pub(crate) fn end(&mut self, id: RequestId) {
        self.get_mut(id).stage = Stage::Over;
        self.live.remove(&id);
    }

    /// Those whose client still waits.
    pub(crate) fn live(&self) -> impl Iterator<Item = (RequestId, &Request)> {
        self.live.iter().map(|id| (*id, self.get(*id)))
    }

    /// A place in the order of parking.
    pub(crate) const fn place(&mut self) -> u64 {
        self.places += 1;
        self.places
    }
}
