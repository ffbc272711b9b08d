//! Steps 6 to 8 of the life of a request: the dial, the pod, the answer, and the end of a connection.

use std::sync::Arc;
use std::time::Duration;

use reveille_activator_core::retry::Exchange;
use reveille_activator_core::view::State;

use super::{BODY, HOP, Leg, slot_of};
use crate::facts::Delivery;
use crate::mutant::Mutant;
use crate::requests::{End, RequestId, Stage};
use crate::sim::Event;
use crate::watch::LONGEST_STALL;
use crate::world::World;

/// Longest time that a dial goes unanswered.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Pods that may turn out to be gone under one request.
const UNREACHABLE: u32 = 2;

impl World {
    pub(super) fn dialled(&mut self, id: RequestId) {
        let now = self.sim.now();
        let request = self.requests.get_mut(id);
        let (index, name) = (request.activator, Arc::clone(&request.wish.target));
        let Stage::Dialling {
            pod,
            ip,
            dial,
            pace,
        } = &mut request.stage
        else {
            return;
        };
        let (meant, ip, pace) = (&pod.clone(), *ip, *pace);
        let slot = self.activators[index]
            .slots
            .get_mut(&name)
            .filter(|slot| Some(slot.serial) == request.slot);
        let is_present = &**pod == "remembered"
            || slot.as_ref().is_some_and(|slot| matches!(&slot.entry.view().state, State::Awake(present) if present.uid == *pod));
        match self.cluster.at(ip) {
            Some((uid, _)) if is_present && self.cluster.silent.contains(uid) => {
                self.leg_after(ATTEMPT, id, Leg::Unreached);
            }
            Some((uid, agent)) if is_present && agent.listens => {
                let (pod, container) = (Arc::clone(uid), agent.container);
                let seen = self.activators[index].cache.pods.get(&agent.name);
                request.sent_to_dying = seen.is_none_or(|seen| seen.uid != pod || seen.terminating);
                let silent = self.activators[index].streams.silent_since();
                request.sent_blindly = silent.is_some_and(|since| now > since + LONGEST_STALL);
                request.meant = Some(Arc::clone(meant));
                request.sent += 1;
                request.stage = Stage::Sent {
                    pod,
                    container,
                    pace,
                };
                self.leg_after(HOP, id, Leg::Bytes);
            }
            Some(_) if is_present => match dial.next(now) {
                Some(at) => {
                    request.turn += 1;
                    let event = Event::Exchange(id, request.turn, Leg::Again);
                    self.sim.queue.at(at, event);
                    self.answered_pace(id);
                    self.poll_slot(index, &name);
                }
                None => self.finish(id, End::Broken),
            },
            // Nobody has that address, or the watch shows another pod by now: to the lot again.
            _ => self.unreached(id),
        }
    }

    /// The pod did not take the connection, and is taken for gone.
    pub(super) fn unreached(&mut self, id: RequestId) {
        let now = self.sim.now();
        let request = self.requests.get_mut(id);
        let Stage::Dialling { pod, .. } = &request.stage else {
            return;
        };
        let pod = Arc::clone(pod);
        request.unreached += 1;
        let is_enough = request.unreached > UNREACHABLE;
        let (index, name) = (request.activator, Arc::clone(&request.wish.target));
        if let Some(slot) = slot_of(&mut self.activators, self.requests.get(id)) {
            slot.entry.forget(&pod, now);
        }
        self.sim.coverage.parked_again += 1;
        self.answered_pace(id);
        self.poll_slot(index, &name);
        if is_enough {
            return self.finish(id, End::Broken);
        }
        self.seek(id);
    }

    /// A pod that refused is dialled again, if it is still the one to go to.
    pub(super) fn dial_again(&mut self, id: RequestId) {
        let Stage::Dialling { pod, dial, .. } = self.requests.get(id).stage.clone() else {
            return;
        };
        self.seek(id);
        if let Stage::Dialling {
            pod: present,
            dial: begun,
            ..
        } = &mut self.requests.get_mut(id).stage
            && *present == pod
        {
            *begun = dial;
        }
    }

    pub(super) fn bytes(&mut self, id: RequestId) {
        let request = self.requests.get_mut(id);
        let Stage::Sent { pod, container, .. } = &request.stage else {
            return;
        };
        if self.cluster.silent.contains(pod) {
            return;
        }
        let Some(agent) = self
            .cluster
            .agent(pod)
            .filter(|agent| agent.container == *container)
        else {
            return self.broken(id);
        };
        let pod = Arc::clone(pod);
        let present = self.api.objects().pods.get(&agent.name);
        let is_dying = present.is_none_or(|present| present.uid != pod || present.terminating);
        // Nobody can tell a pod first shown after its sleep from the one that the next wake brings.
        let shown = self.activators[request.activator].shown.get(&pod);
        let asleep = self.put_to_sleep.get(&pod).zip(shown);
        let meant = request.meant.as_ref();
        let delivery = Delivery {
            is_blind: request.sent_blindly,
            meant_asleep: meant.is_some_and(|meant| self.put_to_sleep.contains_key(meant)),
            request: id,
            owner: self.owners.get(&agent.sandbox).cloned(),
            known_terminating: request.sent_to_dying,
            put_to_sleep: is_dying && asleep.is_some_and(|(asleep, shown)| shown < asleep),
            pod,
        };
        request.delivered += 1;
        let service = request.wish.service;
        self.sim
            .trace(|| format!("{} of {} gets #{}", delivery.pod, agent.name, id.number()));
        self.facts.deliveries.push(delivery);
        let service = self.sim.up_to(service);
        self.leg_after(service, id, Leg::Answer);
    }

    pub(super) fn answer(&mut self, id: RequestId) {
        let now = self.sim.now();
        if self.is_silent(id) {
            return;
        }
        let request = self.requests.get_mut(id);
        let Stage::Sent { pod, .. } = &request.stage else {
            return;
        };
        let pod = Arc::clone(pod);
        request.began = true;
        let (lease, wire) = (request.wish.lease, request.wish.wire);
        let (index, name) = (request.activator, Arc::clone(&request.wish.target));
        self.answered_pace(id);
        self.requests.get_mut(id).stage = Stage::Answering {
            pod: Arc::clone(&pod),
        };
        if let Some(length) = lease {
            self.sim.coverage.leases += 1;
            self.sim.trace(|| {
                format!(
                    "{pod} is busy for {length:?}, says its answer to #{}",
                    id.number()
                )
            });
            if let Some(slot) = slot_of(&mut self.activators, self.requests.get(id)) {
                slot.entry.busy(&pod, length, now);
            }
            let heard_by = self.activators[index].node;
            // One that cannot see may take it for the word of a pod that is gone: it need not count, but it
            // may have replaced an earlier one.
            if self.requests.get(id).sent_blindly {
                self.forget_lease(&pod, heard_by);
            } else {
                self.lease(pod, heard_by, now + length);
            }
        }
        self.poll_slot(index, &name);
        match wire {
            None => {
                let body = self.sim.up_to(BODY);
                self.leg_after(body, id, Leg::Done);
            }
            Some(wire) => self.begin_stream(id, wire),
        }
    }

    /// The connection died under a request.
    pub(super) fn broken(&mut self, id: RequestId) {
        let request = self.requests.get(id);
        let wish = &request.wish;
        let exchange = Exchange {
            method: wish.method,
            has_body: wish.has_body,
            response_began: request.began,
            sent: request.sent,
        };
        let mutated = self.sim.mutant == Some(Mutant::EverythingResent) && request.sent < 5;
        if exchange.may_resend() || mutated {
            self.sim.coverage.resent += 1;
            self.sim.trace(|| format!("#{} is sent again", id.number()));
            let (index, name) = (request.activator, Arc::clone(&request.wish.target));
            self.answered_pace(id);
            self.poll_slot(index, &name);
            self.requests.get_mut(id).turn += 1;
            self.seek(id);
        } else {
            self.finish(id, End::Broken);
        }
    }
}
