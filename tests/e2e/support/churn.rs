//! Clients that do with a sandbox whatever is done by HTTP, and leave in every way there is.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::http::{open, send};
use crate::support::within;

/// Events without end.
const EVENTS: &str = "/events?n=1000000&interval_ms=5";
/// Clients of each sort at a time.
const CROWD: usize = 5;

/// The clients of one sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Churn {
    /// Where they connect.
    pub(crate) address: SocketAddr,
    /// The sandbox they name.
    pub(crate) host: String,
}

impl Churn {
    /// All of it, on a sandbox that wakes; gives what is still open: a WebSocket that says nothing.
    pub(crate) async fn through(&self) -> WebSocketStream<TcpStream> {
        join_all((0..CROWD).map(|_| self.leaves_at_once())).await;
        join_all((0..CROWD).map(|_| self.asks())).await;
        let streams = join_all((0..CROWD).map(|_| self.listens()));
        let sockets = join_all((0..CROWD).map(|_| self.talks()));
        tokio::join!(streams, sockets, self.multiplexes());
        let url = format!("ws://{}/ws", self.host);
        self.websocket(&url).await
    }

    /// Asks again and again until there is no such sandbox any more; gives how many answers were the agent's.
    pub(crate) async fn to_its_end(&self) -> usize {
        let mut answered = 0;
        loop {
            self.leaves_at_once().await;
            match send(self.address, self.get("/slow?ms=200")).await {
                Ok(reply) if reply.status == 404 => return answered,
                Ok(reply) if reply.status == 200 => answered += 1,
                // Not up yet, or never, or it ended under the request.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn request<B>(&self, method: Method, path: &str, body: B) -> Request<B> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .body(body)
            .unwrap()
    }

    fn get(&self, path: &str) -> Request<Empty<Bytes>> {
        self.request(Method::GET, path, Empty::new())
    }

    /// Gone before there can be an answer.
    async fn leaves_at_once(&self) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", self.host);
        stream.write_all(head.as_bytes()).await.unwrap();
    }

    async fn asks(&self) {
        let body = Full::<Bytes>::from(vec![b'x'; 10_000]);
        let post = self.request(Method::POST, "/upload", body);
        send(self.address, post).await.unwrap().ok();
    }

    /// One stream to its end, one that its client leaves.
    async fn listens(&self) {
        let short = self.get("/events?n=3&interval_ms=5");
        send(self.address, short).await.unwrap().ok();
        let long = open(self.address, self.get(EVENTS));
        let mut events = within("the head", long).await.unwrap();
        for _ in 0..3 {
            within("an event", events.frame()).await.unwrap().unwrap();
        }
    }

    /// One socket that is closed, one that its client drops.
    async fn talks(&self) {
        let url = format!("ws://{}/ws", self.host);
        for is_closed in [true, false] {
            let mut socket = self.websocket(&url).await;
            socket.send(Message::text("hello")).await.unwrap();
            let echo = within("an echo", socket.next()).await.unwrap().unwrap();
            assert_eq!(echo, Message::text("hello"));
            if is_closed {
                socket.close(None).await.unwrap();
                while within("the close", socket.next()).await.is_some() {}
            }
        }
    }

    async fn websocket(&self, url: &str) -> WebSocketStream<TcpStream> {
        let request = url.into_client_request().unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let opening = tokio_tungstenite::client_async(request, stream);
        within("a WebSocket", opening).await.unwrap().0
    }

    /// A connection of h2: some requests, a stream that is reset, and a call of gRPC to a method that the
    /// agent does not have.
    async fn multiplexes(&self) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let ask = |path: &str, kind: &str| {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("http://{}{path}", self.host))
                .header("content-type", kind)
                .body(Empty::<Bytes>::new())
                .unwrap();
            let mut sender = sender.clone();
            async move { sender.send_request(request).await.unwrap() }
        };
        let asked = (0..CROWD).map(|_| async {
            let response = ask("/upload", "text/plain").await;
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        });
        within("answers over h2", join_all(asked)).await;
        let get = Request::get(format!("http://{}{EVENTS}", self.host));
        let get = get.body(Empty::<Bytes>::new()).unwrap();
        let mut events = sender.clone().send_request(get).await.unwrap();
        within("an event", events.frame()).await.unwrap().unwrap();
        drop(events);
        let call = within("an answer to a call", ask("/a.B/C", "application/grpc")).await;
        call.into_body().collect().await.unwrap();
        drop(sender);
        connection.abort();
    }
}
