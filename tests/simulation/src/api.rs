//! The API server: objects, and the tests that fence a write. The truth.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use reveille_scaler_core::view::{Mode, Policy};

use crate::objects::{Cache, Change, Claim, Name, Pod, Sandbox, Uid};

/// All objects, and their changes that no watcher was told of yet.
#[derive(Debug, Default)]
pub(crate) struct Api {
    objects: Cache,
    untold: VecDeque<Change>,
    uids: u32,
}

/// What a scaler writes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write {
    /// PATCH of a Sandbox: test uid, epoch, mode; set the other mode, epoch + 1.
    Mode {
        sandbox: Name,
        uid: Uid,
        epoch: u64,
        to: Mode,
    },
    /// DELETE of a claim with the Sandbox that is bound to it: test uid and epoch of the claim, and that
    /// it is still that Sandbox. The manifest is remembered.
    Release {
        claim: Name,
        uid: Uid,
        epoch: u64,
        sandbox: Option<Uid>,
    },
    /// CREATE of a claim that was released.
    Bind { claim: Name, uid: Uid, epoch: u64 },
}

impl Write {
    /// UID and epoch that it expects.
    pub(crate) const fn fence(&self) -> (&Uid, u64) {
        match self {
            Self::Mode { uid, epoch, .. }
            | Self::Release { uid, epoch, .. }
            | Self::Bind { uid, epoch, .. } => (uid, *epoch),
        }
    }

    /// Whether it wakes.
    pub(crate) const fn wakes(&self) -> bool {
        matches!(
            self,
            Self::Mode {
                to: Mode::Running,
                ..
            } | Self::Bind { .. }
        )
    }
}

/// Why a write was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    Conflict,
}

impl Api {
    /// The objects as they are.
    pub(crate) const fn objects(&self) -> &Cache {
        &self.objects
    }

    /// The Sandbox that stands for a target: it, or that of the claim of this name.
    pub(crate) fn standing(&self, target: &Name) -> Option<(&Name, &Arc<Sandbox>)> {
        let name = match self.objects.claims.get(target) {
            Some(claim) => claim.sandbox.as_ref()?,
            None => target,
        };
        self.objects.sandboxes.get_key_value(name)
    }

    /// The next change that watchers must be told of.
    pub(crate) fn next_change(&mut self) -> Option<Change> {
        self.untold.pop_front()
    }

    /// A UID that was never given before.
    pub(crate) fn uid(&mut self, of: &str) -> Uid {
        self.uids += 1;
        format!("{of}#{}", self.uids).into()
    }

    /// Creates or replaces.
    pub(crate) fn put_sandbox(&mut self, name: &Name, sandbox: Sandbox) {
        let sandbox = Arc::new(sandbox);
        self.objects
            .sandboxes
            .insert(Arc::clone(name), Arc::clone(&sandbox));
        self.untold
            .push_back(Change::Sandbox(Arc::clone(name), Some(sandbox)));
    }

    /// Changes one that exists.
    pub(crate) fn edit_sandbox(&mut self, name: &Name, edit: impl FnOnce(&mut Sandbox)) {
        if let Some(sandbox) = self.objects.sandboxes.get(name) {
            let mut sandbox = Sandbox::clone(sandbox);
            edit(&mut sandbox);
            self.put_sandbox(name, sandbox);
        }
    }

    /// Removes one.
    pub(crate) fn drop_sandbox(&mut self, name: &Name) {
        if self.objects.sandboxes.remove(name).is_some() {
            self.untold
                .push_back(Change::Sandbox(Arc::clone(name), None));
        }
    }

    /// Creates or replaces.
    pub(crate) fn put_claim(&mut self, name: &Name, claim: Claim) {
        let claim = Arc::new(claim);
        self.objects
            .claims
            .insert(Arc::clone(name), Arc::clone(&claim));
        self.untold
            .push_back(Change::Claim(Arc::clone(name), Some(claim)));
    }

    /// Creates, replaces or removes.
    pub(crate) fn put_pod(&mut self, name: &Name, pod: Option<Pod>) {
        let pod = pod.map(Arc::new);
        match &pod {
            Some(pod) => self.objects.pods.insert(Arc::clone(name), Arc::clone(pod)),
            None => self.objects.pods.remove(name),
        };
        self.untold.push_back(Change::Pod(Arc::clone(name), pod));
    }

    /// Changes one that exists and has this UID.
    pub(crate) fn edit_pod(&mut self, name: &Name, uid: &Uid, edit: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.objects.pods.get(name).filter(|pod| pod.uid == *uid) {
            let mut changed = Pod::clone(pod);
            edit(&mut changed);
            if changed != **pod {
                self.put_pod(name, Some(changed));
            }
        }
    }

    /// Creates or replaces.
    pub(crate) fn put_policy(&mut self, target: &Name, policy: Policy) {
        let policy = Arc::new(policy);
        self.objects
            .policies
            .insert(Arc::clone(target), Arc::clone(&policy));
        self.untold
            .push_back(Change::Policy(Arc::clone(target), policy));
    }

    /// UID, epoch and mode of the object that a write is about.
    pub(crate) fn before(&self, write: &Write) -> Option<(Uid, u64, Mode)> {
        match write {
            Write::Mode { sandbox, .. } => {
                let sandbox = self.objects.sandboxes.get(sandbox)?;
                Some((Arc::clone(&sandbox.uid), sandbox.epoch, sandbox.mode))
            }
            Write::Release { claim, .. } | Write::Bind { claim, .. } => {
                let claim = self.objects.claims.get(claim)?;
                let mode = if claim.released {
                    Mode::Suspended
                } else {
                    Mode::Running
                };
                Some((Arc::clone(&claim.uid), claim.epoch, mode))
            }
        }
    }

    /// Does what a scaler wrote, if its tests hold.
    ///
    /// # Errors
    /// If the object is not there or is not as the write expects.
    pub(crate) fn write(
        &mut self,
        write: &Write,
        is_fenced: bool,
        now: Instant,
    ) -> Result<u64, Refusal> {
        match write {
            Write::Mode {
                sandbox,
                uid,
                epoch,
                to,
            } => {
                let present = self
                    .objects
                    .sandboxes
                    .get(sandbox)
                    .ok_or(Refusal::NotFound)?;
                let fits = present.uid == *uid && present.epoch == *epoch && present.mode != *to;
                if !fits && is_fenced {
                    return Err(Refusal::Conflict);
                }
                let next = present.epoch + 1;
                self.edit_sandbox(sandbox, |sandbox| {
                    sandbox.mode = *to;
                    sandbox.epoch = next;
                });
                Ok(next)
            }
            Write::Release { .. } => self.release(write, is_fenced),
            Write::Bind { claim, uid, epoch } => {
                let present = self.objects.claims.get(claim).ok_or(Refusal::NotFound)?;
                let fits = present.uid == *uid && present.epoch == *epoch && present.released;
                if !fits && is_fenced {
                    return Err(Refusal::Conflict);
                }
                let (next, was_released) = (present.epoch + 1, present.released);
                let sandbox = present.sandbox.clone().filter(|_| !was_released);
                let uid = self.uid(claim);
                let bound = Claim {
                    uid,
                    created: now,
                    epoch: next,
                    released: false,
                    sandbox,
                };
                self.put_claim(claim, bound);
                Ok(next)
            }
        }
    }

    fn release(&mut self, write: &Write, is_fenced: bool) -> Result<u64, Refusal> {
        let Write::Release {
            claim: name,
            uid,
            epoch,
            sandbox,
        } = write
        else {
            return Err(Refusal::NotFound);
        };
        let present = self.objects.claims.get(name).ok_or(Refusal::NotFound)?;
        let bound = self.standing(name).map(|(_, sandbox)| &sandbox.uid);
        let fits = present.uid == *uid
            && present.epoch == *epoch
            && bound == sandbox.as_ref()
            && !present.released;
        if !fits && is_fenced {
            return Err(Refusal::Conflict);
        }
        let mut released = Claim::clone(present);
        released.epoch += 1;
        released.released = true;
        let (next, sandbox) = (released.epoch, released.sandbox.take());
        self.put_claim(name, released);
        if let Some(sandbox) = sandbox {
            self.drop_sandbox(&sandbox);
        }
        Ok(next)
    }
}
