//! One collection of the API server, told as it changes: listed in pages, then watched.
//!
//! ```text
//!        ┌──────────── 410, garbage, an error event: what happened meanwhile is unknown ───┐
//!        ▼                                                                                 │
//!   list, page by page ──resourceVersion──▶ watch ──ended, connection died──▶ watch on ────┘
//!        │                                                                  (same place)
//!        └─▶ whatever was known and is not in the list: gone
//! ```
//!
//! Nothing is told gone but by a whole list or by a deletion: while the API is away, what is known stays.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{ListParams, WatchParams};
use kube::client::Body;
use kube::core::Request;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::discovery::{Discovery, Served};
use crate::fetch::{self, Failure};
use crate::health::Reporter;
use crate::kind::{Head, Kind, Reading};
use crate::lines::Lines;

use trouble::Trouble;
use wire::{Event, Page, is_lost};

mod trouble;
mod wire;

/// Objects of a page: at 10 KiB each about 5 MB at a time.
const PAGE: u32 = 500;

/// How long the server is asked to keep a watch open, in seconds, and up to how much longer, so that the
/// watches of many processes do not end at once. A server that is frozen, but whose kernel still
/// answers, is noticed only by this.
const WATCH: u32 = 20;
const WATCH_SPREAD: u32 = 10;
/// How much longer than agreed a watch may be silent: the server's clock and the way.
const OVERDUE: Duration = Duration::from_secs(2);
/// A server that takes longer to open a watch is not seen to be there.
const PROMPT: Duration = Duration::from_secs(1);
/// A watch that ends sooner than this without a word is as good as refused.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// What one collection tells.
#[derive(Debug)]
pub(crate) enum News<K, F> {
    /// An object as it is now.
    Present(K, F),
    /// An object that was told is there no more.
    Gone(K),
    /// Everything there is has been told.
    Listed,
}

/// One collection.
pub(crate) struct Reflection<K, F> {
    client: kube::Client,
    reading: Reading<K, F>,
    /// With what the news are marked.
    source: usize,
    news: mpsc::Sender<(usize, News<K, F>)>,
    /// What was told and is not gone.
    known: BTreeSet<K>,
    trouble: Trouble,
}

impl<K: Clone + Ord, F> Reflection<K, F> {
    pub(crate) fn new(
        client: kube::Client,
        reading: Reading<K, F>,
        source: usize,
        news: mpsc::Sender<(usize, News<K, F>)>,
        reporter: Reporter,
    ) -> Self {
        Self {
            client,
            reading,
            source,
            news,
            known: BTreeSet::new(),
            trouble: Trouble::new(reporter),
        }
    }

    /// Tells of a kind wherever it is served, without end. When its version changes it is listed anew
    /// there, and what is still there stays told.
    pub(crate) async fn follow(
        mut self,
        kind: Kind,
        namespace: Option<Arc<str>>,
        discovery: Discovery,
    ) {
        let mut served = discovery.served();
        let place = |served: Served| kind.path(served, namespace.as_deref());
        loop {
            let present = served.borrow_and_update().map(place);
            match &present {
                // Nobody knows yet: to say that there is nothing would be a guess.
                None => {}
                Some(None) => self.nothing().await,
                Some(Some(path)) => {
                    // Told and done are one step, so that leaving off anywhere loses nothing: the other
                    // version lists anew.
                    tokio::select! {
                        biased;
                        () = moved(&mut served, |it| it.map(place) == present) => {}
                        never = self.forever(path, || discovery.again()) => match never {},
                    }
                    continue;
                }
            }
            moved(&mut served, |it| it.map(place) == present).await;
        }
    }

    /// Tells of the collection at `path`, without end. `missing` is called when there is none.
    pub(crate) async fn forever(&mut self, path: &str, missing: impl Fn()) -> Infallible {
        let request = Request::new(path);
        loop {
            match self.list(&request).await {
                Ok(version) => self.watch(&request, version, &missing).await,
                Err(failure) => {
                    if failure.code() == Some(404) {
                        missing();
                    }
                    self.pause(&failure).await;
                }
            }
        }
    }

    /// The kind is not served: there is none of it.
    async fn nothing(&mut self) {
        self.keep(BTreeSet::new()).await;
        self.trouble.over();
    }

    /// All pages; answers from where to watch.
    async fn list(&mut self, request: &Request) -> Result<String, Failure> {
        let mut listed = BTreeSet::new();
        let mut page = ListParams::default().limit(PAGE);
        page.label_selector = self.reading.selector.clone();
        loop {
            let request = request.list(&page).map_err(unbuildable)?;
            let text = fetch::whole(&self.client, request).await?;
            let list: Page<'_> = serde_json::from_str(&text)?;
            if list.metadata.resource_version.is_empty() {
                let missing = "a list without a resourceVersion";
                return Err(Failure::Garbled(missing.to_owned()));
            }
            for object in list.items.iter().flatten() {
                listed.extend(self.tell(object.get()).await.key);
            }
            match list.metadata.continue_.filter(|it| !it.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => {
                    self.keep(listed).await;
                    return Ok(list.metadata.resource_version);
                }
            }
        }
    }

    /// Everything there is has been told; what else is known is gone.
    async fn keep(&mut self, listed: BTreeSet<K>) {
        let gone: Vec<K> = self.known.difference(&listed).cloned().collect();
        for key in gone {
            self.gone(key).await;
        }
        self.send(News::Listed).await;
    }

    /// Watches from `version` until only a list helps.
    async fn watch(&mut self, request: &Request, mut version: String, missing: impl Fn()) {
        loop {
            let opened = Instant::now();
            let ended = self.watch_once(request, &mut version).await;
            let failure = match ended {
                // The server is entitled to end a watch whenever it likes; only at once is odd.
                Ok(()) if opened.elapsed() > TOO_SHORT => continue,
                Ok(()) => Failure::Unreachable("the watch ended at once".to_owned()),
                Err(failure) => failure,
            };
            if failure.code() == Some(404) {
                missing();
            }
            if is_lost(&failure) {
                self.lost(&failure).await;
                return;
            }
            self.pause(&failure).await;
        }
    }

    /// One watch to its end.
    async fn watch_once(&mut self, request: &Request, version: &mut String) -> Result<(), Failure> {
        let seconds = WATCH + fastrand::u32(0..=WATCH_SPREAD);
        let params = WatchParams {
            label_selector: self.reading.selector.clone(),
            timeout: Some(seconds),
            ..WatchParams::default()
        };
        let request = request.watch(&params, version).map_err(unbuildable)?;
        let patience = Duration::from_secs(u64::from(seconds)) + OVERDUE;
        let mut lines = Lines::new(self.open(request).await?);
        self.trouble.over();
        loop {
            let late = |_| Failure::Late(patience);
            let line = timeout_at(Instant::now() + patience, lines.next()).await;
            let Some(line) = line.map_err(late)?? else {
                return Ok(());
            };
            if line.is_empty() {
                continue;
            }
            let event: Event<'_> = serde_json::from_slice(&line)?;
            let newer = match event.kind {
                "ADDED" | "MODIFIED" => self.tell(event.object.get()).await.version,
                "DELETED" => self.take_back(event.object.get()).await?,
                "BOOKMARK" => Head::of(event.object.get())?.resource_version,
                "ERROR" => return Err(Failure::of_event(event.object.get())?),
                other => return Err(Failure::Garbled(format!("an event of type {other}"))),
            };
            if !newer.is_empty() {
                *version = newer;
            }
        }
    }

    /// Opens a watch. While that takes long nothing is seen, and that must not look like quiet.
    async fn open(&mut self, request: http::Request<Vec<u8>>) -> Result<Body, Failure> {
        let mut opening = std::pin::pin!(fetch::open(&self.client, request));
        if let Ok(opened) = timeout(PROMPT, &mut opening).await {
            return opened;
        }
        self.trouble.slow();
        opening.await
    }

    /// Tells an object, if it can be told: one with a name that no key can carry, or with a part of the
    /// wrong type, is as absent, and somebody ought to know.
    async fn tell(&mut self, json: &str) -> Told<K> {
        let (head, facts) = match (self.reading.read)(json) {
            Ok(read) => read,
            Err(error) => {
                let head = Head::of(json).unwrap_or_default();
                self.trouble.unreadable(&head, &error.to_string());
                (head, None)
            }
        };
        let Some(key) = self.key(&head) else {
            self.trouble
                .unreadable(&head, "its name is not a DNS-1123 label");
            return Told::absent(head);
        };
        let Some(facts) = facts else {
            self.gone(key).await;
            return Told::absent(head);
        };
        self.known.insert(key.clone());
        self.send(News::Present(key.clone(), facts)).await;
        Told {
            key: Some(key),
            version: head.resource_version,
        }
    }

    /// Tells that an object was deleted; answers how new that is.
    async fn take_back(&mut self, json: &str) -> Result<String, Failure> {
        let head = Head::of(json)?;
        if let Some(key) = self.key(&head) {
            self.gone(key).await;
        }
        Ok(head.resource_version)
    }

    /// The key of an object: the one that is known, so that its text is shared with whoever holds it.
    fn key(&self, head: &Head) -> Option<K> {
        let key = (self.reading.key)(head)?;
        Some(self.known.get(&key).cloned().unwrap_or(key))
    }

    /// Told first, forgotten then: whoever stops this in between tells it once more.
    async fn gone(&mut self, key: K) {
        if self.known.contains(&key) {
            self.send(News::Gone(key.clone())).await;
            self.known.remove(&key);
        }
    }

    async fn send(&self, news: News<K, F>) {
        // Nobody listens any more: whoever did will end this task.
        let _ = self.news.send((self.source, news)).await;
    }

    async fn pause(&mut self, failure: &Failure) {
        sleep(self.trouble.pause(failure)).await;
    }

    /// What happened since the last event is unknown: only a list tells.
    async fn lost(&mut self, failure: &Failure) {
        sleep(self.trouble.lost(failure)).await;
    }
}

/// Until what is served has changed into something that is not the `same`.
async fn moved(
    served: &mut watch::Receiver<Option<Served>>,
    same: impl Fn(Option<Served>) -> bool,
) {
    while same(*served.borrow_and_update()) {
        if served.changed().await.is_err() {
            // Nobody will say any more.
            std::future::pending::<()>().await;
        }
    }
}

fn unbuildable(error: kube::core::request::Error) -> Failure {
    Failure::Garbled(error.to_string())
}

/// What became of one object of a list or an event.
struct Told<K> {
    /// Its key, if it is among the present now.
    key: Option<K>,
    /// How new it is.
    version: String,
}

impl<K> Told<K> {
    fn absent(head: Head) -> Self {
        Self {
            key: None,
            version: head.resource_version,
        }
    }
}
