//! The operator's side: `/v1/sandboxes` and `/metrics`.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{Empty, Full};
use serde_json::{Value, json};

use crate::support::client::{Failure, Reply, send};
use crate::support::manifests::NAMESPACE;
use crate::support::reveille::Reveille;
use crate::support::until;

impl Reveille {
    /// GET from the admin listener.
    pub(crate) async fn operator(&self, path: &str) -> Result<Reply, Failure> {
        let request = Request::builder()
            .uri(path)
            .header("host", "reveille")
            .body(Empty::<Bytes>::new())?;
        send(self.admin, request).await
    }

    /// `POST /v1/sandboxes/{ns}/{name}/{verb}`
    pub(crate) async fn order(&self, name: &str, verb: &str, body: &Value) -> Reply {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/v1/sandboxes/{NAMESPACE}/{name}/{verb}"))
            .header("host", "reveille")
            .header("content-type", "application/json")
            .body(Full::<Bytes>::from(body.to_string()))
            .unwrap();
        send(self.admin, request).await.unwrap()
    }

    /// Orders what is done.
    pub(crate) async fn obeys(&self, name: &str, verb: &str, body: &Value) {
        let reply = self.order(name, verb, body).await;
        assert!(reply.status.is_success(), "{verb} {name}: {reply:?}");
    }

    /// Orders a sleep as soon as the sandbox is quiet, and waits for it.
    pub(crate) async fn put_to_sleep(&self, name: &str) {
        let what = format!("{name} obeys");
        until(&what, || async {
            self.order(name, "sleep", &json!({}))
                .await
                .status
                .is_success()
                .then_some(())
        })
        .await;
        self.await_state(name, "asleep").await;
    }

    /// What the API says of a sandbox.
    pub(crate) async fn sandbox(&self, name: &str) -> Value {
        self.operator(&format!("/v1/sandboxes/{NAMESPACE}/{name}"))
            .await
            .unwrap()
            .ok()
            .json()
    }

    /// What the API says of all.
    pub(crate) async fn sandboxes(&self) -> Vec<Value> {
        let (mut all, mut path) = (Vec::new(), "/v1/sandboxes".to_owned());
        loop {
            let page = self.operator(&path).await.unwrap().ok().json();
            all.extend(page["sandboxes"].as_array().unwrap().iter().cloned());
            let Some(next) = page["metadata"]["continue"].as_str() else {
                return all;
            };
            path = format!("/v1/sandboxes?continue={next}");
        }
    }

    /// Waits until a sandbox is in this state and gives what the API says of it.
    pub(crate) async fn await_state(&self, name: &str, state: &str) -> Value {
        let what = format!("{name} {state}");
        until(&what, || async {
            Some(self.sandbox(name).await).filter(|sandbox| sandbox["state"] == state)
        })
        .await
    }

    /// Waits until exactly so many requests are parked, over all sandboxes.
    pub(crate) async fn await_parked(&self, count: u32) {
        let what = format!("{count} parked");
        until(&what, || async {
            let parked = self.metric("reveille_activator_parked_requests", &[]).await;
            (parked == f64::from(count)).then_some(())
        })
        .await;
    }

    /// Waits until so many requests to a sandbox are in flight.
    pub(crate) async fn await_in_flight(&self, name: &str, count: u32) {
        let what = format!("{count} in flight to {name}");
        until(&what, || async {
            (self.sandbox(name).await["inFlight"] == count).then_some(())
        })
        .await;
    }

    /// How often the log said that a sandbox was put to sleep.
    pub(crate) fn sleeps(&self, name: &str) -> usize {
        self.log.count(&format!("put {NAMESPACE}/{name} to sleep"))
    }

    /// Sum of all series of a metric whose labels hold all of these `name="value"` texts.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.operator("/metrics").await.unwrap().ok();
        let text = String::from_utf8(text.body.to_vec()).unwrap();
        text.lines()
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let series_name = series.split('{').next()?;
                let wanted =
                    series_name == name && labels.iter().all(|label| series.contains(label));
                wanted.then(|| value.parse::<f64>().unwrap())
            })
            .sum()
    }
}
