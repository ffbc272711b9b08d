//! Agents: HTTP servers in the test, and raw ones that answer with whatever bytes the test wants.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

pub(crate) type AgentBody = BoxBody<Bytes, hyper::Error>;

/// A listening agent; ends when dropped.
pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    pub(crate) h2c: bool,
    /// Connections it has accepted.
    pub(crate) accepted: Arc<AtomicUsize>,
    /// Requests it has seen.
    pub(crate) served: Arc<AtomicUsize>,
    /// Exchanges whose response was given up by the other side.
    pub(crate) aborted: watch::Receiver<usize>,
    /// Lets `/sse` send its second event.
    pub(crate) second_event: Arc<Notify>,
    serving: JoinHandle<()>,
}

/// A port that refuses connections until the socket listens, and that nobody else gets.
pub(crate) fn silent() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

impl Agent {
    /// Answers by path; see [`answer`].
    pub(crate) async fn start() -> Self {
        Self::on(listener().await, false)
    }

    pub(crate) async fn h2c() -> Self {
        Self::on(listener().await, true)
    }

    pub(crate) fn on(listener: TcpListener, h2c: bool) -> Self {
        let second_event = Arc::new(Notify::new());
        let more = Arc::clone(&second_event);
        let served = Arc::new(AtomicUsize::new(0));
        let (abort, aborted) = watch::channel(0);
        let (counter, abort) = (Arc::clone(&served), Arc::new(abort));
        let mut agent = Self::raw_on(listener, move |stream| {
            let (counter, abort) = (Arc::clone(&counter), Arc::clone(&abort));
            let more = Arc::clone(&more);
            async move {
                let service = service_fn(move |request| {
                    counter.fetch_add(1, Ordering::SeqCst);
                    answer(request, Arc::clone(&abort), Arc::clone(&more))
                });
                let io = TokioIo::new(stream);
                let _ = if h2c {
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await
                } else {
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service)
                        .with_upgrades()
                        .await
                };
            }
        });
        (agent.h2c, agent.served, agent.aborted) = (h2c, served, aborted);
        agent.second_event = second_event;
        agent
    }

    /// Answers every request so, in h2 or HTTP/1.1.
    pub(crate) async fn answering(
        h2c: bool,
        answer: impl Fn(Request<Incoming>) -> Response<AgentBody> + Clone + Send + 'static,
    ) -> Self {
        let mut agent = Self::raw(move |stream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    std::future::ready(Ok::<_, Infallible>(answer(request)))
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        })
        .await;
        agent.h2c = h2c;
        agent
    }

    /// Hands every connection to `serve`.
    pub(crate) async fn raw<F, Fut>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::raw_on(listener().await, serve)
    }

    fn raw_on<F, Fut>(listener: TcpListener, serve: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream));
            }
        });
        let (_, aborted) = watch::channel(0);
        Self {
            address,
            h2c: false,
            accepted,
            served: Arc::default(),
            aborted,
            second_event: Arc::default(),
            serving,
        }
    }

    /// Reads one head and answers with these bytes, then closes; for every connection.
    pub(crate) async fn canned(response: &'static str) -> Self {
        Self::raw(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(response.as_bytes()).await;
        })
        .await
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Reads up to the end of a request's head, and returns it.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// What an agent of the test says, by path.
async fn answer(
    mut request: Request<Incoming>,
    abort: Arc<watch::Sender<usize>>,
    more: Arc<Notify>,
) -> Result<Response<AgentBody>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/echo" => Response::new(request.into_body().boxed()),
        "/count" => {
            let body = request.into_body().collect().await;
            let text = body.map_or_else(
                |error| format!("error {error}"),
                |body| body.to_bytes().len().to_string(),
            );
            text_response(text)
        }
        "/trailers" => {
            let body = request.into_body().collect().await.unwrap();
            let seen = body.trailers().and_then(|map| map.get("x-check")).cloned();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-answer", seen.unwrap_or(HeaderValue::from_static("none")));
            let frames = [
                Ok(Frame::data(Bytes::from("body"))),
                Ok(Frame::trailers(trailers)),
            ];
            let body = StreamBody::new(stream::iter(frames));
            Response::builder()
                .header("trailer", "x-answer")
                .body(BodyExt::boxed(body))
                .unwrap()
        }
        "/sse" => sse(more),
        "/hang" => {
            let _given_up = GivenUp(abort);
            std::future::pending::<()>().await;
            unreachable!()
        }
        "/say" => said(&request),
        "/unread" => text_response("not read".to_owned()),
        "/busy" => {
            let mut response = text_response("busy".to_owned());
            response
                .headers_mut()
                .insert("x-reveille-busy-for", HeaderValue::from_static("60"));
            response
        }
        "/nothing" => {
            let mut response = text_response(String::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        "/teapot" => {
            let mut response = text_response("no socket here".to_owned());
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        }
        "/upgrade" => {
            let seen = request.headers().get("upgrade").cloned();
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let io = TokioIo::new(upgrade.await.unwrap());
                let (mut reads, mut writes) = tokio::io::split(io);
                let _ = tokio::io::copy(&mut reads, &mut writes).await;
                let _ = writes.write_all(b"bye").await;
                let _ = writes.shutdown().await;
            });
            let mut response = text_response(String::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response
                .headers_mut()
                .insert("connection", HeaderValue::from_static("upgrade"));
            response.headers_mut().insert("upgrade", seen.unwrap());
            for (name, copy) in [("host", "x-seen-host"), ("origin", "x-seen-origin")] {
                if let Some(value) = request.headers().get(name) {
                    let value = value.clone();
                    response.headers_mut().insert(copy, value);
                }
            }
            response
        }
        _ => mirror(&request),
    })
}

/// An answer whose head is what the query says: `name=value&…`, with `{host}` for the `Host` it was sent.
fn said(request: &Request<Incoming>) -> Response<AgentBody> {
    let host = request.headers().get("host").cloned();
    let host = host.map(|host| host.to_str().unwrap().to_owned());
    let host = host.or_else(|| request.uri().authority().map(ToString::to_string));
    let mut response = text_response(String::new());
    for pair in request.uri().query().unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        let value = value.replace("{host}", host.as_deref().unwrap_or_default());
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        response
            .headers_mut()
            .append(name, HeaderValue::from_str(&value).unwrap());
    }
    response
}

struct GivenUp(Arc<watch::Sender<usize>>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}

/// The request as the agent sees it: request line and one line per header.
fn mirror(request: &Request<Incoming>) -> Response<AgentBody> {
    let mut text = format!(
        "{} {} {:?}\n",
        request.method(),
        request.uri(),
        request.version()
    );
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text_response(text)
}

fn text_response(text: String) -> Response<AgentBody> {
    Response::new(
        Full::new(Bytes::from(text))
            .map_err(|never| match never {})
            .boxed(),
    )
}

/// Two events, the second when it may come.
fn sse(more: Arc<Notify>) -> Response<AgentBody> {
    let (sender, receiver) = mpsc::channel::<&'static str>(1);
    tokio::spawn(async move {
        let _ = sender.send("data: one\n\n").await;
        more.notified().await;
        let _ = sender.send("data: two\n\n").await;
    });
    let events = stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    let body =
        StreamBody::new(events.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))));
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(BodyExt::boxed(body))
        .unwrap()
}
