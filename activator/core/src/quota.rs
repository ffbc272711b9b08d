//! Rate limits on starting wakes, per caller and per sandbox.
//!
//! Keys come from strangers, so the table is bounded: the key longest unused is forgotten, which gives
//! it a full bucket again. That favours the stranger and never the memory.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// Token buckets by key.
#[derive(Debug)]
pub struct Quota<K: Hash + Eq> {
    per_token: Option<Duration>,
    burst: u32,
    buckets: LruCache<K, Bucket>,
}

/// When the bucket would be full again; one instant says all about it (GCRA, ATM Forum TM 4.0 §4.4).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

/// Too many; a token is there again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// How long to wait.
    pub retry_after: Duration,
}

impl<K: Hash + Eq> Quota<K> {
    /// `per_minute` tokens a minute, at most `burst` saved up; 0 a minute switches the quota off.
    /// At most `keys` are remembered.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32, keys: NonZeroUsize) -> Self {
        let per_token = (per_minute > 0).then(|| Duration::from_secs(60) / per_minute);
        let buckets = if per_token.is_some() {
            LruCache::new(keys)
        } else {
            LruCache::new(NonZeroUsize::MIN)
        };
        Self {
            per_token,
            burst: burst.max(1),
            buckets,
        }
    }

    /// Whether a quota is set at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.per_token.is_some()
    }

    /// Whether `key` has a token left.
    ///
    /// # Errors
    /// If none is left.
    pub fn check(&self, key: &K, now: Instant) -> Result<(), Exhausted> {
        let bucket = self.buckets.peek(key);
        let full_at = bucket.map_or(now, |bucket| bucket.full_at);
        self.after(full_at, now).map(drop)
    }

    /// When a bucket that is full at `full_at` will be, less one token.
    fn after(&self, full_at: Instant, now: Instant) -> Result<Instant, Exhausted> {
        let per_token = self.per_token.unwrap_or_default();
        let next = full_at.max(now) + per_token;
        let depth = per_token * self.burst;
        let missing = next.saturating_duration_since(now).saturating_sub(depth);
        if missing.is_zero() {
            Ok(next)
        } else {
            Err(Exhausted {
                retry_after: missing,
            })
        }
    }

    /// Takes a token of `key`.
    ///
    /// # Errors
    /// If none is left.
    pub fn take(&mut self, key: K, now: Instant) -> Result<(), Exhausted> {
        if self.per_token.is_none() {
            return Ok(());
        }
        let known = self.buckets.get(&key).map_or(now, |bucket| bucket.full_at);
        let full_at = self.after(known, now)?;
        self.buckets.put(key, Bucket { full_at });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_instant;

    const KEYS: NonZeroUsize = NonZeroUsize::new(3).unwrap();

    #[test]
    fn a_burst_passes_then_one_per_interval() {
        let start = any_instant();
        let mut quota = Quota::new(60, 3, KEYS);
        for _ in 0..3 {
            assert_eq!(quota.take("a", start), Ok(()));
        }
        let Err(Exhausted { retry_after }) = quota.take("a", start) else {
            panic!("a fourth passed")
        };
        assert_eq!(retry_after, Duration::from_secs(1));
        assert_eq!(quota.take("b", start), Ok(()), "others are not affected");
        assert_eq!(quota.take("a", start + retry_after), Ok(()));
        assert!(quota.take("a", start + retry_after).is_err());
    }

    #[test]
    fn a_quota_of_zero_is_none() {
        let mut quota = Quota::new(0, 1, KEYS);
        assert!(!quota.is_on());
        assert!((0..1000).all(|_| quota.take("a", any_instant()).is_ok()));
    }

    #[test]
    fn strangers_do_not_grow_the_table() {
        let mut quota = Quota::new(1, 1, KEYS);
        let now = any_instant();
        assert!((0..100_000).all(|n| quota.take(n, now).is_ok()));
        assert_eq!(quota.buckets.len(), KEYS.get());
    }
}
