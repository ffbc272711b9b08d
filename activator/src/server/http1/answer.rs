//! One response on its way to an HTTP/1.1 client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{Method, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use hyper::ext::ReasonPhrase;
use reveille_http1::write;
use tokio::net::TcpStream;

use crate::body::{Body, Cut};
use crate::wire::{Coding, Outbox, write_fields};

/// What of a response is still to be written.
pub(super) struct Answer {
    body: Option<Body>,
    coding: Coding,
    failure: Option<Cut>,
}

/// Why a response was not written to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    #[error("the client's connection failed: {0}")]
    Connection(io::Error),
    #[error("the content broke off: {0}")]
    Content(Cut),
}

impl Answer {
    /// Puts the head into the outbox. `persists` says whether the client's request lets its connection go on,
    /// and then whether this response does.
    pub(super) fn begin(
        response: Response<Body>,
        method: &Method,
        version: Version,
        persists: &mut bool,
        outbox: &mut Outbox,
    ) -> Self {
        let (mut parts, body) = response.into_parts();
        let status = parts.status;
        let closes = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
        if parts.headers.get(CONNECTION).is_some_and(closes) {
            parts.headers.remove(CONNECTION);
            *persists = false;
        }
        let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
        let has_none = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let has_length = parts.headers.contains_key(CONTENT_LENGTH);
        let length = body.size_hint().exact().filter(|_| !has_length);
        let mut coding = Coding::Plain;
        let out = outbox.head();
        let reason = parts.extensions.remove::<ReasonPhrase>();
        let usual = status.canonical_reason().unwrap_or_default();
        write::status_line(
            status.as_u16(),
            reason
                .as_ref()
                .map_or(usual.as_bytes(), ReasonPhrase::as_bytes),
            out,
        );
        write_fields(&parts.headers, out);
        match length {
            _ if has_none || has_length => {}
            Some(length) => {
                parts.headers.insert(CONTENT_LENGTH, length.into());
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(parts.headers[CONTENT_LENGTH].as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            None if version == Version::HTTP_11 => {
                coding = Coding::Chunked;
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
            None => *persists = false,
        }
        match (*persists, version) {
            _ if is_switch => {}
            (false, _) => out.extend_from_slice(b"connection: close\r\n"),
            (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, _) => {}
        }
        if !parts.headers.contains_key(DATE) && !is_switch {
            let now = std::time::SystemTime::from(jiff::Timestamp::now());
            out.extend_from_slice(b"date: ");
            out.extend_from_slice(httpdate::fmt_http_date(now).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        let body = Some(body).filter(|_| !has_none);
        Self {
            body,
            coding,
            failure: None,
        }
    }

    /// Writes on; ready when all was written and the body was dropped.
    pub(super) fn poll(
        &mut self,
        outbox: &mut Outbox,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unwritten>> {
        loop {
            let mut is_starving = false;
            if let Some(body) = &mut self.body
                && outbox.takes_content()
            {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => is_starving = true,
                    Poll::Ready(Some(Ok(frame))) => {
                        let is_last = frame.is_trailers() || body.is_end_stream();
                        outbox.put(frame, self.coding, is_last);
                        if is_last {
                            self.body = None;
                        }
                    }
                    Poll::Ready(None) => {
                        outbox.end(self.coding);
                        self.body = None;
                    }
                    // What came before it is still said.
                    Poll::Ready(Some(Err(cut))) => {
                        self.failure = Some(cut);
                        self.body = None;
                    }
                }
            }
            ready!(outbox.poll_flush(stream, cx)).map_err(Unwritten::Connection)?;
            if let Some(cut) = self.failure.take() {
                return Poll::Ready(Err(Unwritten::Content(cut)));
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if is_starving {
                return Poll::Pending;
            }
        }
    }
}
