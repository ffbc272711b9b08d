use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::validate;

use super::*;

const SANDBOX: &str = "
apiVersion: agents.x-k8s.io/v1beta1
kind: Sandbox
metadata: {name: alice, namespace: agents}
spec:
  podTemplate:
    spec:
      containers: [{name: agent, image: example.test/agent:1, command: [agent]}]
";

fn load_text(text: &str) -> Result<Vec<Object>, Errors> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.yaml");
    std::fs::write(&file, text).unwrap();
    load(&[file], validate)
}

/// The problems of `text`, as `document|field|text`.
fn problems(text: &str) -> Vec<String> {
    let errors = load_text(text).expect_err("problems");
    errors
        .0
        .iter()
        .map(|it| format!("{}|{}|{}", it.document, it.field, it.text))
        .collect()
}

fn container(extra: &str) -> String {
    SANDBOX.replace("command: [agent]", &format!("command: [agent], {extra}"))
}

fn pod(extra: &str) -> String {
    format!("{SANDBOX}      {extra}\n")
}

#[test]
fn what_kubernetes_takes_is_taken() {
    let text = format!(
        "# a comment first\n---\n{SANDBOX}---\n\n---\n{}---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: reveille.dev/v1alpha1, kind: ScaledSandbox, metadata: {{name: all}}, spec: {{selector: {{matchLabels: {{a: b}}}}}}}}\n",
        SANDBOX
            .replace("alice", "bob")
            .replace(", namespace: agents", "")
    );
    let objects = load_text(&text).unwrap();
    let keys: Vec<String> = objects
        .iter()
        .map(|it| format!("{} {}", it.kind(), it.key().unwrap()))
        .collect();
    assert_eq!(
        keys,
        [
            "Sandbox agents/alice",
            "Sandbox default/bob",
            "ScaledSandbox default/all"
        ]
    );
}

#[test]
fn a_sandbox_that_says_no_mode_begins_asleep_where_a_request_would_wake_it() {
    let begins = |mode: &str, policy: &str| {
        let sandbox = SANDBOX.replace("spec:\n  pod", &format!("spec:\n{mode}  pod"));
        let policy = match policy {
            "" => String::new(),
            rest => format!(
                "---\napiVersion: reveille.dev/v1alpha1\nkind: ScaledSandbox\nmetadata: {{name: p, namespace: agents}}\nspec: {{{rest}}}\n"
            ),
        };
        let objects = load_text(&format!("{sandbox}{policy}")).unwrap();
        let Object::Sandbox(sandbox) = &objects[0] else {
            panic!("a sandbox")
        };
        sandbox.spec.operating_mode
    };
    let (awake, asleep) = (OperatingMode::Running, OperatingMode::Suspended);
    for (mode, policy, expected) in [
        ("", "selector: {}", asleep),
        ("", "scaleTargetRef: {name: alice}", asleep),
        ("  operatingMode: Running\n", "selector: {}", awake),
        ("  operatingMode: Suspended\n", "", asleep),
        ("", "", awake),
        ("", "selector: {matchLabels: {a: b}}", awake),
        ("", "selector: {}, paused: true", awake),
        ("", "selector: {}, triggers: []", awake),
        ("", "selector: {}, initialCooldownPeriod: 60", awake),
    ] {
        assert_eq!(begins(mode, policy), expected, "{mode:?} {policy:?}");
    }
}

#[test]
fn what_only_a_cluster_acts_on_is_kept() {
    let text = container(
        "resources: {limits: {memory: 1Gi}}, securityContext: {runAsUser: 1000}, imagePullPolicy: Always",
    ) + "      nodeSelector: {a: b}\n      serviceAccountName: x\n";
    let objects = load_text(&text).unwrap();
    let Object::Sandbox(sandbox) = &objects[0] else {
        panic!("a sandbox")
    };
    assert_eq!(sandbox.spec.pod_template.spec["nodeSelector"]["a"], "b");
}

#[test]
fn folders_are_read_recursively_in_order_of_names() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("b/deep")).unwrap();
    std::fs::create_dir(dir.path().join(".git")).unwrap();
    for (file, name) in [
        ("z.yml", "zoe"),
        ("b/deep/x.yaml", "xia"),
        ("a.yaml", "abe"),
        (".git/no.yaml", "no"),
    ] {
        std::fs::write(dir.path().join(file), SANDBOX.replace("alice", name)).unwrap();
    }
    std::fs::write(dir.path().join("c.json"), r#"{"apiVersion":"agents.x-k8s.io/v1beta1","kind":"Sandbox","metadata":{"name":"cy"},"spec":{"podTemplate":{"spec":{"containers":[{"name":"a","command":["a"]}]}}}}"#).unwrap();
    std::fs::write(dir.path().join("README.md"), "not a manifest").unwrap();
    let twice = [dir.path().to_owned(), dir.path().join("a.yaml")];
    let names: Vec<String> = load(&twice, validate)
        .unwrap()
        .iter()
        .map(|it| it.metadata().name.clone().unwrap())
        .collect();
    assert_eq!(names, ["abe", "xia", "cy", "zoe"]);
    let empty = tempfile::tempdir().unwrap();
    assert!(
        load(&[empty.path().to_owned()], validate)
            .unwrap_err()
            .to_string()
            .contains("no *.yaml")
    );
    assert!(
        load(&[empty.path().join("none")], validate)
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
}

#[test]
fn each_mistake_is_told_with_its_field_and_what_to_write() {
    let vct = "  volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]\n";
    for (text, field, says) in [
        ("kind: Deployment\napiVersion: apps/v1".to_owned(), "kind", "unknown kind \"Deployment\""),
        ("metadata: {name: x}".to_owned(), "kind", "missing"),
        ("- a\n- b".to_owned(), "", "not an object"),
        ("a: b: c".to_owned(), "", "not valid YAML"),
        ("\0kind: Sandbox".to_owned(), "", "control character 0x00"),
        ("kind: Sandbox\nkind: Sandbox".to_owned(), "", "not valid YAML"),
        (SANDBOX.replace("v1beta1", "v1alpha1"), "apiVersion", "write agents.x-k8s.io/v1beta1"),
        (SANDBOX.replace("name: alice", "labels: {a: b}"), "metadata.name", "missing"),
        (SANDBOX.replace("alice", "al.ice"), "metadata.name", "no dots"),
        (SANDBOX.replace("alice", "Alice"), "metadata.name", "a-z, 0-9"),
        (SANDBOX.replace("alice", &"a".repeat(64)), "metadata.name", "64 characters long"),
        (SANDBOX.replace("namespace: agents", "labels: {agents.x-k8s.io/claim-uid: x}"), "metadata.labels[agents.x-k8s.io/claim-uid]", "remove it"),
        (format!("{SANDBOX}  operatingmode: Suspended\n"), "spec.operatingmode", "unknown field"),
        (format!("{SANDBOX}  operatingMode: Asleep\n"), "spec.operatingMode", "Suspended"),
        (SANDBOX.replace("command: [agent]", "comand: [agent]"), "spec.podTemplate.spec.containers[0].comand", "unknown field"),
        (SANDBOX.replace(", command: [agent]", ""), "spec.podTemplate.spec.containers[0].command", "image is not pulled"),
        (container("env: [{name: A, value: 1}]"), "spec.podTemplate.spec.containers[0].env[0].value", "quotes"),
        (container("env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]"), "spec.podTemplate.spec.containers[0].env[0].valueFrom", "Secret"),
        (container("env: [{name: A, valueFrom: {configMapKeyRef: {name: s, key: k}}}]"), "spec.podTemplate.spec.containers[0].env[0].valueFrom", "ConfigMap"),
        (container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]"), "spec.podTemplate.spec.containers[0].env[0].valueFrom.fieldRef.fieldPath", "metadata.name"),
        (container("envFrom: [{configMapRef: {name: x}}]"), "spec.podTemplate.spec.containers[0].envFrom", "need a cluster"),
        (container("lifecycle: {preStop: {exec: {command: [x]}}}"), "spec.podTemplate.spec.containers[0].lifecycle", "SIGTERM"),
        (container("ports: [{containerPort: 0}]"), "spec.podTemplate.spec.containers[0].ports[0].containerPort", "1 to 65535"),
        (container("ports: [{containerPort: 53, protocol: UDP}]"), "spec.podTemplate.spec.containers[0].ports[0].protocol", "TCP"),
        (container("ports: [{containerPort: 80}, {containerPort: 80}]"), "spec.podTemplate.spec.containers[0].ports[1].containerPort", "twice"),
        (container("readinessProbe: {httpGet: {port: web}}"), "spec.podTemplate.spec.containers[0].readinessProbe.httpGet.port", "name of a port"),
        (container("readinessProbe: {grpc: {port: 0}}"), "spec.podTemplate.spec.containers[0].readinessProbe.grpc.port", "1 to 65535"),
        (container("readinessProbe: {}"), "spec.podTemplate.spec.containers[0].readinessProbe", "exactly one"),
        (container("livenessProbe: {tcpSocket: {port: 1}, periodSeconds: 0}"), "spec.podTemplate.spec.containers[0].livenessProbe.periodSeconds", "1 or more"),
        (container("volumeMounts: [{name: data, mountPath: /data}]"), "spec.podTemplate.spec.containers[0].volumeMounts[0].name", "volumeClaimTemplates"),
        (container("volumeMounts: [{name: data, mountPath: data}]") + vct, "spec.podTemplate.spec.containers[0].volumeMounts[0].mountPath", "absolute"),
        (container("volumeMounts: [{name: data, mountPath: /d, subPath: ../x}]") + vct, "spec.podTemplate.spec.containers[0].volumeMounts[0].subPath", "leaves the volume"),
        (format!("{SANDBOX}  volumeClaimTemplates: [{{metadata: {{name: a}}, spec: {{}}}}, {{metadata: {{name: a}}, spec: {{}}}}]\n"), "spec.volumeClaimTemplates[1].metadata.name", "twice"),
        (pod("volumes: [{name: s, secret: {secretName: x}}]"), "spec.podTemplate.spec.volumes[0]", "type secret"),
        (pod("volumes: [{name: s, hostPath: {path: /}}]"), "spec.podTemplate.spec.volumes[0]", "type hostPath"),
        (pod("restartPolicy: Sometimes"), "spec.podTemplate.spec.restartPolicy", "OnFailure"),
        (pod("terminationGracePeriodSeconds: -1"), "spec.podTemplate.spec.terminationGracePeriodSeconds", "0 or more"),
        (SANDBOX.replace("containers: [{name: agent, image: example.test/agent:1, command: [agent]}]", "containers: []"), "spec.podTemplate.spec.containers", "at least one"),
        (format!("{SANDBOX}---\n{SANDBOX}"), "metadata.name", "already"),
        ("apiVersion: reveille.dev/v1alpha1\nkind: ScaledSandbox\nmetadata: {name: p}\nspec: {cooldownperiod: 3, selector: {}}".to_owned(), "spec.cooldownperiod", "unknown field"),
        ("apiVersion: reveille.dev/v1alpha1\nkind: ScaledSandbox\nmetadata: {name: p}\nspec: {scaleTargetRef: {name: nobody}}".to_owned(), "spec.scaleTargetRef.name", "no Sandbox \"nobody\""),
        ("apiVersion: extensions.agents.x-k8s.io/v1beta1\nkind: SandboxClaim\nmetadata: {name: c}\nspec: {warmPoolRef: {name: p}}".to_owned(), "spec.warmPoolRef.name", "no SandboxWarmPool \"p\""),
        ("apiVersion: extensions.agents.x-k8s.io/v1beta1\nkind: SandboxWarmPool\nmetadata: {name: p}\nspec: {sandboxTemplateRef: {name: t}}".to_owned(), "spec.sandboxTemplateRef.name", "no SandboxTemplate \"t\""),
    ] {
        let found = problems(&text);
        let hit = found.iter().any(|it| it.split('|').nth(1) == Some(field) && it.contains(says));
        assert!(hit, "expected {field}: …{says}… of\n{text}\ngot {found:#?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_file_and_document() {
    let text = format!(
        "{}---\n{}",
        SANDBOX.replace("alice", "Al"),
        SANDBOX.replace(", command: [agent]", "")
    );
    let errors = load_text(&text).unwrap_err();
    assert_eq!(
        errors.0.iter().map(|it| it.document).collect::<Vec<_>>(),
        [1, 2]
    );
    let text = errors.to_string();
    assert!(
        text.contains("m.yaml, document 2, spec.podTemplate.spec.containers[0].command: missing"),
        "{text}"
    );
}

#[test]
fn two_sandboxes_never_come_to_one_volume() {
    let one = |sandbox: &str, volume: &str| {
        format!(
            "{}  volumeClaimTemplates: [{{metadata: {{name: {volume}}}, spec: {{}}}}]\n",
            SANDBOX.replace("alice", sandbox)
        )
    };
    let found = problems(&format!("{}---\n{}", one("b-c", "a"), one("c", "a-b")));
    assert!(
        found[0].starts_with("2|spec.volumeClaimTemplates[0].metadata.name|volume agents/a-b-c"),
        "{found:?}"
    );
}

#[test]
fn a_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![before; 9].join(", ")
        ));
    }
    assert!(problems(&text)[0].contains("not valid YAML"));
    assert!(problems(&"[".repeat(100_000))[0].contains("not valid YAML"));
}

#[test]
fn ten_thousand_sandboxes_load() {
    let text: Vec<String> = (0..10_000)
        .map(|index| SANDBOX.replace("alice", &format!("agent-{index}")))
        .collect();
    assert_eq!(load_text(&text.join("---")).unwrap().len(), 10_000);
}
