//! The life of a pod, as all connections to it share it: once the watch has shown it gone for longer than
//! its processes had to end, nothing on them waits any longer.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::rt::Executor;
use nix::sys::socket::{Shutdown, shutdown};
use parking_lot::Mutex;
use reveille_activator_core::life::over_at;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::server::Tasks;
use crate::slot::now;

/// Held by each connection to one pod; the pool knows it for as long as there is one.
#[derive(Debug, Default)]
pub(crate) struct Life {
    over: CancellationToken,
    is_leaving: AtomicBool,
    /// The sockets that are read by whoever has an exchange on them; one that was closed stays until the next
    /// ones need its place.
    streams: Mutex<Vec<Weak<TcpStream>>>,
}

impl Life {
    /// Completes when the pod counts as dead, whatever its connections say. Cancel-safe.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Socket this socket with the life.
    pub(super) fn hold(&self, stream: &Arc<TcpStream>) {
        let mut streams = self.streams.lock();
        if streams.len() == streams.capacity() {
            streams.retain(|stream| stream.strong_count() > 0);
        }
        streams.push(Arc::downgrade(stream));
    }

    fn end(&self) {
        self.over.cancel();
        for stream in self
            .streams
            .lock()
            .drain(..)
            .filter_map(|stream| stream.upgrade())
        {
            // One that is closed already is at its end.
            let _ = shutdown(stream.as_raw_fd(), Shutdown::Both);
        }
    }

    /// Socket the life that much later, unless its connections end first. To be awaited once: `None` if
    /// somebody does already.
    pub(super) fn leave(self: Arc<Self>, grace: Duration) -> Option<impl Future<Output = ()>> {
        if self.is_leaving.swap(true, Ordering::Relaxed) {
            return None;
        }
        let life = Arc::downgrade(&self);
        let over = over_at(now(), grace);
        Some(async move {
            tokio::time::sleep_until(over.into()).await;
            if let Some(life) = life.upgrade() {
                life.end();
            }
        })
    }
}

/// Runs what a connection consists of for as long as its pod is there.
#[derive(Clone)]
pub(super) struct Living {
    life: Arc<Life>,
    tasks: Tasks,
}

impl Living {
    pub(super) fn new(life: &Arc<Life>, tasks: &Tasks) -> Self {
        let (life, tasks) = (Arc::clone(life), tasks.clone());
        Self { life, tasks }
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let life = Arc::clone(&self.life);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = future => {}
                () = life.over() => {}
            }
        });
    }
}

impl<F> Executor<F> for Living
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}
