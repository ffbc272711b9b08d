//! Streams: what stays open after the head of an answer, and which of its bytes are use of the sandbox.

use std::time::{Duration, Instant};

use reveille_activator_core::events::Events;
use reveille_activator_core::view::State;
use reveille_activator_core::websocket::Frames;

use super::{HOP, Leg, slot_of};
use crate::clients::Visit;
use crate::mutant::Mutant;
use crate::objects::Name;
use crate::requests::{End, RequestId};
use crate::sim::{Event, Sim};
use crate::world::World;

/// Silence after which a WebSocket stops counting.
const WEBSOCKET_IDLE: Duration = Duration::from_millis(800);
/// Longest stream of a client that has something to say, and of one that only stands attached.
const LENGTH: Duration = Duration::from_secs(4);
const ATTACHED: Duration = Duration::from_secs(40);
/// Longest pause between two beats.
const PAUSE: Duration = Duration::from_millis(900);
/// Longest pause until a client opens a stream anew that was ended.
const ANEW: Duration = Duration::from_secs(2);

/// What a client opens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    is_websocket: bool,
    length: Duration,
    /// All that passes is heartbeats, and its client opens it anew by itself.
    is_attached: bool,
}

impl Wire {
    pub(crate) fn of(sim: &mut Sim) -> Self {
        let is_attached = sim.rng.u8(..3) == 0;
        let most = if is_attached { ATTACHED } else { LENGTH };
        Self {
            is_websocket: sim.rng.bool(),
            length: sim.up_to(most),
            is_attached,
        }
    }
}

/// An open stream.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    follow: Follow,
    /// Silence after which it stops counting, if any.
    idle: Option<Duration>,
    /// The last bytes that its activator takes for more than a heartbeat.
    last: Instant,
    /// The last that are more, and since when there was no such silence.
    used: Instant,
    pub(crate) used_since: Instant,
}

#[derive(Clone, Debug)]
enum Follow {
    Frames(Frames),
    Events(Events),
}

impl Follow {
    /// Passes a heartbeat, or something more; whether it is taken for that.
    fn pass(&mut self, is_heartbeat: bool) -> bool {
        match (self, is_heartbeat) {
            (Self::Frames(frames), true) => frames.pass(&[0x89, 0x01, 0x2A, 0x82, 0x00]),
            (Self::Frames(frames), false) => frames.pass(&[0x82, 0x01, 0x2A]),
            (Self::Events(events), true) => events.pass(b": ping\n\n"),
            (Self::Events(events), false) => events.pass(b"data: more\n\n"),
        }
    }
}

impl Stream {
    /// From when on it is no use of its sandbox, if nothing more passes; `None`: it is while it is open.
    pub(crate) fn silent_from(&self) -> Option<Instant> {
        self.idle.map(|idle| self.used + idle)
    }
}

impl World {
    /// The answer goes on as a stream.
    pub(super) fn begin_stream(&mut self, id: RequestId, wire: Wire) {
        let now = self.sim.now();
        let (follow, idle) = if wire.is_websocket {
            (Follow::Frames(Frames::default()), Some(WEBSOCKET_IDLE))
        } else {
            let idle = self.sim.plan.stream_idle;
            (Follow::Events(Events::default()), idle)
        };
        self.sim.coverage.streams += 1;
        self.requests.get_mut(id).stream = Some(Stream {
            follow,
            idle,
            last: now,
            used: now,
            used_since: now,
        });
        // Where all the time that it is open counts, nobody may stand attached for long.
        let most = if idle.is_some() {
            wire.length
        } else {
            wire.length.min(LENGTH)
        };
        self.stream_leg(id, most + HOP, Leg::Done);
        self.silent(id);
        let pause = self.sim.up_to(PAUSE);
        self.stream_leg(id, pause, Leg::Beat);
    }

    /// What else is to happen to a stream happens all the same.
    fn stream_leg(&mut self, id: RequestId, after: Duration, leg: Leg) {
        let turn = self.requests.get(id).turn;
        self.sim.after(after, Event::Exchange(id, turn, leg));
    }

    /// Bytes pass.
    pub(super) fn beat(&mut self, id: RequestId) {
        let now = self.sim.now();
        if self.is_silent(id) {
            return;
        }
        let is_attached = self
            .requests
            .get(id)
            .wish
            .wire
            .is_some_and(|wire| wire.is_attached);
        let is_heartbeat = is_attached || self.sim.rng.bool();
        let counts_all = self.sim.mutant == Some(Mutant::HeartbeatsCount);
        let Some(stream) = &mut self.requests.get_mut(id).stream else {
            return;
        };
        if !is_heartbeat {
            if stream.silent_from().is_some_and(|silent| silent <= now) {
                stream.used_since = now;
            }
            stream.used = now;
        }
        if stream.follow.pass(is_heartbeat) || counts_all {
            stream.last = now;
            if self.sim.mutant != Some(Mutant::SilentForEver) {
                self.counts(id, true);
            }
        }
        let pause = self.sim.up_to(PAUSE);
        self.stream_leg(id, pause, Leg::Beat);
    }

    /// A stream stops counting when it was silent for long.
    pub(super) fn silent(&mut self, id: RequestId) {
        let now = self.sim.now();
        let Some(stream) = &self.requests.get(id).stream else {
            return;
        };
        let Some(idle) = stream.idle else { return };
        let silent = stream.last + idle;
        let next = if now < silent {
            silent - now
        } else {
            self.counts(id, false);
            idle
        };
        self.stream_leg(id, next, Leg::Silent);
        self.let_stream_go(id);
    }

    /// A stream falls silent, or moves bytes again.
    fn counts(&mut self, id: RequestId, counts: bool) {
        let now = self.sim.now();
        let request = self.requests.get_mut(id);
        if request.counts == counts {
            return;
        }
        request.counts = counts;
        self.sim.coverage.fell_silent += u64::from(!counts);
        if let Some(slot) = slot_of(&mut self.activators, self.requests.get(id)) {
            if counts {
                slot.entry.begin();
            } else {
                slot.entry.end(now);
            }
        }
    }

    /// Streams that were silent for long, and whose pod is not the target's any more, lead nowhere.
    pub(crate) fn let_streams_go(&mut self, index: usize, name: &Name) {
        let live = self.requests.live();
        let its = live.filter(|(_, request)| {
            request.activator == index && request.wish.target == *name && request.stream.is_some()
        });
        let its: Vec<RequestId> = its.map(|(id, _)| id).collect();
        for id in its {
            self.let_stream_go(id);
        }
    }

    fn let_stream_go(&mut self, id: RequestId) {
        if self.sim.mutant == Some(Mutant::SilentKept) || !self.leads_nowhere(id) {
            return;
        }
        self.sim.coverage.streams_let_go += 1;
        let request = self.requests.get(id);
        let comes_again = request.wish.wire.is_some_and(|wire| wire.is_attached);
        let plan = &self.sim.plan;
        let number = (0..plan.targets.len()).find(|it| plan.name(*it) == request.wish.target);
        self.finish(id, End::LetGo);
        if let Some(number) = number.filter(|_| comes_again) {
            let pause = self.sim.up_to(ANEW);
            self.sim.after(pause, Event::Visit(Visit::Anew(number)));
        }
    }

    /// Whether a stream does not count, and its activator sees another pod than that which it is open to.
    pub(crate) fn leads_nowhere(&self, id: RequestId) -> bool {
        let request = self.requests.get(id);
        let slots = &self.activators[request.activator].slots;
        let slot = slots.get(&request.wish.target);
        let slot = slot.filter(|slot| Some(slot.serial) == request.slot);
        let present = slot.and_then(|slot| match &slot.entry.view().state {
            State::Awake(present) => Some(&present.uid),
            _ => None,
        });
        let is_silent = request.stream.is_some() && !request.counts;
        is_silent && request.pod().is_some() && present != request.meant_for()
    }
}
