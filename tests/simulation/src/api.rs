//! The API server: objects, and the tests that fence a write. The truth.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use reveille_scaler_core::view::{Hold, Mode, Policy};

use crate::election::Lease;
use crate::objects::{Cache, Change, Claim, Name, Pod, Released, Sandbox, Uid};

/// All objects, and their changes that no watcher was told of yet.
#[derive(Debug, Default)]
pub(crate) struct Api {
    objects: Cache,
    untold: VecDeque<Change>,
    uids: u32,
    versions: u64,
    pub(crate) lease: Lease,
    /// When an object of that name last vanished.
    pub(crate) vanished: BTreeMap<Name, Instant>,
}

/// What a scaler writes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write {
    /// PATCH of a Sandbox: test uid, epoch, mode, hold, and for a sleep the busy lease; set the other mode,
    /// epoch + 1, no lease.
    Mode {
        sandbox: Name,
        uid: Uid,
        epoch: u64,
        hold: Option<Hold>,
        busy_until: Option<Instant>,
        to: Mode,
    },
    /// A claim is remembered, its Sandbox put to sleep and marked, and the claim deleted: expects its uid and
    /// epoch, and that it is still bound to the Sandbox of that write. Several steps, see [`crate::claims`].
    Release {
        claim: Name,
        uid: Uid,
        epoch: u64,
        sandbox: Option<Box<Self>>,
    },
    /// A claim is created out of its memory, which is removed.
    Bind { claim: Name, uid: Uid, epoch: u64 },
    /// A memory beside a live claim is removed.
    Collect { claim: Name, memory: Uid },
}

impl Write {
    /// UID and epoch that it expects.
    pub(crate) const fn fence(&self) -> (&Uid, u64) {
        match self {
            Self::Mode { uid, epoch, .. }
            | Self::Release { uid, epoch, .. }
            | Self::Bind { uid, epoch, .. } => (uid, *epoch),
            Self::Collect { memory, .. } => (memory, 0),
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
    pub(crate) fn put_claim(&mut self, name: &Name, mut claim: Claim) {
        self.versions += 1;
        claim.version = self.versions;
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
            .push_back(Change::Policy(Arc::clone(target), Some(policy)));
    }

    /// UID, epoch and mode of the object that a write is about.
    pub(crate) fn before(&self, write: &Write) -> Option<(Uid, u64, Mode)> {
        match write {
            Write::Mode { sandbox, .. } => {
                let sandbox = self.objects.sandboxes.get(sandbox)?;
                Some((Arc::clone(&sandbox.uid), sandbox.epoch, sandbox.mode))
            }
            Write::Release { claim, .. } | Write::Bind { claim, .. } => {
                if let Some(claim) = self.objects.claims.get(claim) {
                    return Some((Arc::clone(&claim.uid), claim.epoch, Mode::Running));
                }
                let memory = self.objects.released.get(claim)?;
                Some((Arc::clone(&memory.claim), memory.epoch, Mode::Suspended))
            }
            Write::Collect { .. } => None,
        }
    }

    /// PATCH of a Sandbox that changes the epoch alone, under the fence of that write.
    ///
    /// # Errors
    /// If the object is not there or is not as the write expects.
    pub(crate) fn keep(&mut self, write: &Write) -> Result<u64, Refusal> {
        let Write::Mode {
            sandbox,
            uid,
            epoch,
            hold,
            busy_until,
            to,
        } = write
        else {
            return Err(Refusal::NotFound);
        };
        let present = self.objects.sandboxes.get(sandbox);
        let present = present.ok_or(Refusal::NotFound)?;
        let fits = present.uid == *uid && present.epoch == *epoch && present.mode != *to;
        if !fits || present.hold != *hold || present.busy_until != *busy_until {
            return Err(Refusal::Conflict);
        }
        self.edit_sandbox(sandbox, |sandbox| sandbox.epoch += 1);
        Ok(epoch + 1)
    }

    /// PATCH of a Sandbox.
    ///
    /// # Errors
    /// If the object is not there or is not as the write expects.
    pub(crate) fn patch(
        &mut self,
        write: &Write,
        is_fenced: bool,
        tests_hold: bool,
        tests_lease: bool,
        now: Instant,
    ) -> Result<u64, Refusal> {
        let Write::Mode {
            sandbox,
            uid,
            epoch,
            hold,
            busy_until,
            to,
        } = write
        else {
            return Err(Refusal::NotFound);
        };
        let present = self.objects.sandboxes.get(sandbox);
        let present = present.ok_or(Refusal::NotFound)?;
        let fits = present.uid == *uid && present.epoch == *epoch && present.mode != *to;
        let is_leased = *to == Mode::Suspended && present.busy_until != *busy_until;
        let is_other = (tests_hold && present.hold != *hold) || (tests_lease && is_leased);
        if (!fits || is_other) && is_fenced {
            return Err(Refusal::Conflict);
        }
        let next = present.epoch + 1;
        self.edit_sandbox(sandbox, |sandbox| {
            sandbox.mode = *to;
            sandbox.epoch = next;
            sandbox.busy_until = None;
            sandbox.releasing = None;
            sandbox.woken = (*to == Mode::Running).then_some(now);
        });
        Ok(next)
    }

    /// Marks the Sandbox of this write, in the same PATCH, as put to sleep by the release of that claim.
    pub(crate) fn mark(&mut self, write: &Write, claim: &Uid) {
        if let Write::Mode { sandbox, .. } = write {
            let claim = Arc::clone(claim);
            self.edit_sandbox(sandbox, |sandbox| sandbox.releasing = Some(claim));
        }
    }

    /// The claim, and its UID, whose release has put to sleep what this write is to wake.
    pub(crate) fn released_by(&self, write: &Write) -> Option<(&Name, &Uid)> {
        let Write::Mode { sandbox, .. } = write else {
            return None;
        };
        let present = self.objects.sandboxes.get(sandbox)?;
        let claim = present.claim.as_ref()?;
        let uid = present.releasing.as_ref()?;
        write.wakes().then_some((claim, uid))
    }

    /// POST of the memory of a claim. Answers its UID.
    ///
    /// # Errors
    /// The UID of the one that is there.
    pub(crate) fn remember(
        &mut self,
        name: &Name,
        claim: &Uid,
        epoch: u64,
        now: Instant,
    ) -> Result<Uid, Uid> {
        if let Some(old) = self.objects.released.get(name) {
            return Err(Arc::clone(&old.uid));
        }
        let uid = self.uid("memory");
        let memory = Arc::new(Released {
            uid: Arc::clone(&uid),
            created: now,
            claim: Arc::clone(claim),
            epoch,
        });
        self.objects
            .released
            .insert(Arc::clone(name), Arc::clone(&memory));
        self.untold
            .push_back(Change::Released(Arc::clone(name), Some(memory)));
        Ok(uid)
    }

    /// DELETE of a memory with this UID.
    pub(crate) fn forget(&mut self, name: &Name, uid: &Uid) {
        let memory = self.objects.released.get(name);
        if memory.is_some_and(|memory| memory.uid == *uid) {
            self.objects.released.remove(name);
            self.untold
                .push_back(Change::Released(Arc::clone(name), None));
        }
    }

    /// PATCH of a claim that makes every DELETE of an older version fail, and gives it the epoch of what is
    /// remembered of it: who saw that first must not take the claim for older.
    ///
    /// # Errors
    /// If it is not there, or is another than that.
    pub(crate) fn touch_claim(&mut self, name: &Name, uid: Option<&Uid>) -> Result<(), Refusal> {
        let claim = self.objects.claims.get(name).ok_or(Refusal::NotFound)?;
        if uid.is_some_and(|uid| claim.uid != *uid) {
            return Err(Refusal::Conflict);
        }
        let mut claim = Claim::clone(claim);
        let memory = self.objects.released.get(name);
        claim.epoch = memory.map_or(claim.epoch, |memory| memory.epoch.max(claim.epoch));
        self.put_claim(name, claim);
        Ok(())
    }

    /// DELETE of a claim with preconditions; what it owns goes with it.
    ///
    /// # Errors
    /// If it is not there, or has another UID or version.
    pub(crate) fn delete_claim(
        &mut self,
        name: &Name,
        uid: &Uid,
        version: Option<u64>,
    ) -> Result<(), Refusal> {
        let claim = self.objects.claims.get(name).ok_or(Refusal::NotFound)?;
        let fits = claim.uid == *uid && version.is_none_or(|version| claim.version == version);
        if !fits && version.is_some() {
            return Err(Refusal::Conflict);
        }
        let sandbox = claim.sandbox.clone();
        self.objects.claims.remove(name);
        self.untold.push_back(Change::Claim(Arc::clone(name), None));
        if let Some(sandbox) = sandbox {
            self.drop_sandbox(&sandbox);
        }
        Ok(())
    }

    /// POST of a claim.
    ///
    /// # Errors
    /// If there is one.
    pub(crate) fn create_claim(
        &mut self,
        name: &Name,
        epoch: u64,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.objects.claims.contains_key(name) {
            return Err(Refusal::Conflict);
        }
        let uid = self.uid(name);
        let claim = Claim {
            uid,
            version: 0,
            created: now,
            epoch,
            sandbox: None,
        };
        self.put_claim(name, claim);
        Ok(())
    }
}
