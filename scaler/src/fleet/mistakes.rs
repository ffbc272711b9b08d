//! What users wrote and Reveille cannot follow. The leader tells of it, once per change.

use reveille_crds::SandboxKey;
use reveille_crds::index::Target;
use reveille_scaler_core::budget::Class;
use tracing::warn;

use super::Fleet;
use super::doing::Job;
use crate::apply::{Event, Severity};
use crate::policy::Mistake;

impl Fleet {
    /// Annotations of a Sandbox.
    pub(super) fn see_annotations(&mut self, target: &Target) {
        if !self.led {
            return;
        }
        let (Some((_, facts)), Some(entry)) = (&target.sandbox, self.entries.get_mut(&target.key))
        else {
            return;
        };
        if entry.misread == facts.misread {
            return;
        }
        entry.misread.clone_from(&facts.misread);
        if let Some(misread) = &facts.misread {
            let key = &target.key;
            warn!(sandbox = %key, "an annotation of {key} cannot be followed: {misread}");
            let words = ("InvalidAnnotation", "Read");
            self.publish(key, Severity::Warning, words, misread.to_string());
        }
    }

    /// A claim that something else makes again whenever it is released: that is written on it, so that it holds
    /// for whoever leads later.
    pub(super) fn see_made_again(&mut self, key: &SandboxKey) {
        let Some(entry) = self.entries.get_mut(key).filter(|_| self.led) else {
            return;
        };
        let claim = entry.machine.view().claim.as_ref();
        let is_news = entry.machine.is_made_again() && !entry.keeping_bound;
        if let Some(uid) = claim.filter(|_| is_news).map(|claim| claim.uid.clone()) {
            entry.keeping_bound = true;
            let claim = key.clone();
            self.budget
                .push(Class::Status, Job::KeepBound { claim, uid });
        }
    }

    /// The same of all, for a leader who is new.
    pub(super) fn see_all_annotations(&mut self) {
        let keys: Vec<SandboxKey> = self.entries.keys().cloned().collect();
        for key in keys {
            self.see_made_again(&key);
            if let Some(target) = self.index.target(&key) {
                self.see_annotations(&target);
            }
        }
    }

    /// A policy.
    pub(super) fn tell_mistake(&mut self, policy: &SandboxKey, mistake: Mistake) {
        let Mistake {
            reason, message, ..
        } = mistake;
        warn!(%policy, reason, "the policy {policy} is not followed as it was meant: {message}");
        let uid = self
            .index
            .policies()
            .get(policy)
            .map(|facts| facts.uid.clone());
        if let Some(uid) = uid {
            self.publish_event(Event::of_policy(policy, &uid, reason, message));
        }
    }
}
