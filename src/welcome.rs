//! What a newcomer sees once everything listens: each sandbox, its address, its state, and lines to paste.

use std::fmt::Write as _;
use std::net::SocketAddr;

use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::index::{Index, Target};
use reveille_crds::names::DEFAULT_NAMESPACE;
use reveille_crds::sandbox::OperatingMode;
use reveille_lifecycle::store::Store;

/// Sandboxes shown by name; the others are counted.
const SHOWN: usize = 12;

/// Where the process listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// The activator.
    pub(crate) clients: SocketAddr,
    /// The admin listener.
    pub(crate) operators: SocketAddr,
}

/// The welcome as text.
pub(crate) async fn text(store: &Store, domain: &str, addresses: Addresses) -> String {
    let mut index = Index::default();
    let mut watch = store.watch();
    loop {
        match watch.next().await {
            Change::Synced => break,
            change => drop(index.apply(change)),
        }
    }
    let mut targets: Vec<Target> = index
        .targets()
        .filter_map(|key| index.target(&key))
        .collect();
    // Those one can wake come first: they are what there is to see.
    targets.sort_by(|a, b| (state(a), &a.key).cmp(&(state(b), &b.key)));
    render(&targets, domain, addresses)
}

/// Ordered by how much there is to see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Asleep,
    Awake,
    /// A claim that waits for its sandbox.
    Binding,
}

fn state(target: &Target) -> State {
    match &target.sandbox {
        Some((_, sandbox)) if sandbox.mode == OperatingMode::Suspended => State::Asleep,
        Some(_) => State::Awake,
        None => match &target.claim {
            Some((_, claim)) if claim.released => State::Asleep,
            _ => State::Binding,
        },
    }
}

fn render(targets: &[Target], domain: &str, addresses: Addresses) -> String {
    let Addresses { clients, operators } = addresses;
    let mut text = format!(
        "reveille {} serves {} on http://{clients}, operators on http://{operators}\n\
         images are not pulled: each container's command runs on this machine\n\n",
        env!("CARGO_PKG_VERSION"),
        if targets.len() == 1 {
            "1 sandbox".to_owned()
        } else {
            format!("{} sandboxes", targets.len())
        },
    );
    let widest = targets
        .iter()
        .take(SHOWN)
        .map(|target| target.key.to_string().len())
        .max()
        .unwrap_or_default();
    for target in targets.iter().take(SHOWN) {
        let state = match state(target) {
            State::Asleep => "asleep",
            State::Awake => "awake",
            State::Binding => "binding",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {:widest$}  {state:7}  http://{}",
            target.key.to_string(),
            host(&target.key, domain, clients)
        );
    }
    if targets.len() > SHOWN {
        let _ = writeln!(
            text,
            "  and {} more: curl http://{operators}/v1/sandboxes",
            targets.len() - SHOWN
        );
    }
    if let Some(Target { key, .. }) = targets.first() {
        let namespace = match key.namespace() {
            DEFAULT_NAMESPACE => String::new(),
            namespace => format!(" -H 'X-Sandbox-Namespace: {namespace}'"),
        };
        let _ = write!(
            text,
            "\nwake one:\n  curl -i http://{host}/\n  curl -i -H 'X-Sandbox-ID: {name}'{namespace} http://{clients}/\n\
             ask why it is awake or asleep:\n  curl http://{operators}/v1/sandboxes/{key}\n\n",
            host = host(key, domain, clients),
            name = key.name(),
        );
    }
    text
}

fn host(key: &SandboxKey, domain: &str, clients: SocketAddr) -> String {
    format!(
        "{}.{}.{domain}:{}",
        key.name(),
        key.namespace(),
        clients.port()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeping(name: &str) -> Target {
        let key = SandboxKey::new("agents", name).unwrap();
        Target {
            key,
            sandbox: None,
            pod: None,
            terminating: false,
            claim: None,
            policy: None,
        }
    }

    fn addresses() -> Addresses {
        Addresses {
            clients: ([127, 0, 0, 1], 8080).into(),
            operators: ([127, 0, 0, 1], 9090).into(),
        }
    }

    #[test]
    fn a_newcomer_is_given_lines_to_paste() {
        let text = render(&[sleeping("alice")], "sandbox.localhost", addresses());
        assert!(
            text.contains("serves 1 sandbox on http://127.0.0.1:8080"),
            "{text}"
        );
        assert!(
            text.contains("curl -i http://alice.agents.sandbox.localhost:8080/"),
            "{text}"
        );
        assert!(
            text.contains("-H 'X-Sandbox-ID: alice' -H 'X-Sandbox-Namespace: agents'"),
            "{text}"
        );
        assert!(
            text.contains("curl http://127.0.0.1:9090/v1/sandboxes/agents/alice"),
            "{text}"
        );
    }

    #[test]
    fn a_fleet_is_counted_not_listed() {
        let fleet: Vec<Target> = (0..50)
            .map(|n| sleeping(&format!("agent-{n:02}")))
            .collect();
        let text = render(&fleet, "sandbox.localhost", addresses());
        assert!(text.contains("and 38 more"), "{text}");
        assert!(text.lines().count() < 25, "{text}");
    }
}
