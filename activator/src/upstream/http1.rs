//! An HTTP/1.1 connection to a pod, driven by the exchange that has it: no task of its own, and no buffer while
//! nothing is on its way.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use reveille_http1::{Asked, Fault, Framing, Heads, Length, Limits, write};
use tokio::net::TcpStream;

use super::Life;
use super::broken::{Broken, Unanswered};
use crate::body::RequestBody;
use crate::metrics::Counted;
use crate::wire::{
    Coding, Outbox, Read, Reading, Socket, Wire, fields_of, with_table, write_fields,
};

/// What the head of a response, or its trailers, may be.
const LIMITS: Limits = Limits {
    head_bytes: 128 * 1024,
    fields: 100,
};

/// One connection, and the exchange on it.
pub(crate) struct Http1 {
    wire: Wire,
    outbox: Outbox,
    coding: Coding,
    /// Content of the request was taken from its client.
    has_taken: bool,
    /// Nothing more of the request is to be put into the outbox.
    has_all: bool,
    /// What is left of the request when its response has begun.
    upload: Option<RequestBody>,
    asked: Asked,
    heads: Heads,
    reading: Reading,
    persists: bool,
    /// Kept known for as long as there is a connection.
    _life: Arc<Life>,
    _counted: Counted,
}

impl Http1 {
    pub(super) fn new(stream: Arc<TcpStream>, life: &Arc<Life>, counted: Counted) -> Self {
        life.hold(&stream);
        Self {
            wire: Wire::new(stream, &[]),
            outbox: Outbox::default(),
            coding: Coding::Plain,
            has_taken: false,
            has_all: true,
            upload: None,
            asked: Asked::Other,
            heads: Heads::new(LIMITS),
            reading: Reading::of(Length::Exactly(0), LIMITS),
            persists: true,
            _life: Arc::clone(life),
            _counted: counted,
        }
    }

    /// Whether the pod has neither closed it nor said anything that nobody asked for.
    pub(super) fn is_idle(&mut self) -> bool {
        self.wire.is_quiet()
    }

    /// Whether it can carry another exchange: both messages went over it to their last byte.
    pub(super) fn is_free(&self) -> bool {
        self.persists
            && self.reading.has_ended()
            && self.has_all
            && self.outbox.is_empty()
            && self.wire.unread().is_empty()
            && !self.wire.has_ended()
    }

    /// Sends one request and waits for the head of its response.
    ///
    /// # Errors
    /// If the connection ends before there is one.
    pub(super) async fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<()>, Unanswered> {
        if !self.is_idle() {
            let why = match self.wire.unread() {
                [] => Broken::Closed,
                _ => Broken::Unasked,
            };
            return Err(Unanswered::unsent(request, why));
        }
        let before = self.outbox.written();
        self.begin(&request);
        let outcome = poll_fn(|cx| self.poll_answer(request.body_mut(), cx)).await;
        match outcome {
            Ok(response) => {
                let body = request.into_body();
                // A sandbox that answers before it has agreed to the content does not want it.
                if !self.is_sent() && !body.awaits_agreement() {
                    self.upload = Some(body);
                }
                Ok(response)
            }
            Err(error) if self.outbox.written() == before && !self.has_taken => {
                Err(Unanswered::unsent(request, error))
            }
            Err(error) => Err(Unanswered::sent(error)),
        }
    }

    /// The next piece of the response's content.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(mut upload) = self.upload.take() {
            match self.poll_upload(&mut upload, cx) {
                Poll::Pending => self.upload = Some(upload),
                Poll::Ready(Ok(())) => {}
                // A server that has answered need not read on.
                Poll::Ready(Err(_)) => self.persists = false,
            }
        }
        loop {
            match self.reading.next(&mut self.wire) {
                Err(fault) => return Poll::Ready(Some(Err(fault.into()))),
                Ok(Read::End) => return Poll::Ready(None),
                Ok(Read::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Read::Wait) => {
                    if let Err(error) = ready!(self.wire.poll_read(cx)) {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.reading.has_ended()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.reading.size_hint()
    }

    /// What it is once it has left HTTP.
    pub(super) fn into_socket(self) -> Socket {
        self.wire.into_socket()
    }

    /// Writes the head, and decides how the content goes.
    fn begin(&mut self, request: &Request<RequestBody>) {
        let (method, body) = (request.method(), request.body());
        self.asked = if *method == Method::HEAD {
            Asked::Head
        } else {
            Asked::Other
        };
        self.heads = Heads::new(LIMITS);
        self.has_taken = false;
        self.has_all = body.is_end_stream();
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let out = self.outbox.head();
        write::request_line(method.as_str(), target, out);
        write_fields(request.headers(), out);
        let has_length = request.headers().contains_key(CONTENT_LENGTH);
        let length = body.size_hint().exact().filter(|_| !has_length);
        self.coding = Coding::Plain;
        match length {
            _ if has_length => {}
            Some(0) if matches!(*method, Method::GET | Method::HEAD) => {}
            Some(length) => write_length(length, out),
            None => {
                self.coding = Coding::Chunked;
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn is_sent(&self) -> bool {
        self.has_all && self.outbox.is_empty()
    }

    fn poll_answer(
        &mut self,
        body: &mut RequestBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Broken>> {
        loop {
            let deaf = match self.poll_upload(body, cx) {
                Poll::Ready(Err(error @ Broken::Client(_))) => return Poll::Ready(Err(error)),
                // It may have answered before it stopped to read.
                Poll::Ready(Err(error)) => Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => None,
            };
            match self.head(body, cx) {
                Ok(None) => match ready!(self.wire.poll_read(cx)) {
                    Ok(()) => {}
                    Err(error) => return Poll::Ready(Err(deaf.unwrap_or_else(|| error.into()))),
                },
                Ok(Some(None)) => {}
                Ok(Some(Some(response))) => {
                    self.persists &= deaf.is_none();
                    return Poll::Ready(Ok(response));
                }
                Err(Fault::Truncated) if self.wire.unread().is_empty() => {
                    return Poll::Ready(Err(deaf.unwrap_or(Broken::Closed)));
                }
                Err(fault) => return Poll::Ready(Err(fault.into())),
            }
        }
    }

    /// A head, if there is a whole one: nothing in it if it is an interim one.
    fn head(
        &mut self,
        body: &mut RequestBody,
        cx: &mut Context<'_>,
    ) -> Result<Option<Option<Response<()>>>, Fault> {
        with_table(|table| {
            let (unread, has_ended) = (self.wire.unread(), self.wire.has_ended());
            let found = self.heads.response(self.asked, unread, has_ended, table)?;
            let Some((head, framing, length)) = found else {
                return Ok(None);
            };
            if framing.is_interim(head.status) {
                match head.status {
                    100 => body.agreed(),
                    _ => body.inform(&head, cx),
                }
                self.wire.skip(length);
                return Ok(Some(None));
            }
            let (status, version) = (head.status, head.version);
            let reason = head.reason.as_bytes().to_vec();
            let bytes = self.wire.take(length);
            let headers = fields_of(table.fields(&bytes), &bytes)?;
            self.reading = Reading::of(framing.length, LIMITS);
            self.persists = framing.persists;
            let mut response = Response::new(());
            *response.status_mut() =
                StatusCode::from_u16(status).map_err(|_| Fault::Head("the status"))?;
            *response.version_mut() = match version {
                reveille_http1::Version::Http10 => Version::HTTP_10,
                reveille_http1::Version::Http11 => Version::HTTP_11,
            };
            let is_usual =
                response.status().canonical_reason().map(str::as_bytes) == Some(&*reason);
            if let Ok(reason) = ReasonPhrase::try_from(reason)
                && !is_usual
            {
                response.extensions_mut().insert(reason);
            }
            *response.headers_mut() = framed(headers, framing);
            Ok(Some(Some(response)))
        })
    }

    /// Writes what there is of the request.
    fn poll_upload(
        &mut self,
        body: &mut RequestBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let mut is_starving = false;
            if !self.has_all && self.outbox.takes_content() {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => is_starving = true,
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(Broken::Client(error)));
                    }
                    Poll::Ready(None) => {
                        self.has_all = true;
                        self.outbox.end(self.coding);
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        self.has_taken = true;
                        self.has_all = frame.is_trailers() || body.is_end_stream();
                        self.outbox.put(frame, self.coding, self.has_all);
                    }
                }
            }
            ready!(self.outbox.poll_flush(self.wire.stream(), cx))?;
            if self.has_all {
                return Poll::Ready(Ok(()));
            }
            if is_starving {
                return Poll::Pending;
            }
        }
    }
}

/// The fields without those that framed the message on this hop.
fn framed(mut headers: HeaderMap, framing: Framing) -> HeaderMap {
    headers.remove(TRANSFER_ENCODING);
    if framing.drops_length {
        headers.remove(CONTENT_LENGTH);
        if let Length::Exactly(length) = framing.length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    headers
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a vector does not fail.
    let _ = write!(out, "content-length: {length}\r\n");
}
