//! Five watches as one stream of [`Change`]s.
//!
//! A SandboxClaim and the ReleasedClaim of its name are one thing to whoever listens: the living claim
//! where there is one, else what is remembered of it ([`claims`]).

use std::sync::Arc;
use std::time::Duration;

use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::discovery::Discovery;
use crate::health::{Health, Reporter};
use crate::kind::{Facts, Kind};
use crate::reflect::{News, Reflection};

use claims::Claims;

mod claims;
#[cfg(test)]
mod tests;

/// News between the watches and their listener: one page of a list for each of five kinds is about ten of
/// these, each a pointer to facts, and the watches wait while the listener does.
const NEWS: usize = 256;

/// How far apart the watches of claims and of their memories may be; a name that is really gone is answered
/// 404 so much later.
const APART: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Namespaces; all of them where empty (which takes a cluster role).
    pub namespaces: Vec<String>,
    /// Whether [`reveille_crds::change::ClaimFacts::leftover`] is told. Costs a pointer to the facts of
    /// every claim, and the texts in them are then no longer shared with those of the Sandbox.
    pub leftovers: bool,
}

/// Tells what there is and what becomes of it, until `shutdown` or until nobody listens any more.
///
/// [`Change::Synced`] comes once, after everything that existed at the start. While the API is away
/// nothing is told; what vanished meanwhile is told as gone once it is back. A kind that the API server
/// does not have counts as empty.
pub async fn follow(
    client: kube::Client,
    discovery: Discovery,
    scope: Scope,
    changes: mpsc::Sender<Change>,
    health: watch::Sender<Health>,
    shutdown: CancellationToken,
) {
    let (news, arrivals) = mpsc::channel(NEWS);
    let mut tasks = JoinSet::new();
    let namespaces: Vec<Option<&str>> = if scope.namespaces.is_empty() {
        vec![None]
    } else {
        scope
            .namespaces
            .iter()
            .map(|it| Some(it.as_str()))
            .collect()
    };
    let mut sources = Vec::new();
    for namespace in namespaces {
        for kind in Kind::ALL {
            let reporter = Reporter::new(kind.name(namespace), health.clone());
            let source = sources.len();
            let reflection = Reflection::new(
                client.clone(),
                kind.reading(),
                source,
                news.clone(),
                reporter,
            );
            tasks.spawn(reflection.follow(kind, namespace.map(Arc::from), discovery.clone()));
            sources.push(kind);
        }
    }
    let listener = Listener {
        unlisted: sources.iter().map(|_| true).collect(),
        sources,
        claims: Claims::new(scope.leftovers),
        changes,
        health,
    };
    let listening = async {
        // Neither ends but by the listener's leaving, or by a bug.
        tokio::select! {
            () = listener.listen(arrivals, discovery) => {}
            ended = tasks.join_next() => pass_on(ended),
        }
    };
    let _ = shutdown.run_until_cancelled(listening).await;
    tasks.shutdown().await;
}

/// A watch that panicked would be a kind that is never heard of again: that is for the process to end by.
fn pass_on(ended: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Puts the news of all sources into one order.
struct Listener {
    sources: Vec<Kind>,
    /// By source: its first list has not been told yet. Empty once all have.
    unlisted: Vec<bool>,
    claims: Claims,
    changes: mpsc::Sender<Change>,
    health: watch::Sender<Health>,
}

/// Nobody listens any more.
struct Deaf;

impl From<mpsc::error::SendError<Change>> for Deaf {
    fn from(_: mpsc::error::SendError<Change>) -> Self {
        Self
    }
}

impl Listener {
    async fn listen(
        mut self,
        mut arrivals: mpsc::Receiver<(usize, News<SandboxKey, Facts>)>,
        discovery: Discovery,
    ) {
        let served = discovery.served();
        loop {
            let due = self.claims.due();
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            // News first: a claim that was told gone may be back among them.
            let told = tokio::select! {
                biased;
                Some((source, news)) = arrivals.recv() => {
                    let releases = served.borrow().is_some_and(|it| it.released_claims);
                    self.take(source, news, releases).await
                }
                () = wait => self.let_go().await,
            };
            if told.is_err() {
                return;
            }
        }
    }

    async fn take(
        &mut self,
        source: usize,
        news: News<SandboxKey, Facts>,
        releases: bool,
    ) -> Result<(), Deaf> {
        let kind = self.sources[source];
        let change = match (kind, news) {
            (_, News::Listed) => return self.listed(source).await,
            (_, News::Present(key, Facts::Sandbox(facts))) => {
                Some(Change::Sandbox(key, Some(facts)))
            }
            (_, News::Present(key, Facts::Pod(facts))) => Some(Change::Pod(key, Some(facts))),
            (_, News::Present(key, Facts::Policy(facts))) => Some(Change::Policy(key, Some(facts))),
            (_, News::Present(key, Facts::Claim(facts))) => self.claims.lives(key, facts),
            (_, News::Present(key, Facts::Released(uid, facts))) => {
                self.claims.is_remembered(key, uid, facts)
            }
            (Kind::Sandbox, News::Gone(key)) => Some(Change::Sandbox(key, None)),
            (Kind::Pod, News::Gone(key)) => Some(Change::Pod(key, None)),
            (Kind::Policy, News::Gone(key)) => Some(Change::Policy(key, None)),
            (Kind::Claim, News::Gone(key)) => self.claims.died(key, hold(releases)),
            (Kind::Released, News::Gone(key)) => self.claims.is_forgotten(key, hold(releases)),
        };
        if let Some(change) = change {
            self.changes.send(change).await?;
        }
        Ok(())
    }

    async fn listed(&mut self, source: usize) -> Result<(), Deaf> {
        if self.unlisted.is_empty() {
            return Ok(());
        }
        self.unlisted[source] = false;
        let mut claims = self.sources.iter().zip(&self.unlisted);
        if !claims.any(|(kind, unlisted)| *kind == Kind::Claim && *unlisted) {
            for change in self.claims.settle() {
                self.changes.send(change).await?;
            }
        }
        if self.unlisted.contains(&true) {
            return Ok(());
        }
        self.unlisted = Vec::new();
        self.changes.send(Change::Synced).await?;
        self.health.send_modify(|health| health.synced = true);
        Ok(())
    }

    /// Whether a watch of claims or of their memories does not run.
    fn is_behind(&self) -> bool {
        let health = self.health.borrow();
        let either = [Kind::Claim, Kind::Released].map(|kind| kind.name(None));
        let behind = |what: &Arc<str>| either.iter().any(|name| what.starts_with(&**name));
        health.failing.keys().any(behind)
    }

    async fn let_go(&mut self) -> Result<(), Deaf> {
        let now = Instant::now();
        if self.is_behind() {
            self.claims.hold_on(now + APART);
        }
        for key in self.claims.let_go(now) {
            self.changes.send(Change::Claim(key, None)).await?;
        }
        Ok(())
    }
}

/// Until when a claim that is gone is still told as it was: one that is being released or bound is gone
/// in one watch before it is there in the other.
fn hold(releases: bool) -> Instant {
    let now = Instant::now();
    if releases { now + APART } else { now }
}
