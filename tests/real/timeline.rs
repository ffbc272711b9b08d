//! What the API server tells of one Sandbox and its pods, moment by moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::cluster::Cluster;
use crate::support::objects::Kind;
use crate::support::within;

/// A running record; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Timeline {
    told: Arc<Told>,
    _watches: JoinSet<()>,
}

#[derive(Debug)]
struct Told {
    moments: Mutex<Vec<Moment>>,
    changed: watch::Sender<()>,
}

/// How things stood from an instant on.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// When the watch told it.
    pub(crate) at: Instant,
    /// What it had told by then.
    pub(crate) seen: Seen,
}

/// What can be known by watching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `spec.operatingMode`.
    pub(crate) mode: String,
    /// Status and reason of the condition Ready.
    pub(crate) ready: String,
    /// Status and reason of the condition Suspended.
    pub(crate) suspended: String,
    /// Whether the conditions speak of the present generation.
    pub(crate) current: bool,
    /// `status.podIPs` of the Sandbox.
    pub(crate) ips: Vec<String>,
    /// The pods there are, by UID.
    pub(crate) pods: BTreeMap<String, Pod>,
}

/// A pod as its object shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    /// It has a deletionTimestamp.
    pub(crate) dying: bool,
    /// It is bound to a node.
    pub(crate) scheduled: bool,
    /// Its container runs.
    pub(crate) running: bool,
    /// Condition Ready.
    pub(crate) ready: bool,
    /// `status.podIP`.
    pub(crate) ip: Option<String>,
}

impl Timeline {
    /// Watches a Sandbox and all pods of the test's namespace.
    pub(crate) fn of(cluster: &Cluster, sandbox: &str) -> Self {
        let told = Arc::new(Told {
            moments: Mutex::default(),
            changed: watch::Sender::default(),
        });
        let mut watches = JoinSet::new();
        for kind in [Kind::Sandbox, Kind::Pod] {
            let (told, api, name) = (Arc::clone(&told), cluster.api(kind), sandbox.to_owned());
            watches.spawn(async move {
                let mut events = watcher(api, watcher::Config::default()).boxed();
                while let Some(event) = events.next().await {
                    let (object, gone) = match event {
                        Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                        Ok(Event::Delete(object)) => (object, true),
                        // The watch begins again by itself.
                        Ok(Event::Init | Event::InitDone) | Err(_) => continue,
                    };
                    let object = serde_json::to_value(&object).unwrap();
                    match kind {
                        Kind::Pod => told.see(|seen| seen.pod(&object, gone)),
                        _ if object["metadata"]["name"] == name.as_str() => {
                            told.see(|seen| seen.sandbox(&object));
                        }
                        _ => {}
                    }
                }
            });
        }
        Self {
            told,
            _watches: watches,
        }
    }

    /// All moments since an instant.
    pub(crate) fn since(&self, began: Instant) -> Vec<Moment> {
        let moments = self.told.moments.lock().unwrap();
        moments
            .iter()
            .filter(|moment| moment.at >= began)
            .cloned()
            .collect()
    }

    /// Waits for the first moment since an instant that is accepted, and gives it.
    pub(crate) async fn first(
        &self,
        what: &str,
        began: Instant,
        accept: impl Fn(&Seen) -> bool,
    ) -> Moment {
        let mut changed = self.told.changed.subscribe();
        let wait = async {
            loop {
                let found = self
                    .since(began)
                    .into_iter()
                    .find(|moment| accept(&moment.seen));
                if let Some(found) = found {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        within(what, wait).await
    }

    /// Prints all moments since an instant.
    pub(crate) fn print(&self, began: Instant) {
        for moment in self.since(began) {
            let at: Duration = moment.at - began;
            println!("  {:>6.2} s  {}", at.as_secs_f64(), moment.seen);
        }
    }
}

impl Told {
    fn see(&self, change: impl FnOnce(&mut Seen)) {
        let mut moments = self.moments.lock().unwrap();
        let last = moments
            .last()
            .map(|moment| moment.seen.clone())
            .unwrap_or_default();
        let mut seen = last.clone();
        change(&mut seen);
        if seen != last {
            moments.push(Moment {
                at: Instant::now(),
                seen,
            });
            drop(moments);
            self.changed.send_replace(());
        }
    }
}

impl Seen {
    fn sandbox(&mut self, object: &Value) {
        let conditions = object["status"]["conditions"].as_array();
        let of = |kind: &str| conditions.and_then(|all| all.iter().find(|one| one["type"] == kind));
        let words = |kind: &str| {
            of(kind).map_or_else(String::new, |one| {
                let word = |field: &str| one[field].as_str().unwrap_or_default();
                format!("{} {}", word("status"), word("reason"))
            })
        };
        let texts = object["status"]["podIPs"].as_array().into_iter().flatten();
        self.ips = texts
            .filter_map(|ip| ip.as_str().map(str::to_owned))
            .collect();
        self.mode = object["spec"]["operatingMode"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.ready = words("Ready");
        self.suspended = words("Suspended");
        self.current = of("Ready").is_some_and(|ready| {
            ready["observedGeneration"].as_i64() >= object["metadata"]["generation"].as_i64()
        });
    }

    fn pod(&mut self, object: &Value, gone: bool) {
        let uid = object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if gone {
            self.pods.remove(&uid);
            return;
        }
        let status = &object["status"];
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let pod = Pod {
            dying: object["metadata"]["deletionTimestamp"].is_string(),
            scheduled: object["spec"]["nodeName"].is_string(),
            running: status["containerStatuses"][0]["state"]["running"].is_object(),
            ready: conditions
                .into_iter()
                .any(|one| one["type"] == "Ready" && one["status"] == "True"),
            ip: status["podIP"].as_str().map(str::to_owned),
        };
        self.pods.insert(uid, pod);
    }

    /// The pod that is not being deleted.
    pub(crate) fn living(&self) -> Option<(&String, &Pod)> {
        self.pods.iter().find(|(_, pod)| !pod.dying)
    }

    /// Told to run, and said to be ready with an address, while the only pod is being deleted (trap R1).
    pub(crate) fn is_falsely_ready(&self) -> bool {
        let said = self.mode == "Running" && self.current && self.ready.starts_with("True");
        said && !self.ips.is_empty() && !self.pods.is_empty() && self.living().is_none()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stale = if self.current {
            ""
        } else {
            " (of an older generation)"
        };
        write!(
            f,
            "{} · Ready {}{stale} · Suspended {}",
            self.mode, self.ready, self.suspended
        )?;
        write!(f, " · podIPs {:?}", self.ips)?;
        for (uid, pod) in &self.pods {
            let ip = pod.ip.as_deref().unwrap_or("-");
            let is = |word: &'static str, so: bool| if so { word } else { "" };
            write!(
                f,
                " · pod {} {ip}{}{}{}",
                &uid[..4],
                is(" running", pod.running),
                is(" ready", pod.ready),
                is(" DYING", pod.dying),
            )?;
        }
        Ok(())
    }
}
