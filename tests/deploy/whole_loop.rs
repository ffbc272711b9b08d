//! `reveille activator` and `reveille scaler` with nothing but the rights that the manifests give them,
//! over NATS with its permissions: a request wakes a sandbox, and quiet puts it to sleep again.

use std::net::SocketAddr;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams, PostParams};
use reveille_testbed::Testbed;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::nats::Nats;
use crate::support::child::ask;
use crate::support::parts::Parts;
use crate::support::{HOME, SANDBOX, bed, objects, sandbox, until};

/// Headers that name a sandbox and the port of its agent.
fn fields(name: &str, namespace: &str, agent: SocketAddr) -> String {
    let port = agent.port();
    format!(
        "x-sandbox-id: {name}\r\nx-sandbox-namespace: {namespace}\r\nx-sandbox-port: {port}\r\n\
         x-sandbox-timeout: 50\r\n"
    )
}

/// An agent that answers every connection, on an address of its own.
async fn agent() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
            let _ = stream.write_all(answer).await;
        }
    });
    (address, serving)
}

/// What a node and upstream's controller would do for `alice` once she is wanted awake.
async fn bring_up(bed: &Testbed, namespace: &str, agent: SocketAddr) {
    let sandboxes = objects(bed.client().unwrap(), namespace, SANDBOX);
    let uid = until("the wake", || async {
        let alice = sandboxes.get("alice").await.unwrap();
        (alice.data["spec"]["operatingMode"] == "Running").then(|| alice.metadata.uid.unwrap())
    })
    .await;
    let pods: Api<Pod> = Api::namespaced(bed.client().unwrap(), namespace);
    let owner = json!({"apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "name": "alice", "uid": uid, "controller": true});
    let pod = json!({
        "metadata": {
            "name": "alice",
            "labels": {"agents.x-k8s.io/sandbox-name-hash": "00000000"},
            "ownerReferences": [owner],
        },
        // Nobody schedules it, so nobody says that it cannot be.
        "spec": {"schedulerName": "none", "containers": [{"name": "agent", "image": "agent", "ports": [{"containerPort": agent.port()}]}]},
    });
    let pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let status = json!({"status": {
        "phase": "Running",
        "podIP": agent.ip(),
        "podIPs": [{"ip": agent.ip()}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    pods.patch_status("alice", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_wakes_and_quiet_puts_to_sleep_over_nats_with_permissions() {
    let (bed, nats, (agent, _serving)) = (bed().await, Nats::start().await, agent().await);
    let namespace = bed.namespace("loop").await.unwrap();
    let policy = "{apiVersion: reveille.dev/v1alpha1, kind: ScaledSandbox, metadata: {name: all}, \
         spec: {selector: {matchLabels: {fleet: research}}, cooldownPeriod: 1, minimumUptime: 0}}";
    bed.apply_in(&namespace, policy).await.unwrap();
    bed.apply_in(&namespace, &sandbox("alice", "Suspended"))
        .await
        .unwrap();
    let mut parts = Parts::start(bed, &namespace, Some(&nats)).await;
    let listen = parts.activator.address("listen").await;

    let fields = fields("alice", &namespace, agent);
    let asked = ask(listen, "/", &fields);
    let ((), (status, answer)) = tokio::join!(bring_up(bed, &namespace, agent), asked);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("x-reveille-wake: started"), "{answer}");

    let sandboxes = objects(bed.client().unwrap(), &namespace, SANDBOX);
    let alice = until("the sleep", || async {
        let alice = sandboxes.get("alice").await.unwrap();
        (alice.data["spec"]["operatingMode"] == "Suspended").then_some(alice)
    })
    .await;
    let annotations = alice.metadata.annotations.unwrap();
    assert_eq!(annotations["reveille.dev/epoch"], "2");
    assert_eq!(annotations["note"], "theirs");

    // Both end well when they are told to, and the next leader need not wait.
    let leases: Api<Lease> = Api::namespaced(bed.client().unwrap(), HOME);
    let holder = async || {
        let lease = leases.get("reveille-scaler").await.unwrap();
        lease.spec.unwrap().holder_identity.unwrap_or_default()
    };
    assert_ne!(holder().await, "");
    for part in [&mut parts.scaler, &mut parts.activator] {
        part.terminate();
        assert!(part.ended().await.success());
    }
    assert_eq!(holder().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_a_request_wakes_by_the_scalers_api() {
    let (bed, (agent, _serving)) = (bed().await, agent().await);
    let namespace = bed.namespace("loop").await.unwrap();
    bed.apply_in(&namespace, &sandbox("alice", "Suspended"))
        .await
        .unwrap();
    let parts = Parts::start(bed, &namespace, None).await;
    let listen = parts.activator.address("listen").await;
    let fields = fields("alice", &namespace, agent);
    let asked = ask(listen, "/", &fields);
    let ((), (status, answer)) = tokio::join!(bring_up(bed, &namespace, agent), asked);
    assert_eq!(status, 200, "{answer}");

    // What the scaler will not do, its API says, and the client hears.
    let held = sandbox("bob", "Suspended").replace("note: theirs", "reveille.dev/hold: asleep");
    bed.apply_in(&namespace, &held).await.unwrap();
    let fields = fields.replace("alice", "bob");
    let (status, answer) = until("the hold", || async {
        let (status, answer) = ask(listen, "/", &fields).await;
        (status != 404).then_some((status, answer))
    })
    .await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("HeldAsleep"), "{answer}");
    let admin = parts.scaler.address("admin").await;
    let path = format!("/v1/sandboxes/{namespace}/alice");
    let (status, answer) = ask(admin, &path, "").await;
    assert_eq!(status, 200, "{answer}");
}
