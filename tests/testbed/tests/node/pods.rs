//! What a pod does while nobody wants it gone.

use super::support::{
    Bench, condition, exit_code, get, ip, is_alive, is_ready, main_container, phase, until, written,
};

#[tokio::test]
async fn a_pod_sees_its_address_and_what_it_refers_to() {
    let bench = Bench::new("refers").await;
    bench
        .apply(
            "---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {MODEL: 'small $(HOME) $x', motto.txt: carpe diem}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: s3cr3t}
",
        )
        .await;
    let script = "cat $MOTTO > $SHARED/motto; printf '%s|' \"$HOST\" \"$POD_IP\" \"$ALSO\" \"$PORT\" \"$NODE\" \"$TOKEN\" \"$MODEL\" \"${REVEILLE_TESTBED:+marked}\" > $SHARED/seen; exec sleep 100000";
    let container = "ports: [{containerPort: 7000}]
    envFrom: [{configMapRef: {name: settings}}]
    volumeMounts: [{name: files, mountPath: /etc/files}]";
    let yaml = bench.shell(
        "alice",
        script,
        container,
        "volumes: [{name: files, configMap: {name: settings, items: [{key: motto.txt, path: m}]}}]",
    );
    let yaml = yaml.replace(
        "env: [",
        "env: [{name: ALSO, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}, {name: MOTTO, value: /etc/files/m}, ",
    );
    bench.apply(&yaml).await;
    let pod = bench.ready("alice").await;
    let ip = ip(&pod);
    assert!(ip.starts_with("127."), "{ip}");
    let status = pod.status.as_ref().unwrap();
    assert_eq!(status.host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(status.pod_ips.as_ref().unwrap().len(), 1);
    assert!(status.start_time.is_some());
    for kind in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
        assert!(condition(&pod, kind).unwrap().0, "{kind}");
    }
    let seen = written(&bench.file("seen"), "small").await;
    assert_eq!(
        seen,
        format!("{ip}|{ip}|{ip}|7000|agent-0|s3cr3t|small $(HOME) $x|marked|")
    );
    written(&bench.file("motto"), "carpe diem").await;
}

#[tokio::test]
async fn what_a_pod_refers_to_may_come_later() {
    let bench = Bench::new("later").await;
    let container = "envFrom: [{secretRef: {name: late}}]";
    let yaml = bench.shell("alice", "exec sleep 100000", container, "");
    bench.apply(&yaml).await;
    let waits = |pod: &k8s_openapi::api::core::v1::Pod| {
        let state = main_container(pod)?.state.as_ref()?.waiting.clone()?;
        (state.reason.as_deref() == Some("CreateContainerConfigError")).then_some(state.message?)
    };
    let message = until(&bench.pods(), "alice", "waiting", |pod| waits(pod?)).await;
    assert!(message.contains("late"), "{message}");
    bench
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: late}, stringData: {A: b}}")
        .await;
    bench.ready("alice").await;
}

#[tokio::test]
async fn pods_with_the_same_port_answer_each_at_its_own_address() {
    let bench = Bench::new("ports").await;
    for name in ["alice", "bob"] {
        let agent = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: agent, image: none, command: [reveille, example-agent], args: [--name, {name}], env: [{{name: HOST, value: 0.0.0.0}}], ports: [{{containerPort: 8888, name: http}}], readinessProbe: {{httpGet: {{path: /readyz, port: http}}}}}}]}}}}"
        );
        bench.apply(&agent).await;
    }
    let (alice, bob) = (bench.ready("alice").await, bench.ready("bob").await);
    assert_ne!(ip(&alice), ip(&bob));
    for (pod, name) in [(alice, "alice"), (bob, "bob")] {
        let body = get(&ip(&pod), "/").await.unwrap();
        assert!(body.contains(&format!("\"name\":\"{name}\"")), "{body}");
    }
}

#[tokio::test]
async fn a_container_that_keeps_ending_is_backed_off_and_one_that_may_end_stays_ended() {
    let bench = Bench::new("ends").await;
    let yaml = bench.shell("crashes", "echo life >> $SHARED/lives; exit 3", "", "")
        + &bench.shell("fails", "exit 4", "", "restartPolicy: Never")
        + &bench.shell("succeeds", "exit 0", "", "restartPolicy: OnFailure");
    bench.apply(&yaml).await;
    let crashed = until(&bench.pods(), "crashes", "backed off", |pod| {
        let status = main_container(pod?)?.clone();
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        (waiting.reason.as_deref() == Some("CrashLoopBackOff")).then_some(status)
    })
    .await;
    let last = crashed.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, crashed.restart_count >= 1), (3, true));
    let ended = |name: &'static str| {
        let pods = bench.pods();
        async move {
            until(&pods, name, "ended", |pod| {
                pod.filter(|pod| ["Failed", "Succeeded"].contains(&phase(pod)))
                    .cloned()
            })
            .await
        }
    };
    let (failed, succeeded) = (ended("fails").await, ended("succeeds").await);
    assert_eq!((phase(&failed), exit_code(&failed)), ("Failed", Some(4)));
    assert_eq!(
        (phase(&succeeded), exit_code(&succeeded)),
        ("Succeeded", Some(0))
    );
    assert_eq!(
        condition(&succeeded, "Ready"),
        Some((false, "PodCompleted".to_owned()))
    );
    // What ended is deleted like what runs.
    bench.delete("fails").await;
    bench.gone("fails").await;
}

#[tokio::test]
async fn init_containers_come_first_and_sidecars_stay_beside() {
    let bench = Bench::new("init").await;
    let shared = bench.shared.path().display();
    let init = format!(
        "initContainers:
  - {{name: one, image: none, command: [sh, -c, 'echo one >> {shared}/order']}}
  - {{name: side, image: none, restartPolicy: Always, command: [sh, -c, 'echo side >> {shared}/order; exec sleep 100000'], startupProbe: {{exec: {{command: [grep, side, '{shared}/order']}}}}}}
  - {{name: two, image: none, command: [sh, -c, 'while ! test -e {shared}/go; do sleep 0.01; done; echo two >> {shared}/order']}}"
    );
    let script = "echo main >> $SHARED/order; exec sleep 100000";
    bench.apply(&bench.shell("alice", script, "", &init)).await;
    let early = until(&bench.pods(), "alice", "initializing", |pod| {
        let init = pod?.status.as_ref()?.init_container_statuses.as_ref()?;
        init.get(2)?.state.as_ref()?.running.as_ref()?;
        pod.cloned()
    })
    .await;
    assert_eq!(phase(&early), "Pending");
    assert!(!condition(&early, "Initialized").unwrap().0);
    assert!(
        ip(&early).starts_with("127."),
        "a pod has its address from the start"
    );
    std::fs::write(bench.file("go"), "").unwrap();
    bench.ready("alice").await;
    let order = written(&bench.file("order"), "main").await;
    assert_eq!(order, "one\nside\ntwo\nmain\n");
}

#[tokio::test]
async fn probes_decide_over_readiness_and_restarts() {
    let bench = Bench::new("probes").await;
    let container = format!(
        "readinessProbe: {{exec: {{command: [test, -e, '{0}/ready']}}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1}}
    livenessProbe: {{exec: {{command: [test, '!', -e, '{0}/sick']}}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1}}",
        bench.shared.path().display()
    );
    let script = "rm -f $SHARED/sick; echo $$ >> $SHARED/pids; exec sleep 100000";
    bench
        .apply(&bench.shell("alice", script, &container, ""))
        .await;
    let running = until(&bench.pods(), "alice", "running", |pod| {
        pod.filter(|pod| phase(pod) == "Running").cloned()
    })
    .await;
    assert!(!is_ready(&running));
    std::fs::write(bench.file("ready"), "").unwrap();
    bench.ready("alice").await;
    std::fs::remove_file(bench.file("ready")).unwrap();
    until(&bench.pods(), "alice", "unready", |pod| {
        (!is_ready(pod?)).then_some(())
    })
    .await;
    let first = written(&bench.file("pids"), "\n").await;
    std::fs::write(bench.file("sick"), "").unwrap();
    until(&bench.pods(), "alice", "restarted", |pod| {
        (main_container(pod?)?.restart_count == 1).then_some(())
    })
    .await;
    assert!(!is_alive(&first));
}
