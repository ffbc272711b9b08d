//! Which kinds the API server serves, and in which version.
//!
//! Upstream's kinds are served as `v1alpha1` (up to 0.4), as both (0.5) or as `v1beta1` (from 1.0); an
//! upgrade takes the old version away while we run. The newer one is taken wherever it is served. A kind
//! that vanished altogether is believed gone only after several looks: an API server that has just
//! started may not know its custom resources yet, and to believe it would be to forget every sandbox.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::fetch::{self, Failure};

use belief::{believe, tell};

mod belief;

/// Between two looks while a kind is missing or an upgrade is to be expected.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Between two looks that somebody asked for. A watch that finds its version gone asks with every retry,
/// and each look costs the API server at most six small answers.
const ASKED_AGAIN: Duration = Duration::from_secs(2);
/// Between the looks that make sure that something is missing.
const MAKE_SURE: Duration = Duration::from_secs(2);

/// API version in which a kind of upstream's is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `v1alpha1`: `spec.replicas` 0 or 1, claims on templates.
    V1Alpha1,
    /// `v1beta1`: `spec.operatingMode`, claims on pools.
    V1Beta1,
}

impl Version {
    /// As it stands in an `apiVersion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "v1alpha1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// What is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// `sandboxes.agents.x-k8s.io`.
    pub sandboxes: Option<Version>,
    /// `sandboxclaims.extensions.agents.x-k8s.io`.
    pub claims: Option<Version>,
    /// `scaledsandboxes.reveille.dev`, `v1alpha1`.
    pub policies: bool,
    /// `releasedclaims.reveille.dev`, `v1alpha1`.
    pub released_claims: bool,
}

impl Served {
    /// Whether another look could show something better without anybody's asking.
    fn may_improve(self) -> bool {
        let newest = Some(Version::V1Beta1);
        self.sandboxes != newest || self.claims != newest || !self.policies || !self.released_claims
    }
}

/// A shared handle on what is known. Cloning is two reference counts.
#[derive(Clone, Debug)]
pub struct Discovery {
    served: watch::Sender<Option<Served>>,
    asked: Arc<Notify>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            served: watch::Sender::new(None),
            asked: Arc::default(),
        }
    }
}

impl Discovery {
    /// One that knows nothing until [`run`] has looked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is told; for tests.
    #[must_use]
    pub fn told(served: Served) -> Self {
        let it = Self::default();
        it.served.send_replace(Some(served));
        it
    }

    /// What is served; `None` until the first look has succeeded.
    #[must_use]
    pub fn served(&self) -> watch::Receiver<Option<Served>> {
        self.served.subscribe()
    }

    /// Asks for a new look soon: a request was answered "not found" for a whole kind. Cheap, and many are
    /// one.
    pub fn again(&self) {
        self.asked.notify_one();
    }
}

/// Looks until `shutdown`: at once, when asked, and every half minute while a kind is missing or served in
/// its old version.
pub async fn run(client: kube::Client, discovery: Discovery, shutdown: CancellationToken) {
    let _ = shutdown
        .run_until_cancelled(Search::new(client, discovery).forever())
        .await;
}

/// The state of one [`run`].
struct Search {
    client: kube::Client,
    discovery: Discovery,
    backoff: Backoff,
    /// Looks in a row that missed something of what is published.
    missed: u32,
    /// The last failure, so that each is logged once.
    failure: Option<String>,
}

impl Search {
    fn new(client: kube::Client, discovery: Discovery) -> Self {
        Self {
            client,
            discovery,
            backoff: Backoff::default(),
            missed: 0,
            failure: None,
        }
    }

    async fn forever(mut self) {
        loop {
            let next = match self.look().await {
                Ok(seen) => self.take(seen),
                Err(failure) => Some(self.failed(&failure)),
            };
            let looked = Instant::now();
            let asked = async {
                self.discovery.asked.notified().await;
                sleep_until(looked + ASKED_AGAIN).await;
            };
            match next {
                // Either is a reason to look; which came first makes no difference.
                Some(pause) => drop(tokio::time::timeout_at(looked + pause, asked).await),
                None => asked.await,
            }
        }
    }

    /// Takes an answer; says when to look again unless asked.
    fn take(&mut self, seen: Served) -> Option<Duration> {
        if self.failure.take().is_some() {
            tracing::info!("the API server tells again which kinds it serves");
        }
        let published = *self.discovery.served.borrow();
        let belief = believe(published, seen, self.missed);
        self.missed = if belief.certain { 0 } else { self.missed + 1 };
        if belief.served != published
            && let Some(served) = belief.served
        {
            tell(published, served);
            self.discovery.served.send_replace(Some(served));
        }
        if !belief.certain {
            return Some(MAKE_SURE);
        }
        seen.may_improve().then_some(LOOK_AGAIN)
    }

    fn failed(&mut self, failure: &Failure) -> Duration {
        let why = failure.to_string();
        if self.failure.as_ref() != Some(&why) {
            tracing::warn!(
                "cannot ask the API server which kinds it serves ({why}); what was known stays believed"
            );
            self.failure = Some(why);
        }
        self.backoff.next()
    }

    async fn look(&self) -> Result<Served, Failure> {
        let ours = self.resources("reveille.dev", "v1alpha1").await?;
        Ok(Served {
            sandboxes: self.newest("agents.x-k8s.io", "sandboxes").await?,
            claims: self
                .newest("extensions.agents.x-k8s.io", "sandboxclaims")
                .await?,
            policies: ours.contains("scaledsandboxes"),
            released_claims: ours.contains("releasedclaims"),
        })
    }

    async fn newest(&self, group: &str, plural: &str) -> Result<Option<Version>, Failure> {
        for version in [Version::V1Beta1, Version::V1Alpha1] {
            if self
                .resources(group, version.as_str())
                .await?
                .contains(plural)
            {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// The resources of a group and version that can be listed and watched.
    async fn resources(&self, group: &str, version: &str) -> Result<BTreeSet<String>, Failure> {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            resources: Vec<Resource>,
        }
        #[derive(Deserialize)]
        struct Resource {
            name: String,
            #[serde(default)]
            verbs: Vec<String>,
        }
        let path = format!("/apis/{group}/{version}");
        let text = match fetch::text(&self.client, &path).await {
            Err(failure) if failure.code() == Some(404) => return Ok(BTreeSet::new()),
            other => other?,
        };
        let list: List = serde_json::from_str(&text)?;
        let readable = |resource: &Resource| {
            ["list", "watch"]
                .iter()
                .all(|verb| resource.verbs.iter().any(|it| it == verb))
        };
        let found = list.resources.into_iter().filter(readable);
        Ok(found.map(|resource| resource.name).collect())
    }
}
