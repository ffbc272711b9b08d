//! How often the log says the same: what a stranger can repeat is said once in a while, with how many more
//! there were.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Between two lines of one kind.
const EVERY: Duration = Duration::from_secs(1);

/// Remembers when each kind was said last. Kinds are few and never forgotten: no value of a stranger is one.
#[derive(Debug)]
pub struct Sparing<K> {
    kinds: HashMap<K, Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    held_back: u64,
}

impl<K> Default for Sparing<K> {
    fn default() -> Self {
        Self {
            kinds: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Sparing<K> {
    /// Whether to say it now, and how many of its kind were held back since the last time.
    pub fn say(&mut self, kind: K, now: Instant) -> Option<u64> {
        let Some(said) = self.kinds.get_mut(&kind) else {
            let first = Said {
                at: now,
                held_back: 0,
            };
            self.kinds.insert(kind, first);
            return Some(0);
        };
        if now.saturating_duration_since(said.at) < EVERY {
            said.held_back += 1;
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_instant;

    #[test]
    fn each_kind_is_said_once_a_second_with_how_many_more_there_were() {
        let start = any_instant();
        let mut sparing = Sparing::default();
        assert_eq!(sparing.say("a", start), Some(0));
        assert_eq!(sparing.say("b", start), Some(0));
        for millis in 0..999 {
            assert_eq!(
                sparing.say("a", start + Duration::from_millis(millis)),
                None
            );
        }
        let later = start + EVERY;
        assert_eq!(sparing.say("a", later), Some(999));
        assert_eq!(sparing.say("b", later), Some(0));
        assert_eq!(sparing.say("a", later + EVERY), Some(0));
    }
}
