//! A port of 127.0.0.1 that stays a test's own while nobody listens on it.
//!
//! What is killed and started again at the same port must find it free. A socket that is bound and does
//! not listen does that: the kernel gives the port to no `bind(0)` and to no connection, while whoever
//! names it (with SO_REUSEADDR, as all servers do) may listen.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port; given back when dropped.
#[derive(Debug)]
pub(crate) struct Port {
    /// Where to listen and to connect.
    pub(crate) address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    /// One that was free.
    pub(crate) fn reserve() -> Self {
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self {
            address: held.local_addr().unwrap(),
            _held: held,
        }
    }
}
