use serde_json::{Value, json};

use super::*;

/// Facts of a ready pod of Sandbox `alice`, changed by a JSON merge patch.
fn facts(change: &Value) -> PodFacts {
    PodFacts::of(&pod(change)).unwrap()
}

fn pod(change: &Value) -> Pod {
    let mut object = json!({
        "metadata": {
            "name": "alice", "namespace": "agents", "uid": "p1", "creationTimestamp": "2026-01-02T03:04:05Z",
            "ownerReferences": [{
                "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "name": "alice", "uid": "s1",
                "controller": true,
            }],
        },
        "spec": {"containers": [{"name": "agent", "ports": [
            {"containerPort": 8888, "name": "http"}, {"containerPort": 9000, "name": "grpc-api"},
            {"containerPort": 9001, "name": "h2c"}, {"containerPort": 9002, "name": "grpcapi"},
            {"containerPort": 9003, "name": "grpc-web"}, {"containerPort": 9004, "name": "my-grpc"},
        ]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

fn merge(into: &mut Value, change: &Value) {
    for (key, value) in change.as_object().unwrap() {
        match value {
            Value::Object(_) if into[key].is_object() => merge(&mut into[key], value),
            Value::Null => drop(into.as_object_mut().unwrap().remove(key)),
            _ => into[key] = value.clone(),
        }
    }
}

#[test]
fn a_ready_pod_tells_where_and_whose_it_is() {
    let facts = facts(&json!({}));
    assert_eq!(
        (&*facts.uid, &*facts.sandbox, &*facts.sandbox_uid),
        ("p1", "alice", "s1")
    );
    assert!(facts.ready && !facts.terminating && facts.fault.is_none() && facts.probe.is_none());
    assert_eq!(&*facts.h2c, [9000, 9001, 9002]);
    assert_eq!(facts.address(8888), Some("10.0.0.7:8888".parse().unwrap()));
}

#[test]
fn a_pod_tells_how_long_its_processes_get_to_end() {
    assert_eq!(facts(&json!({})).grace, 30);
    let long = json!({"spec": {"terminationGracePeriodSeconds": 3600}});
    assert_eq!(facts(&long).grace, 3600);
    let at_once = json!({
        "metadata": {"deletionTimestamp": "2026-01-02T03:05:00Z", "deletionGracePeriodSeconds": 0},
        "spec": {"terminationGracePeriodSeconds": 3600},
    });
    assert_eq!(facts(&at_once).grace, 0);
}

#[test]
fn a_pod_that_no_sandbox_controls_is_nothing_to_us() {
    let owner = |kind: &str, api: &str, controller: bool| {
        let owner = json!({"apiVersion": api, "kind": kind, "name": "alice", "uid": "s1", "controller": controller});
        PodFacts::of(&pod(&json!({"metadata": {"ownerReferences": [owner]}})))
    };
    assert!(owner("Sandbox", "agents.x-k8s.io/v1alpha1", true).is_some());
    assert!(owner("Sandbox", "agents.x-k8s.io/v1beta1", false).is_none());
    assert!(owner("Sandbox", "example.com/v1", true).is_none());
    assert!(owner("ReplicaSet", "apps/v1", true).is_none());
    assert!(PodFacts::of(&pod(&json!({"metadata": {"ownerReferences": null}}))).is_none());
}

#[test]
fn mapped_ports_reach_only_what_is_mapped() {
    let mapped =
        |text: &str| facts(&json!({"metadata": {"annotations": {"reveille.dev/ports": text}}}));
    let good = mapped(r#"{"8888": 41234, "9000": 41235}"#);
    assert_eq!(good.address(9000), Some("10.0.0.7:41235".parse().unwrap()));
    assert_eq!(good.address(80), None);
    for text in [
        "{}",
        "[]",
        "8888",
        "{",
        r#"{"8888": "x"}"#,
        r#"{"70000": 1}"#,
    ] {
        assert_eq!(mapped(text).address(8888), None, "{text}");
    }
}

#[test]
fn an_address_is_the_first_that_can_be_read() {
    assert_eq!(facts(&json!({"status": {"podIP": null}})).ip, None);
    let six = json!({"status": {"podIP": null, "podIPs": [{"ip": "fd00::7"}, {"ip": "10.0.0.7"}]}});
    assert_eq!(
        facts(&six).address(80),
        Some("[fd00::7]:80".parse().unwrap())
    );
    assert_eq!(facts(&json!({"status": {"podIP": "nonsense"}})).ip, None);
    assert_eq!(facts(&json!({"status": null})).ip, None);
}

#[test]
fn a_deleted_pod_is_terminating() {
    assert!(facts(&json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:06Z"}})).terminating);
}

fn waiting(list: &str, reason: &str) -> PodFacts {
    facts(&json!({"status": {"phase": "Pending", list: [
        {"name": "first", "ready": true, "restartCount": 0, "image": "", "imageID": "",
         "state": {"running": {}}},
        {"name": "agent", "ready": false, "restartCount": 0, "image": "", "imageID": "",
         "state": {"waiting": {"reason": reason, "message": "told by the kubelet"}}},
    ]}}))
}

#[test]
fn a_container_that_waits_in_vain_is_a_fault() {
    for reason in STUCK {
        for list in ["containerStatuses", "initContainerStatuses"] {
            let fault = waiting(list, reason).fault.unwrap();
            assert_eq!(&*fault.reason, reason);
            assert_eq!(&*fault.message, "container agent: told by the kubelet");
        }
    }
    for reason in ["ContainerCreating", "PodInitializing", ""] {
        assert_eq!(waiting("containerStatuses", reason).fault, None, "{reason}");
    }
}

#[test]
fn a_pod_that_nothing_has_room_for_says_so() {
    let pending = |status: &str, reason: &str| {
        facts(&json!({"status": {"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": status, "reason": reason, "message": "0/3 nodes are available",
        }]}}))
    };
    let fault = pending("False", "Unschedulable").fault.unwrap();
    assert_eq!(
        (&*fault.reason, &*fault.message),
        ("Unschedulable", "0/3 nodes are available")
    );
    assert_eq!(pending("False", "SchedulingGated").fault, None);
    assert_eq!(pending("True", "").fault, None);
}

#[test]
fn a_pod_that_ended_is_a_fault() {
    let ended = |phase: &str, more: Value| {
        let mut status = json!({"phase": phase});
        merge(&mut status, &more);
        facts(&json!({"status": status})).fault.unwrap()
    };
    let evicted = ended(
        "Failed",
        json!({"reason": "Evicted", "message": "low on memory"}),
    );
    assert_eq!(
        (&*evicted.reason, &*evicted.message),
        ("PodFailed", "Evicted: low on memory")
    );
    let exit = |name: &str, code: i32| {
        json!({"name": name, "ready": false, "restartCount": 0, "image": "", "imageID": "",
               "state": {"terminated": {"exitCode": code, "message": "disk full\n"}}})
    };
    let failed = ended(
        "Failed",
        json!({"containerStatuses": [exit("helper", 0), exit("agent", 3)]}),
    );
    assert_eq!(
        &*failed.message,
        "container agent exited with code 3: disk full"
    );
    let done = ended("Succeeded", json!({}));
    assert_eq!(
        (&*done.reason, &*done.message),
        ("PodSucceeded", "all containers ended")
    );
}

fn probe_of(container: Value) -> Option<Probe> {
    let mut container = container;
    container["name"] = json!("agent");
    container["ports"] = json!([{"containerPort": 8888, "name": "http"}]);
    facts(&json!({"spec": {"containers": [{"name": "sidecar"}, container]}})).probe
}

#[test]
fn an_http_probe_is_made_as_the_kubelet_makes_it() {
    let headers = json!([{"name": "X-Token", "value": "a"}]);
    let get =
        json!({"port": "http", "path": "/ready?x=1", "httpHeaders": headers, "scheme": "HTTP"});
    let probe = probe_of(json!({"readinessProbe": {"httpGet": get, "timeoutSeconds": 3}}));
    let expected = Probe::Http {
        port: 8888,
        path: "/ready?x=1".into(),
        headers: [("X-Token".to_owned(), "a".to_owned())].into(),
        timeout: Duration::from_secs(3),
    };
    assert_eq!(probe, Some(expected));
    let bare = probe_of(json!({"readinessProbe": {"httpGet": {"port": 81}}}));
    let Some(Probe::Http {
        port: 81,
        path,
        timeout,
        ..
    }) = bare
    else {
        panic!("{bare:?}")
    };
    assert_eq!((&*path, timeout), ("/", Duration::from_secs(1)));
}

#[test]
fn a_tcp_probe_needs_a_port() {
    assert_eq!(
        probe_of(json!({"readinessProbe": {"tcpSocket": {"port": 81}}})),
        Some(Probe::Tcp { port: 81 })
    );
    assert_eq!(
        probe_of(json!({"readinessProbe": {"tcpSocket": {"port": "http"}}})),
        Some(Probe::Tcp { port: 8888 })
    );
}

#[test]
fn a_grpc_probe_asks_about_a_service() {
    let asked = json!({"grpc": {"port": 9000, "service": "agent"}, "timeoutSeconds": 3});
    let Some(Probe::Grpc {
        port,
        service,
        timeout,
    }) = probe_of(json!({"readinessProbe": asked}))
    else {
        panic!("not a grpc probe")
    };
    assert_eq!(
        (port, &*service, timeout),
        (9000, "agent", Duration::from_secs(3))
    );
    let whole = probe_of(json!({"readinessProbe": {"grpc": {"port": 9000}}}));
    assert!(matches!(whole, Some(Probe::Grpc { service, .. }) if service.is_empty()));
}

#[test]
fn what_only_the_kubelet_can_do_is_left_to_it() {
    for probe in [
        json!({"exec": {"command": ["true"]}}),
        json!({"grpc": {"port": 0}}),
        json!({"httpGet": {"port": 443, "scheme": "HTTPS"}}),
        json!({"httpGet": {"port": 80, "host": "10.0.0.9"}}),
        json!({"httpGet": {"port": "nowhere"}}),
        json!({"tcpSocket": {"port": 80, "host": "10.0.0.9"}}),
        json!({"tcpSocket": {"port": 0}}),
    ] {
        assert_eq!(
            probe_of(json!({"readinessProbe": probe})),
            Some(Probe::Kubelet),
            "{probe}"
        );
    }
    let gated = json!({"spec": {"readinessGates": [{"conditionType": "example.com/warm"}]}});
    assert_eq!(facts(&gated).probe, Some(Probe::Kubelet));
}

#[test]
fn a_startup_probe_stands_in_for_a_missing_readiness_probe() {
    let startup = json!({"httpGet": {"port": 8888, "path": "/up"}});
    let probe = probe_of(json!({"startupProbe": startup}));
    assert!(matches!(probe, Some(Probe::Http { path, .. }) if &*path == "/up"));
    let both = json!({"startupProbe": startup, "readinessProbe": {"exec": {"command": ["true"]}}});
    assert_eq!(probe_of(both), Some(Probe::Kubelet));
    assert_eq!(probe_of(json!({})), None);
}

#[test]
fn a_pod_on_the_network_of_its_node_is_reached_at_its_declared_ports_alone() {
    let facts = facts(&json!({"spec": {"hostNetwork": true}}));
    assert_eq!(facts.address(8888), Some("10.0.0.7:8888".parse().unwrap()));
    assert_eq!(facts.address(10250), None, "the kubelet's");
}
