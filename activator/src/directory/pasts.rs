//! How long the wakes of each policy took, for as long as a target of it is known.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use reveille_activator_core::past::Past;
use reveille_crds::SandboxKey;

/// Policies that are remembered before those without targets are looked for.
const FEW: usize = 64;

/// The past of each policy, shared by the slots that it governs.
#[derive(Default)]
pub(super) struct Pasts {
    /// Of the sandboxes that no policy governs.
    unmanaged: Arc<Mutex<Past>>,
    policies: HashMap<SandboxKey, Weak<Mutex<Past>>>,
    /// Policies that are remembered when those without targets are looked for again.
    most: usize,
}

impl Pasts {
    /// The past of that policy, or of all sandboxes without one.
    pub(super) fn of(&mut self, policy: Option<&SandboxKey>) -> Arc<Mutex<Past>> {
        let Some(policy) = policy else {
            return Arc::clone(&self.unmanaged);
        };
        if let Some(known) = self.policies.get(policy).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::default();
        self.policies.insert(policy.clone(), Arc::downgrade(&new));
        if self.policies.len() > self.most.max(FEW) {
            self.policies.retain(|_, past| past.strong_count() > 0);
            self.most = self.policies.len() * 2;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_without_targets_is_forgotten_and_one_with_targets_keeps_its_past() {
        let mut pasts = Pasts::default();
        let key = |n: usize| SandboxKey::new("agents", &format!("policy-{n}")).unwrap();
        let kept = pasts.of(Some(&key(0)));
        for n in 1..10_000 {
            pasts.of(Some(&key(n)));
        }
        assert!(pasts.policies.len() <= FEW * 2, "{}", pasts.policies.len());
        assert!(Arc::ptr_eq(&kept, &pasts.of(Some(&key(0)))));
        assert!(!Arc::ptr_eq(&kept, &pasts.of(None)));
    }
}
