//! Manifests as the tests need them.

use serde_json::{Value, json};

/// Name of the variable by which a test finds its agents' processes; its value is the namespace.
pub(crate) const MARKER: &str = "E2E_MARKER";
/// Label of everything that [`policy`] selects.
pub(crate) const FLEET: &str = "fleet";
/// API version of claims, pools and templates.
const EXTENSIONS: &str = "extensions.agents.x-k8s.io/v1beta1";

/// A policy for the whole fleet; `spec` is laid over the defaults.
pub(crate) fn policy(spec: Value) -> Value {
    named_policy("all", spec)
}

/// A policy of this name.
pub(crate) fn named_policy(name: &str, spec: Value) -> Value {
    let mut whole = json!({});
    if spec.get("scaleTargetRef").is_none() {
        whole["selector"] = json!({"matchLabels": {FLEET: "tests"}});
    }
    lay(&mut whole, spec);
    json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox",
        "metadata": {"name": name},
        "spec": whole,
    })
}

/// A template named `mould` of this kind of agent, and a pool named `pool` with so many members.
pub(crate) fn pool(agent: &Agent, replicas: u32) -> [Value; 2] {
    let template = json!({
        "apiVersion": EXTENSIONS, "kind": "SandboxTemplate",
        "metadata": {"name": "mould"},
        "spec": agent.blueprint(),
    });
    let pool = json!({
        "apiVersion": EXTENSIONS, "kind": "SandboxWarmPool",
        "metadata": {"name": "pool"},
        "spec": {"replicas": replicas, "sandboxTemplateRef": {"name": "mould"}},
    });
    [template, pool]
}

/// A claim on the pool; `spec` is laid over the defaults.
pub(crate) fn claim(name: &str, spec: Value) -> Value {
    let mut whole = json!({"warmPoolRef": {"name": "pool"}});
    lay(&mut whole, spec);
    json!({
        "apiVersion": EXTENSIONS, "kind": "SandboxClaim",
        "metadata": {"name": name, "labels": {FLEET: "tests"}},
        "spec": whole,
    })
}

fn lay(whole: &mut Value, over: Value) {
    if let (Value::Object(whole), Value::Object(over)) = (whole, over) {
        whole.extend(over);
    }
}

/// A Sandbox that runs the example agent, which names itself by the UID of its pod.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    name: String,
    mode: &'static str,
    flags: Vec<String>,
    volume: bool,
    extra: Value,
    grace: u32,
}

impl Agent {
    /// Asleep, with a volume, probed at /readyz.
    pub(crate) fn asleep(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            mode: "Suspended",
            flags: Vec::new(),
            volume: true,
            extra: json!({}),
            grace: 5,
        }
    }

    /// The same, awake.
    pub(crate) fn awake(name: &str) -> Self {
        Self {
            mode: "Running",
            ..Self::asleep(name)
        }
    }

    /// What pools are made of: without a volume, it forgets and may be bound.
    pub(crate) fn mould() -> Self {
        Self::asleep("mould").stateless()
    }

    /// Adds flags of the example agent.
    pub(crate) fn flags<const N: usize>(mut self, flags: [&str; N]) -> Self {
        self.flags.extend(flags.map(str::to_owned));
        self
    }

    /// Seconds between SIGTERM and SIGKILL.
    pub(crate) fn grace(mut self, seconds: u32) -> Self {
        self.grace = seconds;
        self
    }

    /// Without a volume.
    pub(crate) fn stateless(mut self) -> Self {
        self.volume = false;
        self
    }

    /// Lays more over the Sandbox's spec, such as `service` or `shutdownTime`.
    pub(crate) fn with(mut self, spec: Value) -> Self {
        lay(&mut self.extra, spec);
        self
    }

    /// The Sandbox.
    pub(crate) fn sandbox(&self) -> Value {
        let mut spec = self.blueprint();
        spec["operatingMode"] = self.mode.into();
        lay(&mut spec, self.extra.clone());
        json!({
            "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
            "metadata": {"name": self.name, "labels": {FLEET: "tests"}},
            "spec": spec,
        })
    }

    fn blueprint(&self) -> Value {
        let mut args = self.flags.clone();
        if self.volume {
            args.extend(["--data", "/data"].map(str::to_owned));
        }
        let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
        let mut container = json!({
            "name": "agent",
            "image": "reveille:0.1.0",
            "command": ["reveille", "example-agent"],
            "args": args,
            "env": [
                {"name": "HOST", "valueFrom": field("status.podIP")},
                {"name": "AGENT_NAME", "valueFrom": field("metadata.uid")},
                {"name": "HOSTNAME", "valueFrom": field("metadata.name")},
                {"name": MARKER, "valueFrom": field("metadata.namespace")},
            ],
            "ports": [{"name": "http", "containerPort": 8888}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
        });
        let mut spec = json!({});
        if self.volume {
            container["volumeMounts"] = json!([{"name": "memory", "mountPath": "/data"}]);
            spec["volumeClaimTemplates"] = json!([{
                "metadata": {"name": "memory"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
            }]);
        }
        let template = json!({
            "spec": {"containers": [container], "terminationGracePeriodSeconds": self.grace},
        });
        spec["podTemplate"] = template;
        spec
    }
}
