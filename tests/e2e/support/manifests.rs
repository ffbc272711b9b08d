//! Manifests as the tests need them, written as YAML (JSON is YAML).

use serde_json::{Value, json};

/// Namespace of everything in the tests, unless a test says otherwise.
pub(crate) const NAMESPACE: &str = "agents";
/// Name of the variable by which a test finds its agents.
pub(crate) const MARKER: &str = "E2E_MARKER";

/// A list of objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manifests(Vec<Value>);

impl Manifests {
    /// No object.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One agent, and a policy that lets it sleep after so many quiet seconds.
    pub(crate) fn one(agent: Agent, cooldown: u32) -> Self {
        Self::new()
            .agent(agent)
            .policy(json!({"cooldownPeriod": cooldown, "minimumUptime": 0}))
    }

    /// Adds a Sandbox.
    pub(crate) fn agent(self, agent: Agent) -> Self {
        self.object(agent.sandbox())
    }

    /// Adds a policy for everything; `spec` is laid over the defaults.
    pub(crate) fn policy(self, spec: Value) -> Self {
        let mut whole = json!({"selector": {"matchLabels": {"fleet": "tests"}}});
        if let (Value::Object(whole), Value::Object(spec)) = (&mut whole, spec) {
            whole.extend(spec);
        }
        self.object(json!({
            "apiVersion": "reveille.dev/v1alpha1",
            "kind": "ScaledSandbox",
            "metadata": {"name": "all", "namespace": NAMESPACE},
            "spec": whole,
        }))
    }

    /// Adds a pool named `pool` of so many members of the kind of this agent.
    pub(crate) fn pool(self, agent: &Agent, replicas: u32) -> Self {
        let group = "extensions.agents.x-k8s.io/v1beta1";
        self.object(json!({
            "apiVersion": group, "kind": "SandboxTemplate",
            "metadata": {"name": "mould", "namespace": NAMESPACE},
            "spec": agent.blueprint(),
        }))
        .object(json!({
            "apiVersion": group, "kind": "SandboxWarmPool",
            "metadata": {"name": "pool", "namespace": NAMESPACE},
            "spec": {"replicas": replicas, "sandboxTemplateRef": {"name": "mould"}},
        }))
    }

    /// Adds a claim on the pool.
    pub(crate) fn claim(self, name: &str) -> Self {
        self.object(json!({
            "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"fleet": "tests"}},
            "spec": {"warmPoolRef": {"name": "pool"}},
        }))
    }

    /// Adds any object.
    pub(crate) fn object(mut self, object: Value) -> Self {
        self.0.push(object);
        self
    }

    /// The documents; `{{marker}}` in them is replaced.
    pub(crate) fn yaml(&self, marker: &str) -> String {
        let documents: Vec<String> = self.0.iter().map(Value::to_string).collect();
        documents.join("\n---\n").replace("{{marker}}", marker)
    }
}

/// A Sandbox that runs the example agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    name: String,
    mode: &'static str,
    command: Vec<String>,
    flags: Vec<String>,
    volume: bool,
    probe: bool,
    grace: u32,
    until: Option<String>,
}

impl Agent {
    /// Asleep, with a volume, probed at /readyz.
    pub(crate) fn asleep(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            mode: "Suspended",
            command: ["reveille", "example-agent"].map(str::to_owned).to_vec(),
            flags: Vec::new(),
            volume: true,
            probe: true,
            grace: 5,
            until: None,
        }
    }

    /// The same, awake.
    pub(crate) fn awake(name: &str) -> Self {
        Self {
            mode: "Running",
            ..Self::asleep(name)
        }
    }

    /// Adds flags of the example agent.
    pub(crate) fn flags<const N: usize>(mut self, flags: [&str; N]) -> Self {
        self.flags.extend(flags.map(str::to_owned));
        self
    }

    /// Runs something else, without a volume.
    pub(crate) fn command<const N: usize>(mut self, command: [&str; N]) -> Self {
        self.command = command.map(str::to_owned).to_vec();
        self.volume = false;
        self
    }

    /// Starts only when the test opens the gate ([`Home::open_gate`]).
    ///
    /// [`Home::open_gate`]: crate::support::home::Home::open_gate
    pub(crate) fn gated(mut self) -> Self {
        let script = "until [ -e \"$0\" ]; do sleep 0.01; done; exec \"$@\"";
        let program = env!("CARGO_BIN_EXE_reveille");
        self.command = [
            "sh",
            "-c",
            script,
            "{{marker}}/gate",
            program,
            "example-agent",
        ]
        .map(str::to_owned)
        .to_vec();
        self
    }

    /// Without a volume: it forgets, and may be bound from a pool.
    pub(crate) fn stateless(mut self) -> Self {
        self.volume = false;
        self
    }

    /// Without a readiness probe: an open port is all that counts.
    pub(crate) fn unprobed(mut self) -> Self {
        self.probe = false;
        self
    }

    /// Deleted at this time.
    pub(crate) fn until(mut self, time: &str) -> Self {
        self.until = Some(time.to_owned());
        self
    }

    fn sandbox(&self) -> Value {
        let mut spec = self.blueprint();
        spec["operatingMode"] = self.mode.into();
        if let Some(time) = &self.until {
            spec["shutdownTime"] = time.as_str().into();
            spec["shutdownPolicy"] = "Delete".into();
        }
        json!({
            "apiVersion": "agents.x-k8s.io/v1beta1",
            "kind": "Sandbox",
            "metadata": {"name": self.name, "namespace": NAMESPACE, "labels": {"fleet": "tests"}},
            "spec": spec,
        })
    }

    fn blueprint(&self) -> Value {
        let mut args = self.flags.clone();
        if self.volume {
            args.extend(["--data", "/data"].map(str::to_owned));
        }
        let mut container = json!({
            "name": "agent",
            "image": "reveille:0.1.0",
            "command": self.command,
            "args": args,
            "env": [
                {"name": MARKER, "value": "{{marker}}"},
                {"name": "AGENT_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "ports": [{"name": "http", "containerPort": 8888}],
        });
        if self.probe {
            container["readinessProbe"] =
                json!({"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1});
        }
        let mut spec = json!({});
        if self.volume {
            container["volumeMounts"] = json!([{"name": "memory", "mountPath": "/data"}]);
            spec["volumeClaimTemplates"] = json!([{
                "metadata": {"name": "memory"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }]);
        }
        spec["podTemplate"] = json!({
            "spec": {"containers": [container], "terminationGracePeriodSeconds": self.grace},
        });
        spec
    }
}
