//! Names of headers, labels, annotations and API groups, each with the place it comes from.

/// Annotations Reveille reads and writes on a Sandbox.
pub mod annotation {
    /// Number of wakes and sleeps written by Reveille so far; the fence against stale decisions.
    pub const EPOCH: &str = "reveille.dev/epoch";
    /// RFC 3339 instant of the last wake Reveille wrote.
    pub const LAST_WAKE: &str = "reveille.dev/last-wake";
    /// RFC 3339 instant of the last sleep Reveille wrote.
    pub const LAST_SLEEP: &str = "reveille.dev/last-sleep";
    /// Cause of the last wake.
    pub const WAKE_REASON: &str = "reveille.dev/wake-reason";
    /// Cause of the last sleep.
    pub const SLEEP_REASON: &str = "reveille.dev/sleep-reason";
    /// `awake` or `asleep`: an operator's pin.
    pub const HOLD: &str = "reveille.dev/hold";
    /// RFC 3339 instant until which it is busy though nobody calls it; of one epoch.
    pub const BUSY_UNTIL: &str = "reveille.dev/busy-until";
    /// On a Sandbox that the release of its claim has put to sleep: name and UID of that claim, `alice/<uid>`.
    /// Whoever wakes it raises the epoch of the claim first, so that it is not deleted any more.
    pub const RELEASING: &str = "reveille.dev/releasing";
    /// On a claim that something else makes again whenever strategy Bind releases it: since when its Sandbox is
    /// suspended instead (RFC 3339).
    pub const STAYS_BOUND: &str = "reveille.dev/stays-bound";
    /// On a pod run by `lifecycle::local`: JSON object of container port to loopback port.
    pub const PORTS: &str = "reveille.dev/ports";
    /// Upstream: the pod tracked for a Sandbox.
    pub const POD_NAME: &str = "agents.x-k8s.io/pod-name";
    /// Upstream: the Sandbox assigned to a claim.
    pub const SANDBOX_NAME: &str = "agents.x-k8s.io/sandbox-name";
    /// Upstream: name of the template a Sandbox was made from.
    pub const TEMPLATE_REF: &str = "agents.x-k8s.io/sandbox-template-ref";
}

/// Labels of upstream's `agent-sandbox` (`reference/agent-sandbox.md` §1.3).
pub mod label {
    /// 8 hex digits of FNV-1a-32 over the Sandbox name, on its Pod, Service and PVCs.
    pub const NAME_HASH: &str = "agents.x-k8s.io/sandbox-name-hash";
    /// Upstream up to 0.4: the Sandbox assigned to a claim; an annotation since.
    pub const SANDBOX_NAME: &str = "agents.x-k8s.io/sandbox-name";
    /// UID of the bound claim.
    pub const CLAIM_UID: &str = "agents.x-k8s.io/claim-uid";
    /// Hash of the pool's name; present only while a pool member is unclaimed.
    pub const WARM_POOL: &str = "agents.x-k8s.io/warm-pool-sandbox";
    /// Identity of the template, on Sandbox and Pod.
    pub const TEMPLATE_REF_HASH: &str = "agents.x-k8s.io/sandbox-template-ref-hash";
    /// `cold` or `warm`.
    pub const LAUNCH_TYPE: &str = "agents.x-k8s.io/launch-type";
}

/// Headers of upstream's router contract, and Reveille's own. Lower case, as HTTP/2 wants them.
pub mod header {
    /// Sandbox name; required unless the host names the sandbox.
    pub const SANDBOX_ID: &str = "x-sandbox-id";
    /// Namespace, `default` where missing.
    pub const SANDBOX_NAMESPACE: &str = "x-sandbox-namespace";
    /// Container port, 8888 where missing.
    pub const SANDBOX_PORT: &str = "x-sandbox-port";
    /// Positive seconds the client will wait; may lower the parked wait, never raise it.
    pub const SANDBOX_TIMEOUT: &str = "x-sandbox-timeout";
    /// A hint of the pod's IP, believed only when it is that sandbox's present pod.
    pub const SANDBOX_POD_IP: &str = "x-sandbox-pod-ip";
    /// UID of the Sandbox object.
    pub const SANDBOX_UID: &str = "x-sandbox-uid";
    /// Agent to activator: keep me awake for that many seconds; 0 ends the lease.
    pub const BUSY_FOR: &str = "x-reveille-busy-for";
    /// Activator to client: `none`, `joined` or `started`.
    pub const WAKE: &str = "x-reveille-wake";
}

/// Container port of a request that names none (upstream's router).
pub const DEFAULT_PORT: u16 = 8888;
/// Namespace of a request that names none (upstream's router).
pub const DEFAULT_NAMESPACE: &str = "default";

/// Upstream's `NameHash`: FNV-1a-32 as 8 hex digits.
#[must_use]
pub fn name_hash(name: &str) -> String {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{hash:08x}")
}
