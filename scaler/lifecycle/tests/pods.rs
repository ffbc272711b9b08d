//! Pods of somebody else's: a spec, folders and an address go in, statuses come out.
#![expect(clippy::unwrap_used, reason = "all of this is tests")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PodSpec, PodStatus};
use reveille_lifecycle::local::{
    Access, Address, Board, Config, Folder, Identity, Machine, Pod, Stop,
};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const DEADLINE: Duration = Duration::from_secs(120);

struct Running {
    statuses: watch::Receiver<Option<PodStatus>>,
    stop: Stop,
    task: JoinHandle<()>,
}

async fn machine(dir: &Path) -> Arc<Machine> {
    let config = Config {
        state_dir: dir.to_owned(),
        logs: false,
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        path_dirs: Vec::new(),
    };
    Arc::new(Machine::open(config).await.unwrap())
}

fn spec(script: &str, more: &serde_json::Value) -> PodSpec {
    let mut container = json!({"name": "main", "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "env": [{"name": "DATA", "value": "/data"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]});
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    serde_json::from_value(json!({"containers": [container]})).unwrap()
}

/// A pod at an address of its own that shares `data` with its like; `previous` as in [`Board::new`].
fn run(
    machine: &Arc<Machine>,
    uid: &str,
    spec: PodSpec,
    data: &Path,
    previous: Option<&PodStatus>,
) -> Running {
    let (tx, statuses) = watch::channel(None);
    let report = Box::new(move |status: &PodStatus, _: &[_]| {
        tx.send_replace(Some(status.clone()));
    });
    let stop = Stop::default();
    let pod = Pod {
        machine: Arc::clone(machine),
        identity: Identity {
            name: "alice".into(),
            namespace: "agents".into(),
            uid: format!("{uid}-{}", std::process::id()),
            ..Identity::default()
        },
        folders: vec![Folder {
            volume: "data".into(),
            path: data.to_owned(),
            access: Access::Shared,
        }],
        address: Address::Own(Ipv4Addr::new(127, 1, 2, 3)),
        board: Arc::new(Board::new(&spec, previous, report)),
        spec,
        stop: stop.clone(),
    };
    Running {
        statuses,
        stop,
        task: tokio::spawn(pod.run()),
    }
}

impl Running {
    async fn until(&mut self, what: &str, look: impl Fn(&PodStatus) -> bool) -> PodStatus {
        let seen = self
            .statuses
            .wait_for(|status| status.as_ref().is_some_and(&look));
        let seen = tokio::time::timeout(DEADLINE, seen).await;
        seen.expect(what).expect(what).clone().unwrap()
    }

    async fn ended(self) -> PodStatus {
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("an end")
            .unwrap();
        self.statuses.borrow().clone().unwrap()
    }
}

fn is_ready(status: &PodStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}

fn exit_code(status: &PodStatus) -> Option<i32> {
    let state = status
        .container_statuses
        .as_ref()?
        .first()?
        .state
        .as_ref()?;
    Some(state.terminated.as_ref()?.exit_code)
}

async fn written(path: &Path) -> String {
    let wait = async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("a file")
}

#[tokio::test]
async fn a_pod_with_an_address_of_its_own_keeps_its_ports_and_shares_folders() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(&dir.path().join("state")).await;
    let data = dir.path().join("data");
    let script = "echo $HOST $IP $PORT > $DATA/$0; exec sleep 100000";
    let one = spec(
        script,
        &json!({"args": ["one"], "ports": [{"containerPort": 7001}]}),
    );
    let two = spec(
        script,
        &json!({"args": ["two"], "ports": [{"containerPort": 7001}]}),
    );
    let mut one = run(&machine, "one", one, &data, None);
    let mut two = run(&machine, "two", two, &data, None);
    for (pod, file) in [(&mut one, "one"), (&mut two, "two")] {
        let status = pod.until("ready", is_ready).await;
        assert_eq!(status.pod_ip.as_deref(), Some("127.1.2.3"));
        assert_eq!(
            written(&data.join(file)).await,
            "127.1.2.3 127.1.2.3 7001\n"
        );
        pod.stop.within(Duration::from_secs(30));
    }
    for pod in [one, two] {
        let last = pod.ended().await;
        assert_eq!(
            (last.phase.as_deref(), exit_code(&last)),
            (Some("Failed"), Some(143))
        );
    }
}

#[tokio::test]
async fn a_pod_that_is_run_once_more_counts_it_as_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(&dir.path().join("state")).await;
    let data = dir.path().join("data");
    let mut first = run(
        &machine,
        "first",
        spec("exec sleep 100000", &json!({})),
        &data,
        None,
    );
    let before = first.until("ready", is_ready).await;
    first.stop.within(Duration::ZERO);
    first.ended().await;
    let again = spec("exec sleep 100000", &json!({}));
    let mut again = run(&machine, "again", again, &data, Some(&before));
    let status = again.until("ready", is_ready).await;
    assert_eq!(status.start_time, before.start_time);
    assert_eq!(status.container_statuses.unwrap()[0].restart_count, 1);
    again.stop.within(Duration::ZERO);
    again.ended().await;
}

#[tokio::test]
async fn an_unhealthy_end_takes_nothing_from_the_grace_of_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(&dir.path().join("state")).await;
    let data = dir.path().join("data");
    // Ill in its first life; in its second it needs a moment of its grace.
    let script =
        "trap 'sleep 0.2; exit 7' TERM; echo up >> $DATA/lives; while :; do sleep 0.01; done";
    let probe = json!({"livenessProbe": {"exec": {"command": ["sh", "-c", "test $(wc -l < $DATA/lives) -ge 2"]},
        "periodSeconds": 1, "timeoutSeconds": 30, "failureThreshold": 1}});
    let mut spec = spec(script, &probe);
    spec.termination_grace_period_seconds = Some(1);
    let mut pod = run(&machine, "ill", spec, &data, None);
    pod.until("its second life", |status| {
        let status = &status.container_statuses.as_ref().unwrap()[0];
        status.restart_count == 1
            && status
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
    })
    .await;
    let lives = async {
        while written(&data.join("lives")).await.lines().count() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, lives)
        .await
        .expect("two lives");
    // By now the grace of the first end would be over, were it shared.
    tokio::time::sleep(Duration::from_secs(1)).await;
    pod.stop.within(Duration::from_secs(20));
    assert_eq!(exit_code(&pod.ended().await), Some(7));
}
