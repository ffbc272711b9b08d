//! Whether an agent listens where its pod says: one that does not is never reached, and nothing else shows it.

use std::time::Duration;

use super::environment::PortMap;

/// An agent that was started has so long to listen before that is told; it may still do so later.
const WITHIN: Duration = Duration::from_secs(10);
/// What listens on this machine.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Tells of a pod that is up and listens on none of its ports. Nothing, where that cannot be seen.
pub(super) async fn watch(sandbox: &str, ports: &[PortMap]) {
    tokio::time::sleep(WITHIN).await;
    let mut found = Vec::new();
    for table in TABLES {
        if let Ok(text) = tokio::fs::read_to_string(table).await {
            found.extend(listening(&text));
        }
    }
    let is_one_open = ports.iter().any(|port| found.contains(&port.local));
    if !ports.is_empty() && !found.is_empty() && !is_one_open {
        let told = told(sandbox, ports);
        tracing::warn!(%sandbox, "{told}");
    }
}

/// Ports of a table of the kernel's on which something listens.
fn listening(table: &str) -> impl Iterator<Item = u16> {
    const LISTEN: &str = "0A";
    table.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (_, port) = fields.next()?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        u16::from_str_radix(port, 16)
            .ok()
            .filter(|_| state == LISTEN)
    })
}

fn told(sandbox: &str, ports: &[PortMap]) -> String {
    let all: Vec<String> = ports
        .iter()
        .map(|port| format!("{} (127.0.0.1:{})", port.container, port.local))
        .collect();
    let (name, its) = match all.len() {
        1 => ("port", "PORT"),
        _ => ("ports", "PORT, PORT_<NAME>"),
    };
    let seconds = WITHIN.as_secs();
    let all = all.join(", ");
    format!(
        "nothing listens on the {name} {all} of {sandbox} {seconds} s after it started, so no request reaches it: \
         let it listen on what its environment says (HOST, {its}), or declare the port that it does listen on; \
         its log may say why it does not"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(local: &[u16]) -> Vec<PortMap> {
        let port = |local: &u16| PortMap {
            name: None,
            container: 8888,
            local: *local,
        };
        local.iter().map(port).collect()
    }

    #[test]
    fn only_what_listens_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n\
             1: 0100007F:A1B2 0100007F:1F90 01 00000000:00000000 00:00000000 00000000\n\
             2: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0\n";
        assert_eq!(listening(table).collect::<Vec<_>>(), [8080, 22]);
        assert_eq!(listening("").count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_listener_of_this_machine_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = || {
            let table = std::fs::read_to_string(TABLES[0]).unwrap();
            listening(&table).any(|found| found == port)
        };
        assert!(found());
        drop(listener);
        assert!(!found());
    }

    #[test]
    fn who_reads_it_is_told_which_port_and_what_to_do() {
        let one = told("agents/alice", &ports(&[40_001]));
        assert!(
            one.contains("the port 8888 (127.0.0.1:40001) of agents/alice"),
            "{one}"
        );
        let two = told("agents/alice", &ports(&[40_001, 40_002]));
        assert!(
            two.contains("the ports 8888 (127.0.0.1:40001), 8888 (127.0.0.1:40002)"),
            "{two}"
        );
    }
}
