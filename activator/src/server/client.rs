//! What requests know of the connection they came on, and it of them.
//!
//! Nobody reads from a client while its request waits, so its end would not be seen. The kernel tells of a
//! hang-up apart from data: [`Client::gone`] waits for that alone and reads nothing. A client that has closed
//! its sending side counts as gone: the two cannot be told apart, and an agent is not to be woken, or kept
//! awake, for nobody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::Tether;

/// What requests know of the connection they came on.
pub(crate) struct Client {
    stream: Arc<TcpStream>,
    address: IpAddr,
    /// The address as `X-Forwarded-For` says it.
    forwarded_for: HeaderValue,
    /// Bodies, answers and tunnels of such requests that are not over.
    serving: AtomicUsize,
    since: Instant,
    /// Nanoseconds from `since` to the end of the last one.
    ended: AtomicU64,
    /// Of the exchange that it has in HTTP/1.1.
    tether: Arc<Tether>,
}

impl Client {
    pub(super) fn new(stream: Arc<TcpStream>, peer: SocketAddr) -> Self {
        let address = peer.ip().to_canonical();
        let forwarded_for =
            HeaderValue::from_str(&address.to_string()).expect("an address is a header value");
        Self {
            stream,
            address,
            forwarded_for,
            serving: AtomicUsize::new(0),
            since: Instant::now(),
            ended: AtomicU64::new(0),
            tether: Arc::default(),
        }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) fn forwarded_for(&self) -> &HeaderValue {
        &self.forwarded_for
    }

    /// Completes when the client has hung up. Reads nothing; cancel-safe.
    pub(crate) async fn gone(&self) {
        // PRIORITY stands for the closed read side here: nobody asked the kernel for urgent data, and
        // READABLE would also come true for a body that waits.
        let hung_up = Interest::PRIORITY.add(Interest::ERROR);
        // An error means that the runtime shuts down.
        let _ = self.stream.ready(hung_up).await;
    }

    /// Has the end of the connection be a reset: what was sent is not all, or is not read.
    pub(crate) fn reset(&self) {
        // One that has ended already cannot.
        let _ = self.stream.set_zero_linger();
    }

    pub(super) fn tether(&self) -> &Tether {
        &self.tether
    }

    /// Counts a request whose head was just read.
    pub(super) fn serving(client: &Arc<Self>) -> Serving {
        client.serving.fetch_add(1, Ordering::Relaxed);
        let tether = Tether::of_stream().unwrap_or_else(|| Arc::clone(&client.tether));
        Serving {
            client: Arc::clone(client),
            tether,
        }
    }

    /// Completes when nothing has been asked for or served for that long from now on, whatever else the
    /// client sends.
    pub(super) async fn idle_for(&self, limit: Duration) {
        let asked = Instant::now();
        loop {
            let idle_since = if self.serving.load(Ordering::Acquire) == 0 {
                let ended = Duration::from_nanos(self.ended.load(Ordering::Relaxed));
                asked.max(self.since + ended)
            } else {
                // What ends from now on is not idle for long enough before this is looked at again.
                Instant::now()
            };
            let until = idle_since + limit;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// A request being served; held by each body that it has, and by the tunnel that it becomes.
pub(crate) struct Serving {
    client: Arc<Client>,
    tether: Arc<Tether>,
}

impl Serving {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn tether(&self) -> &Arc<Tether> {
        &self.tether
    }
}

impl Clone for Serving {
    fn clone(&self) -> Self {
        self.client.serving.fetch_add(1, Ordering::Relaxed);
        Self {
            client: Arc::clone(&self.client),
            tether: Arc::clone(&self.tether),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let ended = u64::try_from(self.client.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.client.ended.store(ended, Ordering::Relaxed);
        self.client.serving.fetch_sub(1, Ordering::Release);
    }
}
