//! Who is a member.

use std::sync::Arc;

use reveille_kubernetes::health::Health;
use reveille_kubernetes::members;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bench::{DEADLINE, client};
use crate::fake::Fake;
use crate::fake::store::Kind;

fn activator(name: &str, state: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "reveille", "labels": {"app": "activator"}},
        "spec": {"containers": [{"name": "activator"}]},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "activator", "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": {state: {}},
        }]},
    })
}

struct Members {
    names: watch::Receiver<Vec<Arc<str>>>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Members {
    async fn of(fake: &Fake) -> Self {
        let (tx, names) = watch::channel(vec!["nobody knows".into()]);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(members::follow(
            client(fake).await,
            "reveille".to_owned(),
            "app=activator".to_owned(),
            tx,
            watch::Sender::new(Health::default()),
            shutdown.clone(),
        ));
        Self {
            names,
            shutdown,
            task,
        }
    }

    async fn until(&mut self, wanted: &[&str]) {
        let same = |names: &Vec<Arc<str>>| names.iter().map(|it| &**it).eq(wanted.iter().copied());
        let done = tokio::time::timeout(DEADLINE, self.names.wait_for(same)).await;
        let done = done.map(|it| drop(it.unwrap()));
        assert!(done.is_ok(), "{wanted:?}, not {:?}", self.names.borrow());
    }

    async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn members_are_the_pods_that_match_and_have_a_running_container() {
    let fake = Fake::start().await;
    fake.put(Kind::Pod, activator("b.2", "running"));
    fake.put(Kind::Pod, activator("a", "running"));
    fake.put(Kind::Pod, activator("pulling", "waiting"));
    fake.put(Kind::Pod, activator("ended", "terminated"));
    let mut stranger = activator("stranger", "running");
    stranger["metadata"]["labels"] = json!({"app": "other"});
    fake.put(Kind::Pod, stranger);
    let mut elsewhere = activator("elsewhere", "running");
    elsewhere["metadata"]["namespace"] = json!("default");
    fake.put(Kind::Pod, elsewhere);
    let mut unscheduled = activator("unscheduled", "waiting");
    unscheduled["status"] = json!({"phase": "Pending"});
    fake.put(Kind::Pod, unscheduled);
    let mut members = Members::of(&fake).await;
    members.until(&["a", "b-2"]).await;
    fake.put(Kind::Pod, activator("pulling", "running"));
    members.until(&["a", "b-2", "pulling"]).await;
    fake.put(Kind::Pod, activator("a", "terminated"));
    members.until(&["b-2", "pulling"]).await;
    members.end().await;
}

#[tokio::test]
async fn a_member_that_is_leaving_is_one_until_it_has_left() {
    let fake = Fake::start().await;
    let mut leaving = activator("a", "running");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
    fake.put(Kind::Pod, leaving);
    let mut members = Members::of(&fake).await;
    members.until(&["a"]).await;
    fake.delete(Kind::Pod, "a");
    members.until(&[]).await;
    members.end().await;
}

#[tokio::test]
async fn without_an_api_nobody_becomes_or_ceases_to_be_a_member() {
    let mut fake = Fake::start().await;
    fake.put(Kind::Pod, activator("a", "running"));
    fake.stop();
    let mut members = Members::of(&fake).await;
    members.until(&["nobody knows"]).await;
    fake.start_again().await;
    members.until(&["a"]).await;
    fake.stop();
    fake.edit(|store| {
        store.delete(Kind::Pod, "a");
        store.put(Kind::Pod, activator("b", "running"));
        store.compact();
    });
    members.until(&["a"]).await;
    fake.start_again().await;
    members.until(&["b"]).await;
    members.end().await;
}

#[tokio::test]
async fn no_pods_at_all_is_an_answer() {
    let fake = Fake::start().await;
    let mut members = Members::of(&fake).await;
    members.until(&[]).await;
    members.end().await;
}
