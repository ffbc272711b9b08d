//! Connections to pods, kept for reuse under the UID of the pod and the address of its port.
//!
//! ```text
//! reuse ─▶ Connection ─ send ─▶ response ─▶ body's last byte ─ release ─▶ idle
//! open ──▶     │                                                            │
//!              └─ died unsent: the request comes back      swept when old, closed, or its pod is gone
//! ```
//! The pool is cut into shards, each behind a lock of its own that is held for a few instructions.
//! Connections live in tasks of one tracker; nothing runs per pod.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::dial::{Failure, dial};
use crate::server::Tasks;
use crate::slot::Endpoint;

mod connection;

use connection::Sender;
pub(crate) use connection::{Connection, Unanswered};

/// Shards of the pool: a power of two well above the number of threads, so that two seldom meet.
const SHARDS: usize = 64;
/// Idle connections kept to one port of one pod: as many as an agent has answered at a time lately.
const IDLE_PER_PORT: usize = 64;
/// Idle connections kept in all, each a file descriptor here and one in the sandbox.
const IDLE_TOTAL: usize = 4096;
/// How long an unused connection is kept.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// How long it may carry a request that cannot be sent twice: below the keep-alive of the servers agents
/// are written with (2 s is the shortest common one), so that it does not meet their closing.
const FRESH_FOR: Duration = Duration::from_millis(1500);
/// Interval of the sweep.
const SWEEP: Duration = Duration::from_secs(5);

/// Whether a request can be repeated, should the connection turn out to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Risk {
    /// It can: any idle connection will do.
    Repeatable,
    /// It cannot: only a connection used a moment ago.
    Once,
}

/// The pool.
pub(crate) struct Upstream {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    idle: AtomicUsize,
    tasks: Tasks,
}

/// Idle connections by pod UID, the latest used at the end.
type Shard = HashMap<Arc<str>, Vec<Idle>>;

struct Idle {
    address: SocketAddr,
    since: Instant,
    sender: Sender,
    name: Name,
}

/// How requests on a connection name the other end.
#[derive(Clone)]
pub(crate) struct Name {
    host: HeaderValue,
    authority: Authority,
}

impl Upstream {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            idle: AtomicUsize::new(0),
            tasks: Tasks::new(),
        }
    }

    /// An idle connection to this endpoint, if there is a live one.
    pub(crate) fn reuse(self: &Arc<Self>, endpoint: &Endpoint, risk: Risk) -> Option<Connection> {
        let oldest = match risk {
            Risk::Repeatable => IDLE_FOR,
            Risk::Once => FRESH_FOR,
        };
        let now = Instant::now();
        let mut shard = self.shard(&endpoint.pod).lock();
        let idle = shard.get_mut(&endpoint.pod)?;
        let mut found = None;
        while found.is_none() {
            let at = idle
                .iter()
                .rposition(|one| one.address == endpoint.address)?;
            if idle[at].sender.is_closed() {
                idle.remove(at);
                self.idle.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            if let Some(shared) = idle[at].sender.share() {
                idle[at].since = now;
                found = Some((shared, idle[at].name.clone()));
            } else if now - idle[at].since > oldest {
                return None;
            } else {
                let one = idle.remove(at);
                self.idle.fetch_sub(1, Ordering::Relaxed);
                found = Some((one.sender, one.name));
            }
        }
        drop(shard);
        found.map(|(sender, name)| Connection::reused(self, endpoint, sender, name))
    }

    /// A new connection to this endpoint.
    ///
    /// # Errors
    /// One refused or unanswered attempt; the caller decides how long to go on.
    pub(crate) async fn open(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        is_upgrade: bool,
    ) -> Result<Connection, Failure> {
        let started = Instant::now();
        let stream = dial(endpoint.address).await?;
        // An upgrade is a thing of HTTP/1.1; servers of h2c speak that as well.
        let speaks_h2 = endpoint.h2c && !is_upgrade;
        let sender = Sender::handshake(stream, speaks_h2, &self.tasks)
            .await
            .map_err(Failure::Refused)?;
        let name = Name::of(endpoint.address);
        if let Some(shared) = sender.share() {
            self.keep(
                &endpoint.pod,
                Idle {
                    address: endpoint.address,
                    since: started,
                    sender: shared,
                    name: name.clone(),
                },
            );
        }
        Ok(Connection::opened(
            self,
            endpoint,
            sender,
            name,
            started.elapsed(),
        ))
    }

    /// Forgets the idle connections of a pod that is gone.
    pub(crate) fn drop_pod(&self, pod: &Arc<str>) {
        let gone = self.shard(pod).lock().remove(pod);
        self.idle
            .fetch_sub(gone.map_or(0, |gone| gone.len()), Ordering::Relaxed);
    }

    /// Closes what was not used for long, until dropped.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = Instant::now();
            for shard in &self.shards {
                self.retain(&mut shard.lock(), |one| {
                    !one.sender.is_closed() && now - one.since <= IDLE_FOR
                });
            }
        }
    }

    /// Closes all idle connections, then those whose requests have been cut.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        for shard in &self.shards {
            self.retain(&mut shard.lock(), |_| false);
        }
        self.tasks.cut().await;
    }

    fn keep(&self, pod: &Arc<str>, one: Idle) {
        let mut shard = self.shard(pod).lock();
        let idle = shard.entry(Arc::clone(pod)).or_default();
        let same = idle
            .iter()
            .filter(|other| other.address == one.address)
            .count();
        // Past the limits the connection is dropped, which closes it. The total may be passed by as many
        // as there are threads, since it is counted outside the other shards' locks.
        let is_shared_already = one.sender.is_shared() && same > 0;
        if is_shared_already
            || same >= IDLE_PER_PORT
            || self.idle.load(Ordering::Relaxed) >= IDLE_TOTAL
            || self.tasks.is_closed()
        {
            return;
        }
        idle.push(one);
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    fn retain(&self, shard: &mut Shard, keep: impl Fn(&Idle) -> bool) {
        let mut removed = 0;
        shard.retain(|_, idle| {
            let before = idle.len();
            idle.retain(&keep);
            removed += before - idle.len();
            !idle.is_empty()
        });
        self.idle.fetch_sub(removed, Ordering::Relaxed);
    }

    fn shard(&self, pod: &Arc<str>) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(&**pod);
        // The low bits pick; SHARDS is a power of two.
        &self.shards[usize::try_from(hash & (SHARDS as u64 - 1)).unwrap_or(0)]
    }
}

impl Name {
    fn of(address: SocketAddr) -> Self {
        let text = address.to_string();
        Self {
            host: HeaderValue::from_str(&text).expect("a socket address is a header value"),
            authority: text.parse().expect("a socket address is an authority"),
        }
    }
}

#[cfg(test)]
mod tests;
