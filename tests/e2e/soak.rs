//! Nothing piles up: what all that happens leaves behind is nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::support::churn::Churn;
use crate::support::client::host;
use crate::support::counts::{Counts, back_to, calm};
use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests, NAMESPACE};
use crate::support::reveille::Reveille;
use crate::support::setting;

/// Sandboxes that live all along.
const STAY: usize = 6;
/// Sandboxes that are deleted on the way, under their clients.
const GO: usize = 12;
/// When they are.
const SOON: Duration = Duration::from_secs(15);

/// Twenty seconds, and half an hour with `REVEILLE_LONG=1`.
#[tokio::test]
async fn sandboxes_that_are_used_sleep_fail_and_go_leave_nothing_behind() {
    let rounds = if setting("REVEILLE_LONG", 0) == 0 {
        3
    } else {
        500
    };
    let (stay, go) = (names("stay", STAY), names("go", GO));
    let home = Home::with(&fleet(&stay, &go));
    let reveille = Reveille::start(&home).await;
    let churn = |name: &str| Churn {
        address: reveille.listen,
        host: host(name),
    };
    let count = || async {
        let text = reveille.operator("/metrics").await.unwrap().ok();
        Counts::of(reveille.pid(), std::str::from_utf8(&text.body).unwrap())
    };
    let uses = async |name: &str| {
        let silent = churn(name).through().await;
        reveille.await_state(name, "asleep").await;
        drop(silent);
    };

    // What is made once is made now.
    uses(&stay[0]).await;
    let mut before = calm(count).await;
    let going = go
        .iter()
        .map(|name| async { churn(name).to_its_end().await });
    let using = async {
        for _ in 0..rounds {
            join_all(stay.iter().map(|name| uses(name))).await;
        }
    };
    let (answered, ()) = tokio::join!(join_all(going), using);
    assert_eq!(
        answered.iter().filter(|count| **count == 0).count(),
        1,
        "{answered:?}"
    );
    for gauge in [
        "reveille_activator_directory_targets",
        "reveille_sandboxes{state=\"asleep\"}",
    ] {
        before.take(gauge, GO);
    }
    back_to(&before, GO + STAY * rounds, count).await;
    assert_eq!(
        logs(&home),
        stay.into_iter().collect(),
        "only the living have logs"
    );
    reveille.stop().await;
}

fn names(word: &str, count: usize) -> Vec<String> {
    let numbers = 0..count;
    numbers.map(|number| format!("{word}-{number}")).collect()
}

/// All of them sleep as soon as nobody uses them; the first of those that go never comes up.
fn fleet(stay: &[String], go: &[String]) -> Manifests {
    let end = (Timestamp::now() + SOON).strftime("%Y-%m-%dT%H:%M:%SZ");
    let going = go.iter().enumerate().map(|(number, name)| {
        let agent = Agent::asleep(name).until(&end.to_string());
        match number {
            0 => agent.flags(["--crash-on-start", "always"]),
            _ => agent,
        }
    });
    let quick = json!({"cooldownPeriod": 0, "minimumUptime": 0, "websocketIdle": 1});
    let staying = stay.iter().map(|name| Agent::asleep(name));
    staying
        .chain(going)
        .fold(Manifests::new().policy(quick), Manifests::agent)
}

/// Whose logs are kept.
fn logs(home: &Home) -> BTreeSet<String> {
    std::fs::read_dir(home.state().join("logs").join(NAMESPACE))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
