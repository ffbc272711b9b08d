//! One HTTP/1.1 connection of a client: request after request, in one task, with no buffer of its own while it
//! waits.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Uri, Version};
use parking_lot::Mutex;
use reveille_http1::{Fault, Heads, Limits, is_blank};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::connection::IDLE;
use super::{Client, HEARING};
use crate::body::{Body, FromClient, Inbound};
use crate::error::Error;
use crate::proxy::Proxy;
use crate::rescue;
use crate::tunnel::Handover;
use crate::wire::{Outbox, Socket, Wire, fields_of, with_table};

mod answer;

use answer::Answer;

/// How a connection ended.
pub(super) enum Ended {
    /// Nothing more is to be said on it.
    Closed,
    /// The socket belongs to a tunnel now.
    Upgraded,
    /// Its client is gone, or was told by the connection breaking off.
    Broken,
}

/// The connection between two requests.
struct Session<'a> {
    client: &'a Arc<Client>,
    proxy: &'a Proxy,
    inbound: Arc<Mutex<Inbound>>,
    heads: Heads,
    outbox: Outbox,
}

/// A request whose head was read.
struct Begun {
    request: Request<FromClient>,
    persists: bool,
    tunnel: Option<oneshot::Sender<Socket>>,
}

/// Serves the connection, of which `early` was read already; after `shutdown` the request it has is finished,
/// and no more.
pub(super) async fn serve(
    client: &Arc<Client>,
    early: &[u8],
    proxy: &Proxy,
    shutdown: &CancellationToken,
) -> Ended {
    let leaving = proxy.tasks().leaving();
    let unread = async {
        shutdown.cancelled().await;
        client.idle_for(HEARING).await;
    };
    tokio::select! {
        // The answers first: the others find out that their client does not read them.
        biased;
        ended = answers(client, early, proxy, shutdown) => return ended,
        () = client.tether().over(&leaving) => {}
        () = unread => {}
    }
    client.reset();
    Ended::Broken
}

async fn answers(
    client: &Arc<Client>,
    early: &[u8],
    proxy: &Proxy,
    shutdown: &CancellationToken,
) -> Ended {
    let config = proxy.config();
    let limits = Limits {
        head_bytes: config.header_bytes,
        fields: config.header_count,
    };
    let wire = Wire::new(Arc::clone(client.stream()), early);
    let mut session = Session {
        client,
        proxy,
        inbound: Arc::new(Mutex::new(Inbound::new(wire, limits))),
        heads: Heads::new(limits),
        outbox: Outbox::default(),
    };
    let mut is_leaving = false;
    loop {
        let begun = tokio::select! {
            // What has been asked for is answered, also after the shutdown began.
            biased;
            begun = session.next(config.header_read_timeout) => begun,
            () = shutdown.cancelled(), if !is_leaving => {
                is_leaving = true;
                if session.is_idle() {
                    return Ended::Closed;
                }
                continue;
            }
        };
        let begun = match begun {
            Ok(Some(begun)) => begun,
            Ok(None) => return Ended::Closed,
            Err(Unasked::Connection) => return Ended::Broken,
            Err(Unasked::Fault(fault)) => return session.refuse(fault).await,
        };
        let ended = session.answer(begun, shutdown).await;
        if let Some(ended) = ended {
            return ended;
        }
    }
}

/// Why there is no next request.
enum Unasked {
    Connection,
    Fault(Fault),
}

impl Session<'_> {
    /// Whether no byte of a next request has come.
    fn is_idle(&self) -> bool {
        self.inbound.lock().wire.unread().is_empty()
    }

    /// The next request, if there is one. The time for its head begins with its first byte.
    async fn next(&mut self, head_limit: Duration) -> Result<Option<Begun>, Unasked> {
        if let Some(begun) = self.parse()? {
            return Ok(Some(begun));
        }
        if self.is_idle() && !timeout(IDLE, self.read()).await.unwrap_or(Ok(false))? {
            return Ok(None);
        }
        let head = async {
            loop {
                if let Some(begun) = self.parse()? {
                    return Ok(Some(begun));
                }
                if !self.read().await? {
                    return self.parse();
                }
            }
        };
        timeout(head_limit, head)
            .await
            .unwrap_or(Err(Unasked::Connection))
    }

    /// Reads what has come; false at the end of what the client sends.
    async fn read(&self) -> Result<bool, Unasked> {
        let read = poll_fn(|cx| self.inbound.lock().wire.poll_read(cx)).await;
        read.map_err(|_| Unasked::Connection)?;
        Ok(!self.inbound.lock().wire.has_ended())
    }

    fn parse(&mut self) -> Result<Option<Begun>, Unasked> {
        let mut inbound = self.inbound.lock();
        with_table(|table| {
            let (unread, has_ended) = (inbound.wire.unread(), inbound.wire.has_ended());
            let found = self.heads.request(unread, has_ended, table)?;
            let Some((head, framing, length)) = found else {
                if is_blank(inbound.wire.unread()) {
                    let length = inbound.wire.unread().len();
                    inbound.wire.skip(length);
                }
                return Ok(None);
            };
            let mut request = Request::new(FromClient::Nothing);
            *request.method_mut() = Method::from_bytes(head.method.as_bytes())
                .map_err(|_| Fault::Head("the method"))?;
            *request.uri_mut() =
                Uri::try_from(head.target).map_err(|_| Fault::Head("the target"))?;
            *request.version_mut() = match head.version {
                reveille_http1::Version::Http10 => Version::HTTP_10,
                reveille_http1::Version::Http11 => Version::HTTP_11,
            };
            let version = head.version;
            let bytes = inbound.wire.take(length);
            *request.headers_mut() = fields_of(table.fields(&bytes), &bytes)?;
            if framing.drops_length {
                request.headers_mut().remove(http::header::CONTENT_LENGTH);
                if let reveille_http1::Length::Exactly(length) = framing.length {
                    let length = http::HeaderValue::from(length);
                    request
                        .headers_mut()
                        .insert(http::header::CONTENT_LENGTH, length);
                }
            }
            let tunnel = framing.upgrades.then(|| {
                let (handover, tunnel) = Handover::new();
                request.extensions_mut().insert(handover);
                tunnel
            });
            let number = inbound.begin(framing, version);
            *request.body_mut() = FromClient::Http1(Arc::clone(&self.inbound), number);
            Ok(Some(Begun {
                request,
                persists: framing.persists,
                tunnel,
            }))
        })
    }

    /// Answers one request; `None` if another may follow.
    async fn answer(&mut self, begun: Begun, shutdown: &CancellationToken) -> Option<Ended> {
        let Begun {
            request,
            mut persists,
            tunnel,
        } = begun;
        let (method, version) = (request.method().clone(), request.version());
        let serving = Client::serving(self.client);
        // A client that is gone is told nothing.
        let Ok(response) = self.proxy.serve(self.client, request, serving).await else {
            return Some(Ended::Broken);
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Some(self.switch(response, tunnel).await);
        }
        persists &= self.is_read(&response).await && !shutdown.is_cancelled();
        let answer = Answer::begin(response, &method, version, &mut persists, &mut self.outbox);
        if !self.write(answer).await {
            return Some(Ended::Broken);
        }
        let is_over = self.inbound.lock().finish();
        (!persists || !is_over).then_some(Ended::Closed)
    }

    /// Whether all of the request was read: otherwise the next one cannot be found after it.
    async fn is_read(&self, response: &Response<Body>) -> bool {
        // A 100 that is half written goes first; a client that does not take it is seen to in the writing.
        let _ = poll_fn(|cx| self.inbound.lock().poll_interim(cx)).await;
        let mut inbound = self.inbound.lock();
        if response.body().is_own() {
            inbound.finish()
        } else {
            inbound.has_ended()
        }
    }

    /// Writes an answer to its end; false if it broke off.
    async fn write(&mut self, mut answer: Answer) -> bool {
        let (stream, client) = (Arc::clone(self.client.stream()), self.client);
        let outbox = &mut self.outbox;
        let mut writing = std::pin::pin!(poll_fn(|cx| answer.poll(outbox, &stream, cx)));
        tokio::select! {
            biased;
            outcome = writing.as_mut() => match outcome {
                Ok(()) => true,
                Err(error) => {
                    debug!(client = %client.address(), %error, "an answer was not written to its end");
                    false
                }
            },
            () = client.gone() => false,
        }
    }

    async fn switch(
        &mut self,
        response: Response<Body>,
        tunnel: Option<oneshot::Sender<Socket>>,
    ) -> Ended {
        let mut persists = true;
        let answer = Answer::begin(
            response,
            &Method::GET,
            Version::HTTP_11,
            &mut persists,
            &mut self.outbox,
        );
        if !self.write(answer).await {
            return Ended::Broken;
        }
        let mut inbound = self.inbound.lock();
        let unread = inbound.wire.unread().len();
        let socket = Socket::new(Arc::clone(inbound.wire.stream()), inbound.wire.take(unread));
        // Whoever waits for it may have been cut.
        let _ = tunnel.map(|tunnel| tunnel.send(socket));
        Ended::Upgraded
    }

    /// Answers what is no request, after which no other can be found.
    async fn refuse(&mut self, fault: Fault) -> Ended {
        if fault == Fault::Truncated {
            return Ended::Broken;
        }
        let response = rescue::respond(&Error::Http1(fault), None, Version::HTTP_11, false);
        let mut persists = false;
        let answer = Answer::begin(
            response,
            &Method::GET,
            Version::HTTP_11,
            &mut persists,
            &mut self.outbox,
        );
        if self.write(answer).await {
            Ended::Closed
        } else {
            Ended::Broken
        }
    }
}

impl From<Fault> for Unasked {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
