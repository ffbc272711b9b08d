//! Connections to pods, kept for reuse under the UID of the pod and the address of its port.
//!
//! ```text
//! reuse ─▶ Connection ─ send ─▶ response ─▶ body's last byte ─ release ─▶ idle
//! open ──▶     │                                                            │
//!              └─ died unsent: the request comes back      swept when old, closed, or its pod is gone
//! ```
//! A connection of h2 carries many exchanges; a further one is opened when the server allows no more streams,
//! or when it has left a request unanswered for too long. All connections to a pod end with its [`Life`].
//!
//! The pool is cut into shards, each behind a lock of its own that is held for a few instructions.
//! Connections live in tasks of one tracker; nothing runs per pod.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use crate::dial::{Failure, dial};
use crate::metrics::Counted;
use crate::server::Tasks;
use crate::slot::Endpoint;

mod broken;
mod connection;
mod http1;
mod life;
mod shared;

pub(crate) use broken::{Broken, Unanswered};
pub(crate) use connection::Connection;
use connection::Sender;
pub(crate) use life::Life;

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
    /// Open connections.
    open: Gauge,
    tasks: Tasks,
}

#[derive(Default)]
struct Shard {
    /// Idle connections by pod UID, the latest used at the end.
    idle: HashMap<Arc<str>, Vec<Idle>>,
    /// Pods with connections, by UID.
    lives: HashMap<Arc<str>, Weak<Life>>,
}

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
    /// Without connections; `open` tells how many there are.
    pub(crate) fn new(open: Gauge) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            idle: AtomicUsize::new(0),
            open,
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
        let idle = shard.idle.get_mut(&endpoint.pod)?;
        let mut found = None;
        for at in (0..idle.len()).rev() {
            let one = &mut idle[at];
            if one.address != endpoint.address || one.sender.is_shared() != endpoint.h2c {
                continue;
            }
            if one.sender.is_closed() {
                idle.remove(at);
                self.idle.fetch_sub(1, Ordering::Relaxed);
            } else if one.sender.is_shared() {
                let Some(shared) = one.sender.join() else {
                    continue;
                };
                one.since = now;
                found = Some((shared, one.name.clone()));
                break;
            } else if now - one.since > oldest {
                break;
            } else {
                let one = idle.remove(at);
                self.idle.fetch_sub(1, Ordering::Relaxed);
                found = Some((one.sender, one.name));
                break;
            }
        }
        let life = shard.lives.get(&endpoint.pod).and_then(Weak::upgrade);
        drop(shard);
        let ((sender, name), life) = (found?, life?);
        Some(Connection::new(self, endpoint, sender, name, life))
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
        // Before the dial: a pod that leaves meanwhile must find this connection.
        let life = self.life(&endpoint.pod);
        // In a tunnel an end may leave unread what it likes.
        let silence = Some(endpoint.silence).filter(|_| !is_upgrade);
        let stream = dial(endpoint.address, silence).await?;
        let counted = Counted::on(&self.open);
        // An upgrade is a thing of HTTP/1.1; servers of h2c speak that as well.
        let speaks_h2 = endpoint.h2c && !is_upgrade;
        let mut sender = if speaks_h2 {
            Sender::http2(stream, &life, &self.tasks, counted)
                .await
                .map_err(Failure::Refused)?
        } else {
            Sender::http1(stream, &life, counted)
        };
        let name = Name::of(endpoint.address);
        if let Some(mine) = sender.join() {
            let shared = std::mem::replace(&mut sender, mine);
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
        let took = started.elapsed();
        let connection = Connection::new(self, endpoint, sender, name, life);
        Ok(connection.opened(took))
    }

    /// Forgets the idle connections of a pod that is the target's no more.
    pub(crate) fn drop_pod(&self, pod: &Arc<str>) {
        let gone = self.shard(pod).lock().idle.remove(pod);
        self.idle
            .fetch_sub(gone.map_or(0, |gone| gone.len()), Ordering::Relaxed);
    }

    /// The watch has shown a pod deleted, or on its way out: what is still on its connections when `grace` is
    /// over ends. Its node may be dead and never say so.
    pub(crate) fn leave(&self, pod: &Arc<str>, grace: Duration) {
        let life = self
            .shard(pod)
            .lock()
            .lives
            .get(pod)
            .and_then(Weak::upgrade);
        if let Some(leaving) = life.and_then(|life| life.leave(grace)) {
            self.tasks.spawn(leaving);
        }
    }

    fn life(&self, pod: &Arc<str>) -> Arc<Life> {
        let mut shard = self.shard(pod).lock();
        if let Some(life) = shard.lives.get(pod).and_then(Weak::upgrade) {
            return life;
        }
        let life = Arc::new(Life::default());
        shard.lives.insert(Arc::clone(pod), Arc::downgrade(&life));
        life
    }

    /// Closes what was not used for long, until dropped.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = Instant::now();
            for shard in &self.shards {
                let mut shard = shard.lock();
                self.retain(&mut shard, |one| {
                    !one.sender.is_closed() && now - one.since <= IDLE_FOR
                });
                shard.lives.retain(|_, life| life.strong_count() > 0);
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
        let idle = shard.idle.entry(Arc::clone(pod)).or_default();
        let same = || idle.iter().filter(|other| other.address == one.address);
        // Past the limits the connection is dropped, which closes it. The total may be passed by as many
        // as there are threads, since it is counted outside the other shards' locks.
        let is_needless = one.sender.is_shared() && same().any(|other| other.sender.has_room());
        if is_needless
            || same().count() >= IDLE_PER_PORT
            || self.idle.load(Ordering::Relaxed) >= IDLE_TOTAL
            || self.tasks.is_closed()
        {
            return;
        }
        idle.push(one);
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    fn retain(&self, shard: &mut Shard, mut keep: impl FnMut(&mut Idle) -> bool) {
        let mut removed = 0;
        shard.idle.retain(|_, idle| {
            let before = idle.len();
            idle.retain_mut(&mut keep);
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
