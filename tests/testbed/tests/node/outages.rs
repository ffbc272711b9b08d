//! The node while the API is away, and after an end of its own.

use std::path::Path;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use reveille_testbed::node::{self, Config};
use reveille_testbed::{Nodes, Options, Part, Testbed};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::support::{
    Bench, DEADLINE, eventually, exit_code, ip, is_alive, is_ready, main_container, phase, until,
    written,
};

/// A node in this process.
struct Agent {
    task: JoinHandle<Result<(), node::Error>>,
    shutdown: CancellationToken,
}

impl Agent {
    fn start(client: &Client, name: &str, state_dir: &Path) -> Self {
        let config = Config {
            node_name: name.to_owned(),
            state_dir: state_dir.to_owned(),
            path_dirs: Vec::new(),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(node::run(client.clone(), config, shutdown.clone()));
        Self { task, shutdown }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("an end").unwrap().unwrap();
    }

    /// As a `kill -9`: nothing is ended, only the tasks are gone.
    async fn abandon(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A node to which the scheduler sends nothing: pods are bound to it by name.
async fn cordoned(client: &Client, name: &str) -> Api<Node> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = json!({"metadata": {"name": name}, "spec": {"unschedulable": true}});
    let node = serde_json::from_value(node).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    nodes
}

fn is_node_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| {
        all.iter()
            .any(|it| it.type_ == "Ready" && it.status == "True")
    })
}

#[tokio::test]
async fn a_node_becomes_ready_renews_its_lease_and_keeps_its_cordon() {
    let bench = Bench::new("registers").await;
    let name = bench.namespace.as_str();
    let nodes = cordoned(&bench.client, name).await;
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&bench.client, name, dir.path());
    let node = until(&nodes, name, "ready", |node| {
        node.filter(|node| is_node_ready(node)).cloned()
    })
    .await;
    assert_eq!(node.spec.as_ref().unwrap().unschedulable, Some(true));
    let leases: Api<Lease> = Api::namespaced(bench.client.clone(), "kube-node-lease");
    until(&leases, name, "held", |lease| {
        lease?.spec.as_ref()?.renew_time.clone()
    })
    .await;
    agent.stop().await;
}

#[tokio::test]
async fn a_node_that_was_killed_ends_what_it_left_and_runs_its_pods_again() {
    let bench = Bench::new("restarts").await;
    let name = bench.namespace.as_str();
    cordoned(&bench.client, name).await;
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&bench.client, name, dir.path());
    // The child outlives the first process, which ends with the task that waits for it.
    let script = "sleep 100000 & echo $! >> $SHARED/$ME; wait";
    let here = format!("nodeName: {name}");
    let pod = |me: &str| {
        let me_too = format!("env: [{{name: ME, value: {me}}}, ");
        bench
            .shell(me, script, "", &here)
            .replace("env: [", &me_too)
    };
    let done = format!("{here}\n  restartPolicy: Never");
    let yaml = pod("alice") + &pod("carol") + &bench.shell("bob", "exit 0", "", &done);
    bench.apply(&yaml).await;
    let first = bench.ready("alice").await;
    bench.ready("carol").await;
    until(&bench.pods(), "bob", "done", |pod| {
        (phase(pod?) == "Succeeded").then_some(())
    })
    .await;
    let alice = written(&bench.file("alice"), "\n").await;
    let carol = written(&bench.file("carol"), "\n").await;
    agent.abandon().await;
    assert!(is_alive(&alice) && is_alive(&carol));
    bench.delete("carol").await;
    let agent = Agent::start(&bench.client, name, dir.path());
    let again = until(&bench.pods(), "alice", "restarted", |pod| {
        let restarted = is_ready(pod?) && main_container(pod?)?.restart_count == 1;
        pod.filter(|_| restarted).cloned()
    })
    .await;
    assert_eq!(first.metadata.uid, again.metadata.uid);
    let ips = again.status.as_ref().unwrap().pod_ips.as_ref().unwrap();
    assert!(ips.len() == 1 && ip(&first) != ip(&again));
    assert!(!is_alive(&alice) && !is_alive(&carol));
    bench.gone("carol").await;
    assert_eq!(exit_code(&bench.pods().get("bob").await.unwrap()), Some(0));
    agent.stop().await;
    let last = std::fs::read_to_string(bench.file("alice")).unwrap();
    assert!(!is_alive(last.lines().last().unwrap()));
    let records = std::fs::read_dir(dir.path().join("run")).unwrap();
    assert_eq!(records.count(), 0, "an end leaves no process");
}

#[tokio::test]
async fn pods_run_on_while_the_api_is_away_and_what_happened_is_told_when_it_is_back() {
    let options = Options {
        nodes: Nodes::Agent(1),
        controller: false,
        audit: false,
        ..Options::default()
    };
    let testbed = Testbed::start(options).await.unwrap();
    let bench = Bench::on(&testbed, "outage").await;
    let steady = "echo $$ > $SHARED/pid; exec sleep 100000";
    let yaml = bench.shell("alice", steady, "", "")
        + &bench.shell("bob", "while ! test -e $SHARED/end; do sleep 0.01; done; exit 5", "", "restartPolicy: Never")
        + &bench.shell("carol", "trap 'echo asked > $SHARED/asked; while ! test -e $SHARED/end; do sleep 0.01; done; touch $SHARED/carol; exit 0' TERM; echo up > $SHARED/up; while :; do sleep 0.01; done", "", "");
    bench.apply(&yaml).await;
    for name in ["alice", "bob", "carol"] {
        bench.ready(name).await;
    }
    let pid = written(&bench.file("pid"), "\n").await;
    written(&bench.file("up"), "\n").await;
    bench.delete("carol").await;
    written(&bench.file("asked"), "\n").await;
    testbed.kill(Part::ApiServer).await.unwrap();
    std::fs::write(bench.file("end"), "").unwrap();
    eventually("the end of carol", || bench.file("carol").exists()).await;
    assert!(is_alive(&pid));
    testbed.start_part(Part::ApiServer).await.unwrap();
    until(&bench.pods(), "bob", "failed", |pod| {
        (phase(pod?) == "Failed" && exit_code(pod?) == Some(5)).then_some(())
    })
    .await;
    bench.gone("carol").await;
    let alice = bench.ready("alice").await;
    assert_eq!(main_container(&alice).unwrap().restart_count, 0);
    assert!(is_alive(&pid));
    // A node that somebody deletes registers again, and goes on.
    let nodes: Api<Node> = Api::all(bench.client.clone());
    let node = nodes.get("agent-0").await.unwrap();
    nodes
        .delete("agent-0", &DeleteParams::default())
        .await
        .unwrap();
    until(&nodes, "agent-0", "registered again", |again| {
        let again = again?;
        (again.metadata.uid != node.metadata.uid && is_node_ready(again)).then_some(())
    })
    .await;
    bench
        .apply(&bench.shell("dora", "exec sleep 100000", "", ""))
        .await;
    bench.ready("dora").await;
}
