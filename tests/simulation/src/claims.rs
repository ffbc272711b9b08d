//! A claim's release and bind in their steps: two objects cannot be written at once, and a writer may die
//! between any two. Every state in between means something: where a claim lives, it counts.
//!
//! ```text
//! release   look · remember · put the Sandbox to sleep, marked · delete the claim
//!           remembered: awake, the memory is a leftover; marked: asleep, and so is the memory
//! restore   of a marked Sandbox: touch the claim · wake
//! bind      look · create the claim · forget        in between: awake, the memory is a leftover
//! collect   touch the claim · forget                touched, it outlives every older delete
//! ```

use std::sync::Arc;
use std::time::Duration;

use reveille_scaler_core::act::Written;
use reveille_scaler_core::sandbox::Rules;
use reveille_scaler_core::view::Mode;

use crate::api::{Refusal, Write};
use crate::mutant::Mutant;
use crate::objects::{Name, Uid};
use crate::sim::{Event, Node};
use crate::world::World;
use crate::writes::Pending;

/// The next request of a write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    /// The only one, if it gets an answer.
    Patch,
    /// PATCH of the claim whose release has put to sleep what is to be woken, and the other PATCH again.
    TouchOwner,
    PatchMarked,
    /// PATCH of the epoch alone, and a GET, after a sleep without an answer.
    Keep,
    See,
    /// GET of a claim and its Sandbox before a release.
    Look,
    Remember {
        version: u64,
    },
    /// PATCH of its Sandbox: to sleep, and marked.
    Suspend {
        version: u64,
        memory: Uid,
    },
    Delete {
        version: u64,
        memory: Uid,
    },
    /// GET of a memory before a bind.
    LookBack,
    Create {
        memory: Uid,
    },
    Touch {
        memory: Uid,
    },
    Forget {
        memory: Uid,
        fate: Written,
    },
}

/// What a request leads to.
#[derive(Debug)]
pub(crate) enum Next {
    Then(Stage),
    Done(Written),
}

/// What a request did.
#[derive(Debug)]
pub(crate) struct Done {
    /// Of the request by which the write is done, or is known not to be.
    pub(crate) result: Option<Result<u64, Refusal>>,
    pub(crate) next: Next,
}

impl Stage {
    /// The first request of a write.
    pub(crate) fn first(write: &Write) -> Self {
        match write {
            Write::Mode { .. } => Self::Patch,
            Write::Release { .. } => Self::Look,
            Write::Bind { .. } => Self::LookBack,
            Write::Collect { memory, .. } => Self::Touch {
                memory: Arc::clone(memory),
            },
        }
    }
}

impl Done {
    pub(crate) fn then(stage: Stage) -> Self {
        Self {
            result: None,
            next: Next::Then(stage),
        }
    }

    fn refused(refusal: Refusal) -> Self {
        Self {
            result: Some(Err(refusal)),
            next: Next::Done(Written::Conflict),
        }
    }

    /// What is remembered is removed again.
    fn taken_back(refusal: Refusal, memory: &Uid, fate: Written) -> Self {
        let memory = Arc::clone(memory);
        Self {
            result: Some(Err(refusal)),
            next: Next::Then(Stage::Forget { memory, fate }),
        }
    }

    pub(crate) fn over(fate: Written) -> Self {
        Self {
            result: None,
            next: Next::Done(fate),
        }
    }
}

impl World {
    /// The API server does the next request of a write.
    pub(crate) fn serve(&mut self, pending: &Pending) -> Done {
        let is_ignored = match self.sim.mutant {
            Some(Mutant::FenceIgnored) => !pending.write.wakes(),
            Some(Mutant::WakePerAsk) => pending.write.wakes(),
            _ => false,
        };
        match &pending.write {
            Write::Mode { .. } if matches!(pending.stage, Stage::Keep | Stage::See) => {
                self.serve_sure(pending)
            }
            write @ Write::Mode { .. }
                if pending.stage != Stage::PatchMarked
                    && self.sim.mutant != Some(Mutant::MarkIgnored)
                    && let Some((claim, uid)) = self.api.released_by(write) =>
            {
                let (claim, uid) = (Arc::clone(claim), Arc::clone(uid));
                if pending.stage == Stage::Patch {
                    return Done::then(Stage::TouchOwner);
                }
                match self.api.touch_claim(&claim, Some(&uid)) {
                    Ok(()) => {
                        self.sim.coverage.woken_while_released += 1;
                        Done::then(Stage::PatchMarked)
                    }
                    Err(refusal) => Done::refused(refusal),
                }
            }
            Write::Mode { .. } => {
                let tests_hold = self.sim.mutant != Some(Mutant::HoldUnfenced);
                let tests_lease = self.sim.mutant != Some(Mutant::LeaseUnfenced);
                let (now, write) = (self.sim.now(), &pending.write);
                let result = self
                    .api
                    .patch(write, !is_ignored, tests_hold, tests_lease, now);
                if let (Ok(_), Some(Mutant::EpochKept), Write::Mode { sandbox, .. }) =
                    (result, self.sim.mutant, write)
                {
                    self.api.edit_sandbox(sandbox, |sandbox| sandbox.epoch -= 1);
                }
                let fate = result.map(Written::Done);
                Done {
                    result: Some(result),
                    next: Next::Done(fate.unwrap_or_else(|_| self.refused(&pending.write))),
                }
            }
            Write::Release { .. } => self.serve_release(pending, !is_ignored),
            Write::Bind { claim, uid, epoch } => self.serve_bind(pending, claim, uid, *epoch),
            Write::Collect { claim, .. } => self.serve_memory(claim, &pending.stage),
        }
    }

    /// Who was refused looks at the object: another may have woken it.
    fn refused(&self, write: &Write) -> Written {
        let (uid, epoch) = write.fence();
        match self.api.before(write) {
            Some((present, there, Mode::Running))
                if write.wakes() && present == *uid && there > epoch =>
            {
                Written::Overtaken(there)
            }
            _ => Written::Conflict,
        }
    }

    fn serve_release(&mut self, pending: &Pending, is_fenced: bool) -> Done {
        let Write::Release {
            claim,
            uid,
            epoch,
            sandbox,
        } = &pending.write
        else {
            return Done::refused(Refusal::NotFound);
        };
        let bound_to = sandbox.as_ref().map(|sandbox| sandbox.fence().0);
        match &pending.stage {
            Stage::Look => self.serve_look((claim, uid, *epoch), bound_to, is_fenced),
            Stage::Remember { version } => {
                let now = self.sim.now();
                match self.api.remember(claim, uid, epoch + 1, now) {
                    // Of a release that did not come to its end, or has not yet: that one first.
                    Err(memory) => Done::then(Stage::Touch { memory }),
                    Ok(memory) => {
                        self.sim.coverage.remembered += 1;
                        let version = *version;
                        let is_left = self.sim.mutant == Some(Mutant::SandboxLeftAwake);
                        Done::then(if sandbox.is_some() && !is_left {
                            Stage::Suspend { version, memory }
                        } else {
                            Stage::Delete { version, memory }
                        })
                    }
                }
            }
            Stage::Suspend { version, memory } => match sandbox {
                Some(sandbox) => {
                    self.serve_suspend((sandbox, uid, *epoch), (*version, memory), is_fenced)
                }
                None => Done::refused(Refusal::NotFound),
            },
            Stage::Delete { version, memory } => {
                let unfenced = !is_fenced || self.sim.mutant == Some(Mutant::ReleaseUnfenced);
                let version = Some(*version).filter(|_| !unfenced);
                match self.api.delete_claim(claim, uid, version) {
                    Ok(()) => Done {
                        result: Some(Ok(epoch + 1)),
                        next: Next::Done(Written::Done(epoch + 1)),
                    },
                    Err(refusal) => {
                        // Its Sandbox sleeps, or has been woken since: nothing is to be taken back.
                        let fate = match sandbox {
                            Some(_) => Written::Lost,
                            None => Written::Conflict,
                        };
                        Done::taken_back(refusal, memory, fate)
                    }
                }
            }
            stage => self.serve_memory(claim, stage),
        }
    }

    /// A release looks at its claim, and at the Sandbox that is bound to it.
    fn serve_look(
        &self,
        (claim, uid, epoch): (&Name, &Uid, u64),
        bound_to: Option<&Uid>,
        is_fenced: bool,
    ) -> Done {
        let Some(present) = self.api.objects().claims.get(claim) else {
            return Done::refused(Refusal::NotFound);
        };
        let bound = self.api.standing(claim).map(|(_, bound)| &bound.uid);
        let fits = present.uid == *uid && present.epoch == epoch;
        if is_fenced && (!fits || bound != bound_to) {
            return Done::refused(Refusal::Conflict);
        }
        let version = present.version;
        Done::then(Stage::Remember { version })
    }

    /// A release puts the Sandbox of its claim to sleep, marked, before it deletes the claim.
    fn serve_suspend(
        &mut self,
        (sandbox, uid, epoch): (&Write, &Uid, u64),
        (version, memory): (u64, &Uid),
        is_fenced: bool,
    ) -> Done {
        let now = self.sim.now();
        if let Err(refusal) = self.api.patch(sandbox, is_fenced, true, true, now) {
            return Done::taken_back(refusal, memory, Written::Conflict);
        }
        self.api.mark(sandbox, uid);
        let memory = Arc::clone(memory);
        Done {
            result: Some(Ok(epoch + 1)),
            next: Next::Then(Stage::Delete { version, memory }),
        }
    }

    fn serve_bind(&mut self, pending: &Pending, claim: &Name, uid: &Uid, epoch: u64) -> Done {
        match &pending.stage {
            Stage::LookBack => {
                let memory = self.api.objects().released.get(claim);
                let fits = |uid_of: &Uid, at: u64| uid_of == uid && at == epoch;
                match memory {
                    Some(memory) if fits(&memory.claim, memory.epoch) => {
                        let memory = Arc::clone(&memory.uid);
                        Done::then(Stage::Create { memory })
                    }
                    _ => Done::refused(Refusal::Conflict),
                }
            }
            Stage::Create { memory } => {
                let now = self.sim.now();
                match self.api.create_claim(claim, epoch + 1, now) {
                    Err(refusal) => Done::refused(refusal),
                    Ok(()) => Done {
                        result: Some(Ok(epoch + 1)),
                        next: Next::Then(Stage::Forget {
                            memory: Arc::clone(memory),
                            fate: Written::Done(epoch + 1),
                        }),
                    },
                }
            }
            stage => self.serve_memory(claim, stage),
        }
    }

    /// The end of every write of claims: a memory is removed, and the claim touched first where an older
    /// release may still be on its way to delete it.
    fn serve_memory(&mut self, claim: &Name, stage: &Stage) -> Done {
        let is_mutated = self.sim.mutant == Some(Mutant::CollectUntouched);
        match stage {
            // There is no claim to touch: then what is remembered is all there is of it.
            Stage::Touch { .. } if !is_mutated && self.api.touch_claim(claim, None).is_err() => {
                Done::over(Written::Conflict)
            }
            Stage::Touch { memory } => Done::then(Stage::Forget {
                memory: Arc::clone(memory),
                fate: Written::Conflict,
            }),
            Stage::Forget { memory, fate } => {
                self.api.forget(claim, memory);
                Done::over(fate.clone())
            }
            _ => Done::over(Written::Conflict),
        }
    }

    /// A scaler has seen a memory beside a live claim: it is looked at again when whoever wrote it has ended.
    pub(crate) fn see_leftover(&mut self, node: Node, claim: &Name) {
        let target = self.scalers[node.index].cache.target(claim);
        let leftover = target.and_then(|target| target.claim?.leftover);
        let scaler = &mut self.scalers[node.index];
        let known = scaler.leftovers.get(claim);
        if known == leftover.as_ref() {
            return;
        }
        scaler.leftovers.remove(claim);
        if let Some(memory) = leftover {
            let event = Event::Collect(node, Arc::clone(claim), Arc::clone(&memory));
            scaler.leftovers.insert(Arc::clone(claim), memory);
            let after = Rules::default().write_timeout + Duration::from_secs(1);
            self.sim.after(after, event);
        }
    }

    /// The leader removes what is left over.
    pub(crate) fn collect(&mut self, node: Node, claim: &Name, memory: Uid) {
        let now = self.sim.now();
        let scaler = &self.scalers[node.index];
        if scaler.leftovers.get(claim) != Some(&memory) {
            return;
        }
        // As long as it is there it is tried again: by whoever leads by then.
        let again = Event::Collect(node, Arc::clone(claim), Arc::clone(&memory));
        self.sim.after(Rules::default().write_timeout, again);
        if scaler.leads(now) {
            self.sim.coverage.collected += 1;
            let write = Write::Collect {
                claim: Arc::clone(claim),
                memory,
            };
            self.issue_write(node, Arc::clone(claim), write, None);
        }
    }
}
