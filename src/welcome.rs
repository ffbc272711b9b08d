//! What a newcomer sees once everything listens: each sandbox, its address, its state, and lines to paste.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::index::{Index, Target};
use reveille_crds::names::DEFAULT_NAMESPACE;
use reveille_crds::sandbox::OperatingMode;
use reveille_lifecycle::store::Store;

/// Sandboxes shown by name; the others are counted.
const SHOWN: usize = 6;

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
    Starting,
}

impl State {
    const ALL: [Self; 3] = [Self::Asleep, Self::Awake, Self::Starting];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Awake => "awake",
            Self::Starting => "starting",
        }
    }
}

fn state(target: &Target) -> State {
    match &target.sandbox {
        Some((_, sandbox)) if sandbox.mode == OperatingMode::Suspended => State::Asleep,
        Some(_) => State::Awake,
        None => match &target.claim {
            Some((_, claim)) if claim.released => State::Asleep,
            _ => State::Starting,
        },
    }
}

fn render(targets: &[Target], domain: &str, addresses: Addresses) -> String {
    let operators = reachable(addresses.operators);
    let mut text = format!(
        "\nreveille {} runs {} on this machine: {}.\n\
         Images are not pulled; each container's command is a process of yours.\n\n",
        env!("CARGO_PKG_VERSION"),
        plural(targets.len(), "sandbox", "sandboxes"),
        in_each_state(targets),
    );
    let shown = &targets[..targets.len().min(SHOWN)];
    let widest = shown.iter().map(|target| target.key.to_string().len());
    let widest = widest.max().unwrap_or_default();
    for target in shown {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {:widest$}  {:8}  http://{}/",
            target.key.to_string(),
            state(target).as_str(),
            host(&target.key, domain, addresses.clients)
        );
    }
    if targets.len() > shown.len() {
        let more = targets.len() - shown.len();
        let _ = writeln!(text, "  and {more} more");
    }
    match targets.first() {
        Some(Target { key, .. }) => text.push_str(&lines_to_paste(key, domain, addresses)),
        None => {
            let _ = writeln!(
                text,
                "There is no Sandbox in what -f names: nothing can be reached."
            );
        }
    }
    let _ = writeln!(
        text,
        "  curl http://{operators}/v1/sandboxes\n\nCtrl-C stops all of it.\n"
    );
    text
}

/// `1 asleep, 50 starting`.
fn in_each_state(targets: &[Target]) -> String {
    let counts = State::ALL.map(|each| {
        (
            each,
            targets.iter().filter(|one| state(one) == each).count(),
        )
    });
    let told = counts.iter().filter(|(_, count)| *count > 0);
    let told: Vec<_> = told
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    match told.is_empty() {
        true => "none is known".to_owned(),
        false => told.join(", "),
    }
}

/// For any shell, each line within 80 columns.
fn lines_to_paste(key: &SandboxKey, domain: &str, addresses: Addresses) -> String {
    let (clients, operators) = (reachable(addresses.clients), reachable(addresses.operators));
    let namespace = match key.namespace() {
        DEFAULT_NAMESPACE => String::new(),
        namespace => format!(" -H 'X-Sandbox-Namespace: {namespace}'"),
    };
    format!(
        "\nLines to paste: call one, by its name, or by headers where a program cannot\n\
         resolve that (most but browsers and curl); ask why it is awake or asleep; list\n\
         all.\n\n  \
         curl http://{host}/\n  \
         curl -H 'X-Sandbox-ID: {name}'{namespace} \\\n    http://{clients}/\n  \
         curl http://{operators}/v1/sandboxes/{key}\n",
        host = host(key, domain, addresses.clients),
        name = key.name(),
    )
}

/// An address that a client on this machine can use for a listener of all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn host(key: &SandboxKey, domain: &str, clients: SocketAddr) -> String {
    let (name, namespace, port) = (key.name(), key.namespace(), clients.port());
    format!("{name}.{namespace}.{domain}:{port}")
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
            text.contains("runs 1 sandbox on this machine: 1 starting."),
            "{text}"
        );
        assert!(
            text.contains("curl http://alice.agents.sandbox.localhost:8080/\n"),
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
    fn a_listener_of_all_addresses_is_reached_by_loopback() {
        let addresses = Addresses {
            clients: ([0, 0, 0, 0], 8080).into(),
            operators: ([0; 8], 9090).into(),
        };
        let text = render(&[sleeping("alice")], "sandbox.localhost", addresses);
        assert!(text.contains("http://127.0.0.1:8080/"), "{text}");
        assert!(
            text.contains("curl http://[::1]:9090/v1/sandboxes\n"),
            "{text}"
        );
    }

    #[test]
    fn nothing_to_reach_is_said() {
        let text = render(&[], "sandbox.localhost", addresses());
        assert!(text.contains("no Sandbox in what -f names"), "{text}");
    }

    #[test]
    fn a_fleet_is_counted_not_listed() {
        let fleet: Vec<Target> = (0..50)
            .map(|n| sleeping(&format!("agent-{n:02}")))
            .collect();
        let text = render(&fleet, "sandbox.localhost", addresses());
        assert!(text.contains("and 44 more"), "{text}");
        assert!(text.lines().count() < 25, "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
