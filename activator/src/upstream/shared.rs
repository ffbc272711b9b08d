//! An h2 connection that many exchanges use at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::client::conn::http2::{Connection, SendRequest};
use hyper::rt::{Read, Write};

use super::life::Living;
use crate::body::RequestBody;

/// Streams that a server is taken to allow until it has said how many (RFC 9113 §6.5.2 recommends no fewer).
const STREAMS: usize = 100;

/// One handle of the connection.
pub(crate) struct Shared {
    sender: SendRequest<RequestBody>,
    books: Arc<Books>,
    /// It is one of the counted exchanges, not the pool's own handle.
    counts: bool,
}

struct Books {
    /// Exchanges that have a handle.
    exchanges: AtomicUsize,
    /// Streams that the server allows at a time.
    most: AtomicUsize,
    /// It left a request unanswered for too long: it takes no new ones.
    is_retired: AtomicBool,
}

impl Shared {
    pub(super) fn new(sender: SendRequest<RequestBody>) -> Self {
        let books = Arc::new(Books {
            exchanges: AtomicUsize::new(0),
            most: AtomicUsize::new(STREAMS),
            is_retired: AtomicBool::new(false),
        });
        Self {
            sender,
            books,
            counts: false,
        }
    }

    /// Drives the connection, and notes with each request how many streams the server allows.
    pub(super) fn drive<T>(
        &self,
        mut connection: Connection<T, RequestBody, Living>,
    ) -> impl Future<Output = hyper::Result<()>> + use<T>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let books = Arc::clone(&self.books);
        std::future::poll_fn(move |cx| {
            let outcome = Pin::new(&mut connection).poll(cx);
            books
                .most
                .store(connection.current_max_send_streams(), Ordering::Relaxed);
            outcome
        })
    }

    /// A handle for one more exchange, if there is room for it.
    pub(super) fn join(&self) -> Option<Self> {
        let most = self.books.most.load(Ordering::Relaxed);
        let take = |taken| (taken < most).then_some(taken + 1);
        self.books
            .exchanges
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        Some(Self {
            sender: self.sender.clone(),
            books: Arc::clone(&self.books),
            counts: true,
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.books.exchanges.load(Ordering::Relaxed) < self.books.most.load(Ordering::Relaxed)
    }

    /// New exchanges take another connection; those that have this one keep it.
    pub(super) fn retire(&self) {
        self.books.is_retired.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.books.is_retired.load(Ordering::Relaxed)
    }

    pub(super) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.sender
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.counts {
            self.books.exchanges.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
