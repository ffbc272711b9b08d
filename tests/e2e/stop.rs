//! The end of Reveille: asked for, and not.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::Empty;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::client::{post, request, send};
use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests};
use crate::support::process::{Process, agents, catches};
use crate::support::reveille::{Reveille, command, refused};
use crate::support::{PATIENCE, until, within};

#[tokio::test]
async fn sigterm_lets_requests_in_flight_finish_and_tells_the_parked_to_come_back() {
    let manifests = Manifests::new()
        .agent(Agent::asleep("alice"))
        .agent(Agent::asleep("bob").gated())
        .policy(json!({"cooldownPeriod": 60}));
    let (home, reveille) = Reveille::of(&manifests).await;
    reveille.get("alice", "/").await.ok();
    let mut in_flight = Vec::new();
    for _ in 0..10 {
        let slow = request(Method::GET, "alice", "/slow?ms=8000", Empty::<Bytes>::new());
        in_flight.push(tokio::spawn(send(reveille.listen, slow)));
    }
    let mut parked = Vec::new();
    for _ in 0..10 {
        parked.push(tokio::spawn(send(
            reveille.listen,
            post("bob", "/count", &json!({})),
        )));
    }
    reveille.await_parked(10).await;
    reveille.await_in_flight("alice", 10).await;
    reveille.terminate();
    for reply in parked {
        let reply = reply.await.unwrap().unwrap();
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    }
    for reply in in_flight {
        reply.await.unwrap().unwrap().ok();
    }
    reveille.ends_well().await;
    assert!(
        agents(&home.marker()).is_empty(),
        "no process is left behind"
    );
}

#[tokio::test]
async fn sigterm_while_idle_ends_with_success_and_leaves_no_process() {
    let manifests = Manifests::one(Agent::awake("alice"), 60)
        .agent(Agent::awake("bob").flags(["--ignore-term"]));
    let (home, reveille) = Reveille::of(&manifests).await;
    reveille.get("alice", "/").await.ok();
    reveille.get("bob", "/").await.ok();
    assert_eq!(agents(&home.marker()).len(), 2);
    reveille.stop().await;
    assert!(agents(&home.marker()).is_empty());
}

#[tokio::test]
async fn orphans_of_a_killed_reveille_are_ended_before_their_volumes_are_touched() {
    let manifests = Manifests::one(Agent::asleep("alice").flags(["--ignore-term"]), 60);
    let (home, reveille) = Reveille::of(&manifests).await;
    reveille
        .post("alice", "/chat", &json!({"message": "my name is Ada"}))
        .await
        .ok();
    let orphans = agents(&home.marker());
    assert_eq!(orphans.len(), 1);
    reveille.kill().await;
    assert_eq!(
        agents(&home.marker()),
        orphans,
        "the agent outlives its Reveille"
    );

    let reveille = Reveille::start(&home).await;
    // Its conversation is locked by whoever writes it: an answer proves that the orphan is gone.
    let recalled = reveille
        .post("alice", "/chat", &json!({"message": "what is my name?"}))
        .await
        .ok();
    assert_eq!(recalled.json()["reply"], "Your name is Ada.");
    let now = agents(&home.marker());
    assert!(
        now.len() == 1 && now != orphans,
        "{now:?} after {orphans:?}"
    );
}

#[tokio::test]
async fn a_restart_keeps_every_conversation() {
    let (home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    reveille
        .post("alice", "/chat", &json!({"message": "my name is Ada"}))
        .await
        .ok();
    reveille.stop().await;
    let reveille = Reveille::start(&home).await;
    let recalled = reveille
        .post("alice", "/chat", &json!({"message": "who am I?"}))
        .await
        .ok();
    assert_eq!(recalled.json()["reply"], "You are Ada.");
}

#[tokio::test]
async fn a_second_reveille_on_the_same_state_is_refused() {
    let (home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    let (status, text) = refused(&home, &[]).await;
    assert!(!status.success());
    assert!(text.contains(&home.state().display().to_string()), "{text}");
    reveille.get("alice", "/").await.ok();
}

#[tokio::test]
async fn a_flood_of_requests_does_not_keep_reveille_from_stopping() {
    let home = Home::with(&Manifests::one(Agent::asleep("alice"), 60));
    let reveille = Reveille::start(&home).await;
    reveille.get("alice", "/").await.ok();
    let listen = reveille.listen;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        clients.spawn(async move {
            let mut answered = 0;
            // After the listener is gone a connection fails; before that every answer is whole.
            while let Ok(reply) = send(listen, post("alice", "/count", &json!({}))).await {
                match reply.status.as_u16() {
                    200 => answered += 1,
                    503 => assert!(!reply.header("retry-after").is_empty(), "{reply:?}"),
                    _ => panic!("{reply:?}"),
                }
            }
            answered
        });
    }
    until("some answers", || async {
        (reveille.get("alice", "/count").await.json()["value"].as_u64()? > 200).then_some(())
    })
    .await;
    reveille.stop().await;
    let answered: u64 = clients.join_all().await.into_iter().sum();
    let reveille = Reveille::start(&home).await;
    let counted = reveille.get("alice", "/count").await.ok().json()["value"]
        .as_u64()
        .unwrap();
    assert_eq!(counted, answered, "what was executed was answered");
}

#[tokio::test]
async fn a_signal_at_any_moment_of_the_start_ends_with_success_and_leaves_no_process() {
    let manifests = Manifests::one(Agent::awake("alice"), 60).agent(Agent::asleep("bob"));
    let home = Home::with(&manifests);
    for round in 0..60 {
        let signal = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT][round % 3];
        let mut starting = command(&home, &[]);
        starting.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::of(starting.spawn().unwrap());
        until("the handlers", || async {
            catches(process.pid(), signal).then_some(())
        })
        .await;
        // Not a wait for something: any moment will do.
        let moment = Duration::from_micros(fastrand::u64(0..60_000));
        tokio::time::sleep(moment).await;
        process.signal(signal);
        let status = process.ended(PATIENCE).await.expect("it ends");
        assert!(status.success(), "{signal} {moment:?} in: {status}");
        assert!(agents(&home.marker()).is_empty(), "{signal} {moment:?} in");
    }
}

#[tokio::test]
async fn closing_the_terminal_ends_reveille_and_its_agents() {
    let home = Home::with(&Manifests::one(Agent::awake("alice"), 60));
    let mut child = command(&home, &[]).spawn().unwrap();
    // A terminal that is closed takes no more output.
    drop(child.stdout.take());
    let mut output = BufReader::new(child.stderr.take().unwrap());
    let process = Process::of(child);
    let reading = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        while !line.contains("\"serving\"") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "it serves");
        }
        output
    });
    let output = within("serving", reading).await.unwrap();
    until("the agent", || async {
        (agents(&home.marker()).len() == 1).then_some(())
    })
    .await;
    drop(output);
    process.signal(Signal::SIGHUP);
    let status = process.ended(PATIENCE).await.expect("it ends");
    assert!(status.success(), "{status}");
    assert!(agents(&home.marker()).is_empty());
}
