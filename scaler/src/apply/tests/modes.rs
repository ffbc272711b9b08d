//! The fence of a wake and a sleep.

use std::collections::BTreeSet;
use std::sync::Arc;

use reveille_crds::change::Hold;
use reveille_kubernetes::discovery::Version;
use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn a_wake_changes_the_mode_and_our_annotations_and_nothing_else_is_ours() {
    let bench = Bench::new("mode").await;
    let object = json!({
        "apiVersion": SANDBOX.api_version(), "kind": "Sandbox",
        "metadata": {"name": "alice", "annotations": {"team": "blue"}},
        "spec": {"operatingMode": "Suspended", "podTemplate": pod_template()},
    });
    let namespace = &bench.namespace;
    bench
        .testbed
        .apply_in(namespace, &object.to_string())
        .await
        .unwrap();
    let before = bench.get(SANDBOX, "alice").await.unwrap();
    let wake = change(&bench, &before, 0, OperatingMode::Running);
    assert_eq!(
        bench.writer.set_mode(&wake, None, None, soon()).await,
        Ok(1)
    );
    let sleep = change(&bench, &before, 1, OperatingMode::Suspended);
    assert_eq!(
        bench.writer.set_mode(&sleep, None, None, soon()).await,
        Ok(2)
    );
    let after = bench.get(SANDBOX, "alice").await.unwrap();
    let annotations = &after["metadata"]["annotations"];
    assert_eq!(after["spec"]["operatingMode"], "Suspended");
    assert_eq!(annotations["reveille.dev/epoch"], "2");
    assert_eq!(annotations["reveille.dev/wake-reason"], "http");
    assert_eq!(annotations["team"], "blue");
    let ours = after["metadata"]["managedFields"].as_array().unwrap();
    let ours: Vec<_> = ours
        .iter()
        .filter(|entry| entry["manager"] == "reveille-scaler")
        .collect();
    let [entry] = ours[..] else {
        panic!("{ours:#?}")
    };
    assert_eq!(entry["subresource"], Value::Null, "never its status");
    let fields = &entry["fieldsV1"];
    assert_eq!(fields["f:spec"], json!({"f:operatingMode": {}}));
    let annotations = fields["f:metadata"]["f:annotations"].as_object().unwrap();
    let names: BTreeSet<&str> = annotations.keys().map(String::as_str).collect();
    let expected = [
        "f:reveille.dev/epoch",
        "f:reveille.dev/last-sleep",
        "f:reveille.dev/last-wake",
        "f:reveille.dev/sleep-reason",
        "f:reveille.dev/wake-reason",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(fields.as_object().unwrap().len(), 2, "{fields:#}");
}

#[tokio::test]
async fn what_is_not_as_it_was_looked_at_is_not_touched() {
    let bench = Bench::new("fence").await;
    let annotated = json!({"reveille.dev/epoch": "5"});
    let object = bench.sandbox("alice", "Suspended", annotated).await;
    let right = change(&bench, &object, 5, OperatingMode::Running);
    let other_uid = ModeChange {
        uid: Arc::from("00000000-0000-0000-0000-000000000000"),
        ..right.clone()
    };
    let older = ModeChange {
        epoch: 4,
        ..right.clone()
    };
    let newer = ModeChange {
        epoch: 6,
        ..right.clone()
    };
    let unmarked = ModeChange {
        epoch: 0,
        ..right.clone()
    };
    let other_mode = change(&bench, &object, 5, OperatingMode::Suspended);
    for wrong in [other_uid, older, newer, unmarked, other_mode] {
        let refused = bench.writer.set_mode(&wrong, None, None, soon()).await;
        assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
    }
    let after = bench.get(SANDBOX, "alice").await.unwrap();
    assert_eq!(
        after["metadata"]["generation"],
        object["metadata"]["generation"]
    );
    assert_eq!(epoch(&after), "5");
    assert_eq!(
        bench.writer.set_mode(&right, None, None, soon()).await,
        Ok(6)
    );
}

#[tokio::test]
async fn an_object_without_annotations_an_epoch_or_a_readable_epoch_is_woken_all_the_same() {
    let bench = Bench::new("odd").await;
    let epochs = [
        ("none", Value::Null),
        ("empty", json!({})),
        ("other", json!({"team": "blue"})),
        ("unreadable", json!({"reveille.dev/epoch": "many"})),
        ("zero", json!({"reveille.dev/epoch": "0"})),
    ];
    for (name, annotations) in epochs {
        let object = bench.sandbox(name, "Suspended", annotations).await;
        let wake = change(&bench, &object, 0, OperatingMode::Running);
        assert_eq!(
            bench.writer.set_mode(&wake, None, None, soon()).await,
            Ok(1),
            "{name}"
        );
        let after = bench.get(SANDBOX, name).await.unwrap();
        assert_eq!(
            (epoch(&after), &after["spec"]["operatingMode"]),
            (&json!("1"), &json!("Running"))
        );
        let sleep = change(&bench, &object, 1, OperatingMode::Suspended);
        assert_eq!(
            bench.writer.set_mode(&sleep, None, None, soon()).await,
            Ok(2),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_being_deleted_is_a_conflict_and_what_is_gone_is_not_found() {
    let bench = Bench::new("gone").await;
    let object = bench.sandbox("alice", "Suspended", json!({})).await;
    let wake = change(&bench, &object, 0, OperatingMode::Running);
    let held = json!({"metadata": {"finalizers": ["reveille.dev/test"]}});
    bench.merge(SANDBOX, "alice", held).await;
    bench.delete(SANDBOX, "alice").await;
    let refused = bench.writer.set_mode(&wake, None, None, soon()).await;
    assert!(
        matches!(&refused, Err(Failure::Conflict(why)) if why.contains("deleted")),
        "{refused:?}"
    );
    let released = json!({"metadata": {"finalizers": null}});
    bench.merge(SANDBOX, "alice", released).await;
    bench.until_gone(SANDBOX, "alice").await;
    let refused = bench.writer.set_mode(&wake, None, None, soon()).await;
    assert!(matches!(refused, Err(Failure::NotFound(_))), "{refused:?}");
    // Another of its name is not woken for it.
    bench.sandbox("alice", "Suspended", json!({})).await;
    let refused = bench.writer.set_mode(&wake, None, None, soon()).await;
    assert!(
        matches!(&refused, Err(Failure::Conflict(why)) if why.contains("replaced")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn of_wakes_and_sleeps_by_several_writers_exactly_one_wins_each_epoch() {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 40;
    let bench = Bench::new("race").await;
    let object = bench.sandbox("alice", "Running", json!({})).await;
    let mut won = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            // Half of them believe what was true one epoch ago.
            let is_late = number % 2 == 1;
            let to = if (round % 2 == 0) ^ is_late {
                OperatingMode::Suspended
            } else {
                OperatingMode::Running
            };
            let epoch = if is_late {
                round.saturating_sub(1)
            } else {
                round
            };
            let change = change(&bench, &object, epoch, to);
            let writer = bench.writer.clone();
            writers.spawn(async move { writer.set_mode(&change, None, None, soon()).await });
        }
        let mut done = Vec::new();
        while let Some(result) = writers.join_next().await {
            match result.unwrap() {
                Ok(epoch) => done.push(epoch),
                // A wake that comes second is told of the first.
                Err(Failure::Conflict(_) | Failure::Overtaken(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(done, [round + 1], "one winner in round {round}");
        assert!(won.insert(round + 1));
    }
    let after = bench.get(SANDBOX, "alice").await.unwrap();
    assert_eq!(epoch(&after), &json!(ROUNDS.to_string()));
}

/// Leaves only the old version of Sandbox to be served, as up to 0.4.
async fn downgrade(testbed: &Testbed) -> kube::Client {
    let client = client(testbed, Who::Admin).await;
    let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let one = format!("{all}/sandboxes.agents.x-k8s.io");
    let call = |method, path: String, body: Option<Value>| {
        let client = client.clone();
        async move {
            let body = body.map(|body| (Body::Json, body));
            call::send::<Value>(&client, method, &path, body, soon()).await
        }
    };
    let mut kind = call(Method::GET, one.clone(), None).await.unwrap();
    let versions = kind["spec"]["versions"].as_array().unwrap();
    let old = versions.iter().find(|it| it["name"] == "v1alpha1").unwrap();
    let mut old = old.clone();
    (old["storage"], old["served"]) = (json!(true), json!(true));
    let mut spec = kind["spec"].take();
    spec["versions"] = json!([old]);
    call(Method::DELETE, one.clone(), None).await.unwrap();
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "sandboxes.agents.x-k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": spec,
    });
    let code = |version: &'static str| {
        let path = format!("/apis/agents.x-k8s.io/{version}/namespaces/default/sandboxes");
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        async {
            match client.request_text(request).await {
                Ok(_) => 200,
                Err(kube::Error::Api(status)) => status.code,
                Err(_) => 0,
            }
        }
    };
    let replaced = async {
        // The old kind answers reads until the server has seen it gone. Only after that does an answer
        // come from the new one, and mean that it takes objects too.
        while code("v1beta1").await != 404 {
            sleep(Duration::from_millis(50)).await;
        }
        call(Method::POST, all.to_owned(), Some(kind))
            .await
            .unwrap();
        while code("v1alpha1").await != 200 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, replaced)
        .await
        .expect("the old version is served");
    client
}

#[tokio::test]
async fn where_only_the_old_version_is_served_a_sandbox_sleeps_by_its_replicas() {
    let options = reveille_testbed::Options {
        nodes: reveille_testbed::Nodes::None,
        audit: false,
        controller: false,
        ..reveille_testbed::Options::default()
    };
    let testbed = Testbed::start(options).await.unwrap();
    let client = downgrade(&testbed).await;
    let old = Kind::Sandbox(Version::V1Alpha1);
    let writer = writer_of(client.clone(), Version::V1Alpha1);
    for (name, replicas) in [("alice", json!(1)), ("bob", Value::Null)] {
        let key = SandboxKey::new("default", name).unwrap();
        let mut spec = json!({"podTemplate": pod_template()});
        if !replicas.is_null() {
            spec["replicas"] = replicas;
        }
        let object = json!({
            "apiVersion": old.api_version(), "kind": "Sandbox",
            "metadata": {"name": name}, "spec": spec,
        });
        let call = |method, path: String, body| {
            let client = client.clone();
            async move { call::send::<Value>(&client, method, &path, body, soon()).await }
        };
        let body = Some((Body::Json, object));
        let object = call(Method::POST, old.all("default"), body).await.unwrap();
        let sleep = ModeChange {
            busy_until: None,
            key: key.clone(),
            uid: uid(&object).into(),
            epoch: 0,
            from: OperatingMode::Running,
            to: OperatingMode::Suspended,
            cause: "idle",
        };
        assert_eq!(
            writer.set_mode(&sleep, None, None, soon()).await,
            Ok(1),
            "{name}"
        );
        let after = call(Method::GET, old.one(&key), None).await.unwrap();
        assert_eq!(after["spec"]["replicas"], 0);
        assert!(after["spec"].get("operatingMode").is_none(), "not both");
        let again = writer.set_mode(&sleep, None, None, soon()).await;
        assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
        let wake = ModeChange {
            epoch: 1,
            from: OperatingMode::Suspended,
            to: OperatingMode::Running,
            ..sleep
        };
        assert_eq!(writer.set_mode(&wake, None, None, soon()).await, Ok(2));
        let after = call(Method::GET, old.one(&key), None).await.unwrap();
        assert_eq!(after["spec"]["replicas"], 1);
        // The new version, which an upgrade will bring, is not there yet.
        let early = writer_of(client.clone(), Version::V1Beta1);
        let wake = ModeChange { epoch: 2, ..wake };
        let early = early.set_mode(&wake, None, None, soon()).await;
        assert!(matches!(early, Err(Failure::Unavailable(_))), "{early:?}");
    }
}

#[tokio::test]
async fn a_hold_is_set_and_taken_away_on_the_very_object_that_was_looked_at() {
    let bench = Bench::new("hold").await;
    let object = bench.sandbox("alice", "Running", Value::Null).await;
    let (key, uid) = (bench.key("alice"), uid(&object));
    let hold = |hold| bench.writer.set_hold(&key, uid, hold, soon());
    assert_eq!(hold(Some(Hold::Asleep)).await, Ok(()));
    let there = bench.get(SANDBOX, "alice").await.unwrap();
    assert_eq!(
        there["metadata"]["annotations"]["reveille.dev/hold"],
        "asleep"
    );
    assert_eq!(hold(None).await, Ok(()));
    let there = bench.get(SANDBOX, "alice").await.unwrap();
    assert_eq!(
        there["metadata"]["annotations"]["reveille.dev/hold"],
        Value::Null
    );
    let other = bench
        .writer
        .set_hold(&key, "another", Some(Hold::Awake), soon())
        .await;
    assert!(matches!(other, Err(Failure::Conflict(_))), "{other:?}");
}

#[tokio::test]
async fn a_hold_that_was_set_meanwhile_keeps_the_mode_as_it_is() {
    let bench = Bench::new("held").await;
    let annotations = json!({"reveille.dev/hold": "awake"});
    let object = bench.sandbox("alice", "Running", annotations).await;
    let sleep = change(&bench, &object, 0, OperatingMode::Suspended);
    let refused = bench.writer.set_mode(&sleep, None, None, soon()).await;
    assert!(
        matches!(&refused, Err(Failure::Conflict(why)) if why.contains("hold")),
        "{refused:?}"
    );
    let asleep = json!({"metadata": {"annotations": {"reveille.dev/hold": "asleep"}}});
    bench.merge(SANDBOX, "alice", asleep).await;
    let held = Some(Hold::Asleep);
    assert_eq!(
        bench.writer.suspend(&sleep, held, None, soon()).await,
        Ok(1)
    );
    let unreadable = json!({"metadata": {"annotations": {"reveille.dev/hold": "perhaps"}}});
    bench.merge(SANDBOX, "alice", unreadable).await;
    let wake = change(&bench, &object, 1, OperatingMode::Running);
    assert_eq!(
        bench.writer.set_mode(&wake, None, None, soon()).await,
        Ok(2)
    );
}
