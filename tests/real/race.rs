//! A request in the very moment of sleeping, to a real container: slower, never lost, never sent to a
//! pod that dies.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::stage;
use crate::support::figures::Phases;
use crate::support::instances::{Instances, answered_by};
use crate::support::manifests::{Agent, policy};
use crate::support::objects::uid_of;
use crate::support::size;

#[tokio::test]
async fn a_request_in_the_moment_of_sleeping_is_answered_by_no_dying_container() {
    let tries = size(36, 360);
    let cluster = stage::cluster().await;
    let instances = Instances::of(&cluster);
    let pods = instances.pods();
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    // One goes on answering while it dies, until it is killed.
    let agents = [
        Agent::asleep("polite"),
        Agent::asleep("stubborn").flags(["--ignore-term"]).grace(2),
    ];
    let mut uids = Vec::new();
    for agent in &agents {
        let sandbox = cluster.create(agent.sandbox()).await;
        uids.push((
            sandbox["metadata"]["name"].as_str().unwrap().to_owned(),
            uid_of(&sandbox),
        ));
    }
    for (name, uid) in &uids {
        let mut by_before = String::new();
        let mut slept_under = 0;
        for attempt in 0..tries / 2 {
            let door = cluster.door(usize::try_from(attempt % 2).unwrap());
            if attempt % 3 > 0 {
                pods.told_to_sleep(uid).await;
            } else {
                // About when cooldown, report and drain end.
                sleep(Duration::from_millis(fastrand::u64(900..1_500))).await;
            }
            let dying = pods.dying();
            let reply = door.get(name, "/").await.ok();
            let by = answered_by(&reply);
            assert!(
                !dying.contains(&by),
                "{name} was answered for by a dying pod: {reply:?}"
            );
            slept_under += u32::from(by != by_before);
            by_before = by;
        }
        println!(
            "{name}: {} requests, all answered; {slept_under} pods",
            tries / 2
        );
    }
    println!("{} sleeps in all", cluster.said("to sleep after"));
    Phases::of(&cluster).print("requests on the heels of a sleep");
    cluster.nobody_panicked();
}
