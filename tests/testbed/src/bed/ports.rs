//! Ports that stay ours while nobody listens on them.
//!
//! Between choosing a port and the moment a program binds it, and again while a killed part is down,
//! somebody else may take it. So ports come from below the range that the kernel gives to connections and
//! to `bind(0)`, and a name in the abstract socket namespace, which ends with this process and lives as
//! wide as the port does, keeps other testbeds away. Who takes one all the same is met by trying another.

use std::io::{self, Error};
use std::net::{IpAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Where the kernel starts to give out ports by itself, where it does not say.
const KERNEL: u16 = 32_768;
/// Ports below are often taken by servers of the machine's own.
const LOWEST: u16 = 20_000;
/// More than testbeds can ever hold at once on one machine.
const TRIES: usize = 500;

/// A port that no other testbed takes while this lives.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _name: UnixListener,
}

impl Port {
    /// One that is free on an address now.
    pub(crate) fn reserve(host: IpAddr) -> io::Result<Self> {
        let end = kernels().max(LOWEST + 1);
        // Random, so that testbeds that start at once rarely try the same.
        let mut seed = uuid::Uuid::new_v4().as_u128();
        for _ in 0..TRIES {
            let offset = seed % u128::from(end - LOWEST);
            let number = LOWEST + u16::try_from(offset).expect("less than the span of ports");
            seed = uuid::Uuid::new_v4().as_u128();
            let name = SocketAddr::from_abstract_name(format!("reveille-testbed-port-{number}"))?;
            let Ok(_name) = UnixListener::bind_addr(&name) else {
                continue;
            };
            if TcpListener::bind((host, number)).is_ok() {
                return Ok(Self { number, _name });
            }
        }
        Err(Error::other(format!(
            "no free port between {LOWEST} and {end} in {TRIES} tries"
        )))
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// First port that the kernel gives out by itself.
fn kernels() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(KERNEL)
}

/// The ports of a control plane.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) etcd: Port,
    pub(crate) etcd_peer: Port,
    pub(crate) api: Port,
    pub(crate) controller_metrics: Port,
    pub(crate) controller_health: Port,
    pub(crate) conversion: Port,
    pub(crate) nats: Port,
}

impl Ports {
    /// All of them.
    pub(crate) fn reserve(loopback: IpAddr) -> io::Result<Self> {
        Ok(Self {
            etcd: Port::reserve(loopback)?,
            etcd_peer: Port::reserve(loopback)?,
            api: Port::reserve(loopback)?,
            controller_metrics: Port::reserve(loopback)?,
            controller_health: Port::reserve(loopback)?,
            conversion: Port::reserve(loopback)?,
            nats: Port::reserve(loopback)?,
        })
    }
}
