//! The content of a request as its client sends it, in either version of HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderName;
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};
use reveille_http1::{Fault, Framing, Length, Limits, ResponseHead, Version, write};

use crate::headers::is_hop_by_hop;
use crate::wire::{Outbox, Read, Reading, Wire};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Where the content of a request comes from.
pub(crate) enum FromClient {
    /// There is none.
    Nothing,
    /// An HTTP/1.1 connection, which reads its next request after this one, and which of its requests this is.
    Http1(Arc<Mutex<Inbound>>, u64),
    /// A stream of h2.
    Http2(Incoming),
}

/// Why the content of a request ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error(transparent)]
    Connection(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Fault),
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    /// The response was over first.
    #[error("the request is over")]
    Over,
}

/// The client's half of an HTTP/1.1 connection.
pub(crate) struct Inbound {
    pub(crate) wire: Wire,
    limits: Limits,
    reading: Reading,
    /// Which request this is.
    number: u64,
    /// Interim responses on their way.
    interim: Outbox,
    /// The client waits for a word before it sends.
    expects: bool,
    /// It knows of interim responses.
    takes_interim: bool,
    /// No more of the content is wanted.
    is_over: bool,
}

impl Inbound {
    pub(crate) fn new(wire: Wire, limits: Limits) -> Self {
        Self {
            wire,
            limits,
            reading: Reading::of(Length::Exactly(0), limits),
            number: 0,
            interim: Outbox::default(),
            expects: false,
            takes_interim: false,
            is_over: true,
        }
    }

    /// A request begins; which one it is.
    pub(crate) fn begin(&mut self, framing: Framing, version: Version) -> u64 {
        self.reading = Reading::of(framing.length, self.limits);
        self.number += 1;
        self.expects = framing.expects_continue;
        self.takes_interim = version == Version::Http11;
        self.is_over = false;
        self.number
    }

    /// Whether all of the request was read.
    pub(crate) fn has_ended(&self) -> bool {
        self.reading.has_ended()
    }

    /// No more of the request is wanted. What has come of it is dropped; whether that was all.
    pub(crate) fn finish(&mut self) -> bool {
        self.is_over = true;
        while !self.reading.has_ended() {
            match self.reading.next(&mut self.wire) {
                Ok(Read::Frame(_)) => {}
                Ok(Read::End) => break,
                Ok(Read::Wait) | Err(_) => return false,
            }
        }
        true
    }

    /// Writes what is left of an interim response.
    pub(crate) fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.interim.poll_flush(self.wire.stream(), cx)
    }

    /// Tells the client what a sandbox says ahead of its response (RFC 9110 §15.2).
    fn inform(&mut self, head: &ResponseHead<'_>, cx: &mut Context<'_>) {
        if self.is_over || !self.takes_interim || !self.interim.takes_content() {
            return;
        }
        let out = self.interim.head();
        write::status_line(head.status, head.reason.as_bytes(), out);
        head.fields.copy(|field| may_inform(field.name), out);
        out.extend_from_slice(b"\r\n");
        // A client that does not take it now gets it with the response.
        let _ = self.poll_interim(cx);
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        loop {
            if self.is_over {
                return Poll::Ready(Some(Err(Lost::Over)));
            }
            match self.reading.next(&mut self.wire) {
                Err(fault) => return Poll::Ready(Some(Err(fault.into()))),
                Ok(Read::End) => return Poll::Ready(None),
                Ok(Read::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Read::Wait) => {
                    if std::mem::take(&mut self.expects) {
                        self.interim.head().extend_from_slice(CONTINUE);
                    }
                    ready!(self.interim.poll_flush(self.wire.stream(), cx))?;
                    ready!(self.wire.poll_read(cx))?;
                }
            }
        }
    }
}

impl FromClient {
    /// Tells the client what a sandbox says ahead of its response; one that speaks h2 is not told, as hyper has
    /// no way to.
    pub(crate) fn inform(&self, head: &ResponseHead<'_>, cx: &mut Context<'_>) {
        if let Self::Http1(inbound, number) = self
            && let Some(mut inbound) = of(inbound, *number)
        {
            inbound.inform(head, cx);
        }
    }
}

/// The connection, if it has not gone on to another request.
fn of(inbound: &Mutex<Inbound>, number: u64) -> Option<MutexGuard<'_, Inbound>> {
    Some(inbound.lock()).filter(|inbound| inbound.number == number)
}

fn may_inform(name: &str) -> bool {
    let name = HeaderName::from_bytes(name.as_bytes());
    name.is_ok_and(|name| !is_hop_by_hop(&name) && name != CONTENT_LENGTH)
}

impl HttpBody for FromClient {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Http1(inbound, number) => match of(inbound, *number) {
                Some(mut inbound) => inbound.poll_frame(cx),
                None => Poll::Ready(Some(Err(Lost::Over))),
            },
            Self::Http2(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Lost::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Http1(inbound, number) => {
                of(inbound, *number).is_none_or(|inbound| inbound.has_ended())
            }
            Self::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Http1(inbound, number) => of(inbound, *number)
                .map_or_else(SizeHint::default, |inbound| inbound.reading.size_hint()),
            Self::Http2(incoming) => incoming.size_hint(),
        }
    }
}
