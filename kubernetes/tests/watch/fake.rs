//! An API server of few words: discovery, lists in pages, watches, and every way in which these go wrong.
//!
//! It speaks HTTP on loopback, so that what is tested includes the client, its connections and its
//! reading of a stream. What it does not know is whatever these tests do not need: writes come from the
//! test itself, schemas and accounts there are none.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use store::{Kind, Refusal, Store};

pub(crate) mod query;
pub(crate) mod store;
mod stream;

/// A refusal that is never even said.
pub(crate) const MUTE: u16 = 0;

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// The server. Dropping it ends it.
pub(crate) struct Fake {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Bound and not listening: nobody else gets the port while the server is away. With `SO_REUSEADDR` on
    /// both, a listener can still have it.
    _held: TcpSocket,
    /// Ends the listener and every connection.
    life: CancellationToken,
    serving: JoinHandle<()>,
}

struct Shared {
    store: Mutex<Store>,
    /// Bumped whenever a watch may have something to send.
    news: watch::Sender<u64>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}

impl Fake {
    /// One that serves all five kinds, upstream's as `v1beta1`.
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new()),
            news: watch::Sender::new(0),
        });
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let life = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared), life.clone()));
        Self {
            shared,
            address,
            _held: held,
            life,
            serving,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing listens any more, and every connection is cut.
    pub(crate) fn stop(&mut self) {
        self.life.cancel();
    }

    /// Listens again where it did.
    pub(crate) async fn start_again(&mut self) {
        (&mut self.serving).await.unwrap();
        self.life = CancellationToken::new();
        let listener = TcpListener::bind(self.address).await.unwrap();
        let serving = serve(listener, Arc::clone(&self.shared), self.life.clone());
        self.serving = tokio::spawn(serving);
    }

    /// Changes the store; every watch looks whether that concerns it.
    pub(crate) fn edit<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let answer = change(&mut self.shared.store());
        self.shared.news.send_modify(|count| *count += 1);
        answer
    }

    pub(crate) fn put(&self, kind: Kind, object: Value) {
        self.edit(|store| store.put(kind, object));
    }

    pub(crate) fn delete(&self, kind: Kind, name: &str) {
        self.edit(|store| store.delete(kind, name));
    }

    /// Answers the next `times` requests whose path and query contain `part` with a refusal.
    pub(crate) fn refuse(&self, part: &str, code: u16, message: &str, times: usize) {
        let refusal = Refusal {
            part: part.to_owned(),
            code,
            message: message.to_owned(),
            times,
        };
        self.edit(|store| store.refusals.push(refusal));
    }

    /// Paths and queries of all requests so far that contain `part`.
    pub(crate) fn requests(&self, part: &str) -> Vec<String> {
        let store = self.shared.store();
        let asked = store.requests.iter().filter(|it| it.contains(part));
        asked.cloned().collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.life.cancel();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, life: CancellationToken) {
    let accept = async {
        while let Ok((socket, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            let life = life.clone();
            tokio::spawn(async move { life.run_until_cancelled(connection).await });
        }
    };
    life.run_until_cancelled(accept).await;
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, std::convert::Infallible> {
    let target = request.uri().to_string();
    let mut asked = query::Asked::new(request.uri());
    let refused = {
        let mut store = shared.store();
        store.requests.push(target.clone());
        asked.begun = store.happenings;
        store.refusal(&target)
    };
    if let Some((MUTE, _)) = refused {
        std::future::pending::<()>().await;
    }
    if let Some((code, message)) = refused {
        return Ok(refusal(code, &message));
    }
    let store = shared.store();
    if let Some(list) = store.resources(&asked.path) {
        return Ok(whole(200, &list));
    }
    let Some(place) = store.place(&asked.path) else {
        return Ok(refusal(
            404,
            "the server could not find the requested resource",
        ));
    };
    if asked.watch {
        drop(store);
        return Ok(stream::watch(shared, place, &asked));
    }
    Ok(match store.page(&place, &asked) {
        Ok(page) => whole(200, &page),
        Err((code, message)) => refusal(code, &message),
    })
}

fn refusal(code: u16, message: &str) -> Response<Body> {
    whole(code, &status(code, message))
}

pub(crate) fn status(code: u16, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "AsTold", "code": code,
    })
}

fn whole(code: u16, value: &Value) -> Response<Body> {
    let body = Full::from(value.to_string()).boxed_unsync();
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}
