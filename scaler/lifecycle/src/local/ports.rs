//! Free loopback ports, one per container port.
//!
//! A port is bound without listening until its process is about to start, so nothing else gets it and
//! nobody who probes it is answered. Between giving it up and the agent's own bind a stranger could take
//! it; the kernel hands ephemeral ports out at random over some 28,000, and an agent that finds its port
//! taken ends and is started again.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpSocket;

/// Tries before giving up: each fails only if the kernel hands out a port that a pod of ours holds.
const TRIES: usize = 64;

/// Ports of all pods.
#[derive(Clone, Default)]
pub(super) struct Ports {
    taken: Arc<Mutex<HashSet<u16>>>,
}

/// One port, taken until this is dropped.
pub(super) struct Port {
    pub(super) number: u16,
    socket: Option<TcpSocket>,
    taken: Arc<Mutex<HashSet<u16>>>,
}

impl Ports {
    pub(super) fn reserve(&self) -> io::Result<Port> {
        // Sockets that got somebody's number are kept until the end, so that the kernel moves on.
        let mut passed = Vec::new();
        for _ in 0..TRIES {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let number = socket.local_addr()?.port();
            if self.taken.lock().insert(number) {
                return Ok(Port {
                    number,
                    socket: Some(socket),
                    taken: Arc::clone(&self.taken),
                });
            }
            passed.push(socket);
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "no free loopback port",
        ))
    }
}

impl Port {
    /// Lets go of the socket, so that the agent can listen; the number stays taken.
    pub(super) fn hand_over(&mut self) {
        self.socket = None;
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.taken.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_port_refuses_until_its_agent_listens() {
        let ports = Ports::default();
        let mut port = ports.reserve().unwrap();
        let address = (Ipv4Addr::LOCALHOST, port.number);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
        assert!(
            std::net::TcpListener::bind(address).is_err(),
            "nobody else gets it"
        );
        port.hand_over();
        assert!(std::net::TcpListener::bind(address).is_ok());
    }

    #[tokio::test]
    async fn many_pods_get_ports_of_their_own() {
        let ports = Ports::default();
        let mut held: Vec<Port> = (0..200).map(|_| ports.reserve().unwrap()).collect();
        for port in &mut held {
            port.hand_over();
        }
        held.extend((0..200).map(|_| ports.reserve().unwrap()));
        let numbers: HashSet<u16> = held.iter().map(|port| port.number).collect();
        assert_eq!(numbers.len(), 400);
        drop(held);
        assert!(ports.taken.lock().is_empty());
    }
}
