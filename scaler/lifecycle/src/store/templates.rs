//! Equal pod templates, kept once.
//!
//! A fleet of 10,000 sandboxes has a handful of templates; as JSON trees they would be most of its memory.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Weak};

use reveille_crds::sandbox::PodTemplate;

#[derive(Default)]
pub(super) struct Templates {
    by_hash: HashMap<u64, Vec<Weak<PodTemplate>>>,
    /// Size at which the dead are swept next; doubles with the living, so sweeping is cheap on average.
    sweep_at: usize,
}

impl Templates {
    pub(super) fn share(&mut self, template: PodTemplate) -> Arc<PodTemplate> {
        let mut hasher = DefaultHasher::new();
        // A template that does not serialize hashes as empty: slower, not wrong.
        hasher.write(&serde_json::to_vec(&template).unwrap_or_default());
        let same = self.by_hash.entry(hasher.finish()).or_default();
        if let Some(known) = same
            .iter()
            .filter_map(Weak::upgrade)
            .find(|known| **known == template)
        {
            return known;
        }
        let shared = Arc::new(template);
        same.push(Arc::downgrade(&shared));
        if self.by_hash.len() > self.sweep_at {
            for weak in self.by_hash.values_mut() {
                weak.retain(|template| template.strong_count() > 0);
            }
            self.by_hash.retain(|_, weak| !weak.is_empty());
            self.sweep_at = (self.by_hash.len() * 2).max(64);
        }
        shared
    }
}
