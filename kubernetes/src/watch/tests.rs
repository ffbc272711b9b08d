use reveille_crds::change::ClaimFacts;
use reveille_crds::key::SandboxKey as Key;

use super::*;
use crate::discovery::{Served, Version};

/// A listener, with the two watches of claims in our hands.
struct Ear {
    news: mpsc::Sender<(usize, News<Key, Facts>)>,
    changes: mpsc::Receiver<Change>,
    health: watch::Sender<Health>,
    _task: JoinSet<()>,
}

const CLAIMS: usize = 0;
const MEMORIES: usize = 1;

impl Ear {
    fn new(released_claims: bool) -> Self {
        let (news, arrivals) = mpsc::channel(16);
        let (tx, changes) = mpsc::channel(16);
        let health = watch::Sender::new(Health::default());
        let listener = Listener {
            sources: vec![Kind::Claim, Kind::Released],
            unlisted: vec![true, true],
            claims: Claims::new(false),
            changes: tx,
            health: health.clone(),
        };
        let discovery = Discovery::told(Served {
            claims: Some(Version::V1Beta1),
            released_claims,
            ..Served::default()
        });
        let mut task = JoinSet::new();
        task.spawn(listener.listen(arrivals, discovery));
        Self {
            news,
            changes,
            health,
            _task: task,
        }
    }

    async fn hears(&self, source: usize, news: News<Key, Facts>) {
        self.news.send((source, news)).await.unwrap();
    }

    /// The next change, and how long it took.
    async fn next(&mut self) -> (Change, Duration) {
        let begun = Instant::now();
        let change = self.changes.recv().await.unwrap();
        (change, begun.elapsed())
    }
}

fn bob() -> Key {
    Key::new("agents", "bob").unwrap()
}

fn living() -> News<Key, Facts> {
    News::Present(bob(), Facts::Claim(Arc::default()))
}

fn remembered() -> News<Key, Facts> {
    let facts = ClaimFacts {
        released: true,
        ..ClaimFacts::default()
    };
    News::Present(bob(), Facts::Released("r".into(), Arc::new(facts)))
}

async fn synced(released_claims: bool) -> Ear {
    let mut ear = Ear::new(released_claims);
    ear.hears(CLAIMS, living()).await;
    ear.hears(CLAIMS, News::Listed).await;
    ear.hears(MEMORIES, News::Listed).await;
    assert!(matches!(ear.next().await.0, Change::Claim(_, Some(_))));
    assert_eq!(ear.next().await.0, Change::Synced);
    ear
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_memory_is_seen_late_is_no_end() {
    let mut ear = synced(true).await;
    ear.hears(CLAIMS, News::Gone(bob())).await;
    tokio::time::sleep(APART * 9 / 10).await;
    ear.hears(MEMORIES, remembered()).await;
    let (change, _) = ear.next().await;
    let Change::Claim(_, Some(facts)) = change else {
        panic!("{change:?}")
    };
    assert!(facts.released);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_nowhere_is_gone_a_moment_later() {
    let mut ear = synced(true).await;
    ear.hears(CLAIMS, News::Gone(bob())).await;
    assert_eq!(ear.next().await, (Change::Claim(bob(), None), APART));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_released_a_claim_is_gone_at_once() {
    let mut ear = synced(false).await;
    ear.hears(CLAIMS, News::Gone(bob())).await;
    let (change, waited) = ear.next().await;
    assert_eq!(change, Change::Claim(bob(), None));
    assert!(waited < APART / 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_not_gone_while_one_of_the_two_watches_is_away() {
    let mut ear = synced(true).await;
    let what = Kind::Released.name(Some("agents"));
    let reporter = Reporter::new(what, ear.health.clone());
    reporter.failing("away", Instant::now().into_std());
    ear.hears(CLAIMS, News::Gone(bob())).await;
    tokio::time::sleep(APART * 20).await;
    assert!(ear.changes.try_recv().is_err());
    reporter.running();
    let (change, waited) = ear.next().await;
    assert_eq!(change, Change::Claim(bob(), None));
    assert!(waited <= APART * 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_stays_away_makes_no_claim_immortal() {
    let mut ear = synced(true).await;
    let reporter = Reporter::new(Kind::Released.name(None), ear.health.clone());
    reporter.failing("forbidden", Instant::now().into_std());
    ear.hears(CLAIMS, News::Gone(bob())).await;
    let (change, waited) = ear.next().await;
    assert_eq!(change, Change::Claim(bob(), None));
    assert!(waited > APART * 50 && waited < APART * 70, "{waited:?}");
}
