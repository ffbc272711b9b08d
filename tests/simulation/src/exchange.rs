//! One request on its way: through the entry, to the pod, back to its client, as the shell would lead it.

mod connection;
pub(crate) mod stream;

use std::sync::Arc;
use std::time::Duration;

use reveille_activator_core::entry::{Arrival, Release};
use reveille_activator_core::lot::{self, Ending};
use reveille_activator_core::retry::Dial;
use reveille_activator_core::view::State;

use crate::activator::{Activator, Slot};
use crate::facts::Ended;
use crate::mutant::Mutant;
use crate::objects::{Name, Uid};
use crate::requests::{End, Request, RequestId, Stage};
use crate::sim::Event;
use crate::world::World;

/// Longest way through the network.
const HOP: Duration = Duration::from_millis(2);
/// Time of a body.
const BODY: Duration = Duration::from_millis(20);

/// What happens next to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// It reaches its activator.
    Come,
    /// A dial reaches the address.
    Dial,
    /// It is time to dial again.
    Again,
    /// The request reaches the pod.
    Bytes,
    /// The agent's first byte reaches the activator.
    Answer,
    /// Bytes pass on its stream.
    Beat,
    /// Its stream may have been silent for long.
    Silent,
    /// Nothing answers the dial.
    Unreached,
    /// The last byte has passed.
    Done,
    /// The connection is dead.
    Broken,
    /// The client has left.
    Leave,
}

impl World {
    /// A request reaches its activator.
    pub(crate) fn arrive(&mut self, id: RequestId) {
        let request = self.requests.get(id);
        let (index, name) = (request.activator, Arc::clone(&request.wish.target));
        let wish = &request.wish;
        let (method, patience) = (wish.method, wish.patience);
        self.sim.trace(|| {
            format!(
                "client → activator-{index} #{} {method} {name}",
                id.number()
            )
        });
        if let Some(patience) = patience {
            self.sim.after(patience, Event::Exchange(id, 0, Leg::Leave));
        }
        if self.sim.mutant == Some(Mutant::StrangersRemembered) {
            self.slots += 1;
            let slots = &mut self.activators[index].slots;
            slots
                .entry(Arc::clone(&name))
                .or_insert_with(|| Slot::new(self.slots));
        }
        let now = self.sim.now();
        let Some(slot) = self.activators[index].slots.get_mut(&name) else {
            return self.finish(id, End::Unknown);
        };
        slot.entry.begin();
        slot.users += 1;
        let request = self.requests.get_mut(id);
        (request.counts, request.slot) = (true, Some(slot.serial));
        if self.sim.mutant == Some(Mutant::AddressRemembered)
            && let Some(ip) = slot.ip.filter(|_| slot.entry.view().state == State::Asleep)
        {
            let (pod, dial) = (Arc::from("remembered"), Dial::start(None, now));
            request.stage = Stage::Dialling {
                pod,
                ip,
                dial,
                pace: None,
            };
            return self.leg_after(HOP, id, Leg::Dial);
        }
        self.seek(id);
    }

    /// Steps 4 and 5: an endpoint, or a ticket.
    fn seek(&mut self, id: RequestId) {
        let now = self.sim.now();
        let request = self.requests.get(id);
        let (index, name, most) = (
            request.activator,
            Arc::clone(&request.wish.target),
            request.wish.most,
        );
        // What is parked in a slot of a target that is gone nobody would ever release.
        let serial = self.requests.get(id).slot;
        let slot = self.activators[index].slots.get_mut(&name);
        let Some(slot) = slot.filter(|slot| Some(slot.serial) == serial) else {
            return self.finish(id, End::Unknown);
        };
        let is_gated =
            matches!(slot.entry.view().state, State::Awake(_)) && !slot.drained.is_empty();
        match slot.entry.arrive(most, |_| Ok::<_, ()>(id), now) {
            Arrival::Go(release) => self.dial(id, &release, None),
            Arrival::Parked { ticket, .. } => {
                let wait = self.sim.plan.longest_wait(&name);
                let deadline = now + most.map_or(wait, |most| most.min(wait));
                let place = self.requests.place();
                self.requests.get_mut(id).stage = Stage::Parked {
                    ticket,
                    deadline,
                    place,
                };
                self.sim.coverage.parked += 1;
                self.sim.coverage.parked_behind_gate += u64::from(is_gated);
                self.sim
                    .trace(|| format!("activator-{index} parks #{} for {name}", id.number()));
                self.poll_slot(index, &name);
            }
            Arrival::Refused(_) | Arrival::Full | Arrival::Turned(()) => {
                self.finish(id, End::TurnedAway)
            }
        }
    }

    /// A ticket was released.
    pub(crate) fn released(&mut self, index: usize, name: &Name, id: RequestId, release: &Release) {
        self.note_ending(id, Ending::Released);
        if let Some(slot) = self.activators[index].slots.get_mut(name) {
            slot.unanswered += 1;
        }
        self.dial(id, release, Some(release.generation));
    }

    /// Tickets ended otherwise.
    pub(crate) fn ended(&mut self, index: usize, name: &Name, ended: Vec<lot::Ended<RequestId>>) {
        for lot::Ended {
            ending, payload, ..
        } in ended
        {
            let number = payload.number();
            self.sim.trace(|| {
                format!(
                    "activator-{index} tells #{number} for {name}: {}",
                    ending.as_str()
                )
            });
            self.note_ending(payload, ending);
            self.finish(payload, End::Ticket(ending));
        }
    }

    fn note_ending(&mut self, id: RequestId, ending: Ending) {
        let counts = &mut self.sim.coverage;
        *match ending {
            Ending::Released => &mut counts.released,
            Ending::Expired => &mut counts.expired,
            Ending::Refused => &mut counts.refused,
            Ending::Failed => &mut counts.failed,
            Ending::Abandoned => &mut counts.abandoned,
        } += 1;
        let (deadline, place) = match self.requests.get(id).stage {
            Stage::Parked {
                deadline, place, ..
            } => (Some(deadline), place),
            _ => (None, 0),
        };
        self.facts.endings.push(Ended {
            request: id,
            ending,
            deadline,
            place,
        });
    }

    fn dial(&mut self, id: RequestId, release: &Release, pace: Option<u32>) {
        let request = self.requests.get(id);
        let (index, name) = (request.activator, Arc::clone(&request.wish.target));
        let slot = self.activators[index].slots.get(&name);
        let ip = slot
            .and_then(|slot| slot.ip)
            .expect("an entry that is open was observed with an address");
        let dial = Dial::start(release.dial_until(self.sim.now()), self.sim.now());
        let pod = Arc::clone(&release.pod);
        self.sim.trace(|| {
            format!(
                "activator-{index} dials {pod} at {ip} for #{} of {name}",
                id.number()
            )
        });
        self.requests.get_mut(id).stage = Stage::Dialling {
            pod,
            ip,
            dial,
            pace,
        };
        self.leg_after(HOP, id, Leg::Dial);
    }

    /// Something happens to a request.
    pub(crate) fn exchange(&mut self, id: RequestId, turn: u32, leg: Leg) {
        let request = self.requests.get(id);
        if request.is_over() || (leg != Leg::Leave && request.turn != turn) {
            return;
        }
        match leg {
            Leg::Come => self.arrive(id),
            Leg::Dial => self.dialled(id),
            Leg::Again => self.dial_again(id),
            Leg::Bytes => self.bytes(id),
            Leg::Answer => self.answer(id),
            Leg::Beat => self.beat(id),
            Leg::Silent => self.silent(id),
            Leg::Unreached => self.unreached(id),
            Leg::Done if self.is_silent(id) => {}
            Leg::Done => {
                self.sim.coverage.answered += 1;
                self.finish(id, End::Answered);
            }
            Leg::Broken => self.broken(id),
            Leg::Leave => self.leave(id),
        }
    }

    fn leave(&mut self, id: RequestId) {
        let request = self.requests.get(id);
        if let Stage::Parked { ticket, .. } = request.stage
            && let Some(slot) = slot_of(&mut self.activators, request)
        {
            let ended = slot.entry.abandon(ticket);
            if ended.is_some() {
                self.note_ending(id, Ending::Abandoned);
            }
        }
        self.finish(id, End::Gone);
    }

    /// What is still open towards a pod that has left is over.
    pub(crate) fn pod_over(&mut self, index: usize, pod: &Uid) {
        if self.sim.mutant == Some(Mutant::DeadPodsAwaited) {
            return;
        }
        let live = self.requests.live();
        let its = live
            .filter(|(_, request)| request.activator == index && request.meant_for() == Some(pod));
        let its: Vec<RequestId> = its.map(|(id, _)| id).collect();
        for id in its {
            self.sim.coverage.dead_pods_left += u64::from(self.is_silent(id));
            self.broken(id);
        }
    }

    /// Requests that a pod has, or answers.
    fn open_to(&self, pod: &Uid) -> Vec<RequestId> {
        let live = self.requests.live();
        live.filter(|(_, request)| request.pod() == Some(pod))
            .map(|(id, _)| id)
            .collect()
    }

    /// Whether the node of its pod is dead: nothing comes from there.
    fn is_silent(&self, id: RequestId) -> bool {
        let pod = self.requests.get(id).pod();
        pod.is_some_and(|pod| self.cluster.silent.contains(pod))
    }

    /// All connections of that start of a container are dead.
    pub(crate) fn break_connections(&mut self, pod: &Uid) {
        for id in self.open_to(pod) {
            self.leg_after(HOP, id, Leg::Broken);
        }
    }

    /// The end of a request: its guard drops.
    fn finish(&mut self, id: RequestId, end: End) {
        let now = self.sim.now();
        match end {
            End::Broken => self.sim.coverage.broken += 1,
            End::TurnedAway => self.sim.coverage.turned_away += 1,
            _ => {}
        }
        self.answered_pace(id);
        let request = self.requests.get(id);
        let (index, name, counts) = (
            request.activator,
            Arc::clone(&request.wish.target),
            request.counts,
        );
        self.sim
            .trace(|| format!("#{} of {name} is over: {end:?}", id.number()));
        if let Some(slot) = slot_of(&mut self.activators, request) {
            slot.users -= 1;
            if counts {
                slot.entry.end(now);
            }
        }
        self.note_end(id, end);
        self.requests.end(id);
        self.poll_slot(index, &name);
    }

    /// A released request got its first byte, or failed: the next one may go.
    fn answered_pace(&mut self, id: RequestId) {
        let now = self.sim.now();
        let request = self.requests.get_mut(id);
        let (Stage::Dialling { pace, .. } | Stage::Sent { pace, .. }) = &mut request.stage else {
            return;
        };
        let Some(generation) = pace.take() else {
            return;
        };
        if let Some(slot) = slot_of(&mut self.activators, request) {
            slot.unanswered = slot.unanswered.saturating_sub(1);
            slot.answered = Some(now);
            slot.entry.answered(generation, now);
        }
    }

    /// `leg` happens after up to `most`; whatever else was to happen does not.
    fn leg_after(&mut self, most: Duration, id: RequestId, leg: Leg) {
        let after = self.sim.up_to(most);
        let request = self.requests.get_mut(id);
        request.turn += 1;
        self.sim
            .after(after, Event::Exchange(id, request.turn, leg));
    }
}

/// The slot that a request counts in, be its target gone.
fn slot_of<'a>(activators: &'a mut [Activator], request: &Request) -> Option<&'a mut Slot> {
    activators[request.activator].slot(&request.wish.target, request.slot?)
}
