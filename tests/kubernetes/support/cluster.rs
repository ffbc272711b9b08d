//! A namespace of the control plane with everything of Reveille in it, as one test needs it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::{Empty, Full};
use hyper::body::Body;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::access::{Access, Account};
use crate::support::audit::Audit;
use crate::support::http::{Failure, Reply, send};
use crate::support::nats::Nats;
use crate::support::part::{FREE, Part};
use crate::support::plane::Plane;
use crate::support::{PATIENCE, setting, until};

/// Between two looks at something that sends no event; each is a request.
const LOOK: Duration = Duration::from_millis(20);

/// What is not as usual.
#[derive(Debug)]
pub(crate) struct Setup {
    activators: usize,
    scalers: usize,
    carrier: Carrier,
    activator_flags: Vec<String>,
    plane: Option<Plane>,
}

/// How activators and scalers talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Nats,
    /// The server is not there yet; [`Nats::restart`] on [`Cluster::nats`] starts it.
    LaterNats,
    /// Nobody speaks of NATS at all.
    None,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            activators: 2,
            scalers: 2,
            carrier: Carrier::Nats,
            activator_flags: Vec::new(),
            plane: None,
        }
    }
}

impl Setup {
    /// So many of each.
    pub(crate) fn parts(mut self, activators: usize, scalers: usize) -> Self {
        (self.activators, self.scalers) = (activators, scalers);
        self
    }

    /// nats-server is down when the parts start.
    pub(crate) fn later_nats(mut self) -> Self {
        self.carrier = Carrier::LaterNats;
        self
    }

    /// The parts are not told of any NATS.
    pub(crate) fn without_nats(mut self) -> Self {
        self.carrier = Carrier::None;
        self
    }

    /// More flags for the activators.
    pub(crate) fn activator_flags(mut self, flags: &[&str]) -> Self {
        self.activator_flags
            .extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// On a control plane of the test's own.
    pub(crate) fn on(mut self, plane: &Plane) -> Self {
        self.plane = Some(plane.clone());
        self
    }

    /// Starts everything and waits until it is ready.
    pub(crate) async fn start(self) -> Cluster {
        let plane = match &self.plane {
            Some(plane) => plane.clone(),
            None => Plane::shared().await,
        };
        let folder = tempfile::Builder::new()
            .prefix("reveille-kubernetes-")
            .tempdir()
            .unwrap();
        let access = Access::to_new_namespace(&plane).await;
        let mut nats = Nats::start().await;
        if self.carrier == Carrier::LaterNats {
            nats.kill().await;
        }
        let mut cluster = Cluster {
            namespace: access.namespace.clone(),
            client: access.client.clone(),
            audit: Audit::of(&plane, &access.namespace),
            activators: Vec::new(),
            scalers: Vec::new(),
            nats,
            access,
            _folder: folder,
        };
        cluster.start_parts(&self).await;
        cluster
    }
}

/// Activators `a`, `b`, … and scalers `s0`, `s1`, … at work in a namespace.
pub(crate) struct Cluster {
    /// Name of the namespace; no other test knows it.
    pub(crate) namespace: String,
    /// The administrator's client.
    pub(crate) client: kube::Client,
    /// What was asked of the API server in this namespace.
    pub(crate) audit: Audit,
    /// Activators; all ready.
    pub(crate) activators: Vec<Part>,
    /// Scalers; one of them leads.
    pub(crate) scalers: Vec<Part>,
    /// Their nats-server.
    pub(crate) nats: Nats,
    /// Who may do what; the namespace goes with it.
    pub(crate) access: Access,
    _folder: TempDir,
}

impl Cluster {
    /// Two activators, two scalers, one nats-server.
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    async fn start_parts(&mut self, setup: &Setup) {
        let common = |account: Account, name: &str| {
            let mut flags = strings(&[account.word(), "--log-format", "json", "--name", name]);
            flags.extend(strings(&["--watch-namespace", &self.namespace]));
            flags.extend(strings(&["--kubeconfig", &self.access.kubeconfig(account)]));
            flags.extend(strings(&["--admin", FREE]));
            if setting("REVEILLE_DEBUG", 0) != 0 {
                flags.extend(strings(&[
                    "--log",
                    "debug,kube=info,hyper=info,tower=info,rustls=info",
                ]));
            }
            if setup.carrier != Carrier::None {
                flags.extend(strings(&["--nats", &self.nats.url()]));
            }
            flags
        };
        let names: Vec<String> = (0..setup.activators).map(activator_name).collect();
        let scalers = (0..setup.scalers).map(|number| {
            let name = format!("s{number}");
            let mut flags = common(Account::Scaler, &name);
            flags.extend(strings(&["--activators", &names.join(",")]));
            flags.extend(strings(&["--lease-namespace", &self.namespace]));
            async move { Part::start(&name, flags).await }
        });
        let scalers = join_all(scalers).await;
        let urls: Vec<String> = scalers
            .iter()
            .map(|scaler| format!("http://{}", scaler.admin))
            .collect();
        let activators = names.iter().map(|name| {
            let mut flags = common(Account::Activator, name);
            flags.extend(strings(&[
                "--listen",
                FREE,
                "--scaler-api",
                &urls.join(","),
            ]));
            // Nothing was put to sleep before there were activators.
            flags.extend(strings(&["--settle", "0s"]));
            flags.extend(setup.activator_flags.clone());
            async move { Part::start(name, flags).await }
        });
        let activators = join_all(activators).await;
        join_all(activators.iter().map(Part::ready)).await;
        (self.activators, self.scalers) = (activators, scalers);
    }

    /// The way in through one of the activators.
    pub(crate) fn door(&self, activator: usize) -> Door {
        Door {
            address: self.activators[activator].listen,
            namespace: self.namespace.as_str().into(),
        }
    }

    /// All ways in.
    pub(crate) fn doors(&self) -> Vec<Door> {
        (0..self.activators.len())
            .map(|number| self.door(number))
            .collect()
    }

    /// GET from a sandbox through the first activator; whatever the status.
    pub(crate) async fn get(&self, name: &str, path: &str) -> Reply {
        self.door(0).get(name, path).await
    }

    /// What the scalers that answer say of a sandbox; the leader's word first.
    pub(crate) async fn sandbox(&self, name: &str) -> Option<Value> {
        let path = format!("/v1/sandboxes/{}/{name}", self.namespace);
        let leader = self.leader_now();
        let mut order: Vec<&Part> = leader
            .map(|number| &self.scalers[number])
            .into_iter()
            .collect();
        order.extend(&self.scalers);
        for scaler in order {
            if let Ok(reply) = scaler.operator(&path).await
                && reply.status == 200
            {
                return Some(reply.json());
            }
        }
        None
    }

    /// Waits until the scalers know a sandbox to be `awake`, `asleep`, ….
    pub(crate) async fn await_state(&self, name: &str, state: &str) -> Value {
        until(&format!("{name} {state}"), || async {
            self.sandbox(name)
                .await
                .filter(|sandbox| sandbox["state"] == state)
        })
        .await
    }

    /// Waits until the leader gives this reason for the state of one of these.
    pub(crate) async fn await_word(&self, names: &[String], reason: &str) {
        let end = Instant::now() + PATIENCE;
        let mut others = BTreeSet::new();
        loop {
            for name in names {
                let sandbox = self.sandbox(name).await.unwrap_or_default();
                if sandbox["reason"] == reason {
                    return;
                }
                others.insert(format!("{} {}", sandbox["state"], sandbox["reason"]));
            }
            assert!(
                Instant::now() < end,
                "none of {names:?} is {reason}, but {others:?}"
            );
            sleep(LOOK).await;
        }
    }

    /// The scaler that leads, by what the living ones said last.
    pub(crate) fn leader_now(&self) -> Option<usize> {
        (0..self.scalers.len()).find(|&number| self.leads(number))
    }

    /// Waits until a scaler leads, and gives its number.
    pub(crate) async fn leader(&self) -> usize {
        until("a leader", || async { self.leader_now() }).await
    }

    /// Waits until another scaler than this one leads, and gives its number.
    pub(crate) async fn await_new_leader(&self, than: usize) -> usize {
        until("another leader", || async {
            (0..self.scalers.len()).find(|&number| number != than && self.leads(number))
        })
        .await
    }

    fn leads(&self, number: usize) -> bool {
        let scaler = &self.scalers[number];
        let changed = scaler.log.last("leadership changed");
        scaler.lives() && changed.is_some_and(|event| event["leads"] == true)
    }

    /// How often the scalers' logs, of their present runs, said something.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.scalers
            .iter()
            .map(|scaler| scaler.log.count(text))
            .sum()
    }

    /// Nobody crashed: every part lives, and none spoke of a panic.
    pub(crate) fn nobody_panicked(&self) {
        for part in self.activators.iter().chain(&self.scalers) {
            assert!(part.lives(), "{} has ended\n{}", part.name, part.log.tail());
            let panics = part.log.lines_with("panicked");
            assert!(panics.is_empty(), "{}: {panics:?}", part.name);
        }
    }
}

/// The way in through one activator, for tasks of their own.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    namespace: Arc<str>,
}

impl Door {
    /// A request to a sandbox by host.
    pub(crate) fn request<B>(&self, method: Method, name: &str, path: &str, body: B) -> Request<B> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(
                "host",
                format!("{name}.{}.sandbox.localhost", self.namespace),
            )
            .body(body)
            .unwrap()
    }

    /// Sends any request.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Result<Reply, Failure>
    where
        B: Body<Data: Send, Error: Into<Failure>> + Send + 'static,
    {
        send(self.address, request).await
    }

    /// GET; whatever the status, and an error where the activator dies.
    pub(crate) async fn try_get(&self, name: &str, path: &str) -> Result<Reply, Failure> {
        let request = self.request(Method::GET, name, path, Empty::<Bytes>::new());
        self.send(request).await
    }

    /// GET; whatever the status.
    pub(crate) async fn get(&self, name: &str, path: &str) -> Reply {
        self.try_get(name, path).await.unwrap()
    }

    /// GET, and again where the answer is to come again, since the API server had none for ten seconds: so
    /// many wakes at once may ask that much of a busy machine.
    pub(crate) async fn get_at_last(&self, name: &str, path: &str) -> Reply {
        until(&format!("an answer of {name}"), || async {
            let reply = self.get(name, path).await;
            let again = reply.status == 503 && reply.json()["reason"] == "ApiUnavailable";
            (!again).then_some(reply)
        })
        .await
    }

    /// POST of JSON; whatever the status, and an error where the activator dies.
    pub(crate) async fn try_post(
        &self,
        name: &str,
        path: &str,
        body: &Value,
    ) -> Result<Reply, Failure> {
        let mut request = self.request(
            Method::POST,
            name,
            path,
            Full::<Bytes>::from(body.to_string()),
        );
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", json);
        self.send(request).await
    }

    /// POST of JSON; whatever the status.
    pub(crate) async fn post(&self, name: &str, path: &str, body: &Value) -> Reply {
        self.try_post(name, path, body).await.unwrap()
    }

    /// Counts one up, which an agent does once per request that reaches it.
    pub(crate) async fn count(&self, name: &str) -> Reply {
        self.post(name, "/count", &json!({})).await
    }
}

/// `a`, `b`, ….
fn activator_name(number: usize) -> String {
    char::from(b'a' + u8::try_from(number).unwrap()).to_string()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
