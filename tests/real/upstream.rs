//! What upstream's controller and the kubelet do by themselves: the ground Reveille stands on.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::stage;
use crate::support::http::send;
use crate::support::manifests::Agent;
use crate::support::{size, within};
use crate::timeline::Timeline;

/// Port of the example agent.
const PORT: u16 = 8888;
/// Between two tries to connect, as the activator's own at their fastest.
const STEP: Duration = Duration::from_millis(2);

/// Check C6: what is published between a resume and the end of the pod from before.
#[tokio::test]
async fn a_dying_pod_is_published_as_ready_when_its_sandbox_is_resumed() {
    let cluster = stage::bare().await;
    // It goes on answering until it is killed, five seconds after SIGTERM.
    let agent = Agent::awake("alice").flags(["--ignore-term"]).grace(5);
    cluster.create(agent.sandbox()).await;
    let timeline = Timeline::of(&cluster, "alice");
    let up = timeline
        .first("the first pod ready", Instant::now(), |seen| {
            seen.living().is_some_and(|(_, pod)| pod.ready)
        })
        .await;
    let (first, _) = up.seen.living().unwrap();
    let began = Instant::now();
    cluster.set_mode("alice", "Suspended").await;
    timeline
        .first("the pod being deleted", began, |seen| {
            seen.living().is_none() && seen.suspended.ends_with("PodTerminating")
        })
        .await;
    let resumed = Instant::now();
    cluster.set_mode("alice", "Running").await;
    let again = timeline
        .first("another pod ready", resumed, |seen| {
            seen.living()
                .is_some_and(|(uid, pod)| uid != first && pod.ready)
                && seen.ready.starts_with("True")
        })
        .await;
    println!(
        "C6: told to sleep at 0 s, resumed at {:.2} s",
        (resumed - began).as_secs_f64()
    );
    timeline.print(began);
    let moments = timeline.since(resumed);
    let falsely = moments.iter().zip(moments.iter().skip(1));
    let falsely: Duration = falsely
        .filter(|(moment, _)| moment.seen.is_falsely_ready())
        .map(|(moment, next)| next.at - moment.at)
        .sum();
    println!(
        "C6: Ready=True of the present generation, with the address of the dying pod: for {:.2} s of {:.2} s",
        falsely.as_secs_f64(),
        (again.at - resumed).as_secs_f64(),
    );
    assert!(
        !falsely.is_zero(),
        "upstream no longer says so; the guard against it may be obsolete"
    );
    assert!(
        moments.iter().all(|moment| moment.seen.pods.len() < 2),
        "two pods at once"
    );
}

/// Where the time of a resume goes, without Reveille: what probing on one's own saves.
#[tokio::test]
async fn an_agent_takes_connections_before_the_kubelet_calls_it_ready() {
    let cycles = size(20, 100);
    let cluster = stage::bare().await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    let timeline = Timeline::of(&cluster, "alice");
    let mut table: Vec<[f64; 7]> = Vec::new();
    for _ in 0..cycles {
        cluster.await_mode("alice", "Suspended").await;
        let (began, clock) = (Instant::now(), Timestamp::now());
        cluster.set_mode("alice", "Running").await;
        let first = |what: &'static str, accept: fn(&crate::timeline::Pod) -> bool| {
            timeline.first(what, began, move |seen| {
                seen.living().is_some_and(|(_, pod)| accept(pod))
            })
        };
        let address = first("address", |pod| pod.ip.is_some()).await;
        let ip = address.seen.living().unwrap().1.ip.clone().unwrap();
        let accepted = accepts(&ip).await;
        let created = first("created", |_| true).await.at;
        let scheduled = first("scheduled", |pod| pod.scheduled).await.at;
        let running = first("running", |pod| pod.running).await.at;
        let ready = first("ready", |pod| pod.ready).await.at;
        let published = timeline
            .first("published", began, |seen| {
                seen.living().is_some_and(|(_, pod)| pod.ready) && seen.ready.starts_with("True")
            })
            .await
            .at;
        let started: Timestamp = about(&ip).await["started"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let started = started.duration_since(clock).as_secs_f64() * 1e3;
        let ms = |at: Instant| (at - began).as_secs_f64() * 1e3;
        table.push([
            ms(created),
            ms(scheduled),
            started,
            ms(running.max(address.at)),
            ms(accepted),
            ms(ready),
            ms(published),
        ]);
        cluster.set_mode("alice", "Suspended").await;
    }
    print_table(&table);
    let early = table.iter().filter(|row| row[4] <= row[5]).count();
    assert_eq!(early as u64, cycles, "ready before it took connections");
}

/// Connects until it is let in.
async fn accepts(ip: &str) -> Instant {
    let connect = async {
        while TcpStream::connect((ip, PORT)).await.is_err() {
            sleep(STEP).await;
        }
        Instant::now()
    };
    within("a connection", connect).await
}

/// What the agent at an address says of itself, asked directly.
pub(crate) async fn about(ip: &str) -> Value {
    let request = Request::builder()
        .uri("/")
        .header("host", "agent")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let address = format!("{ip}:{PORT}").parse().unwrap();
    send(address, request).await.unwrap().ok().json()
}

fn print_table(table: &[[f64; 7]]) {
    println!(
        "{} resumes, milliseconds after the PATCH was sent:",
        table.len()
    );
    println!("  {:<44} {:>7} {:>7} {:>7}", "", "least", "median", "most");
    let phases = [
        "pod created",
        "pod scheduled",
        "agent's process started (its own clock)",
        "container running and address known by watch",
        "first accepted TCP connection",
        "kubelet says Ready",
        "Sandbox says Ready",
    ];
    for (phase, name) in phases.iter().enumerate() {
        let mut all: Vec<f64> = table.iter().map(|row| row[phase]).collect();
        all.sort_by(f64::total_cmp);
        println!(
            "  {name:<44} {:>7.0} {:>7.0} {:>7.0}",
            all[0],
            all[all.len() / 2],
            all[all.len() - 1]
        );
    }
}
