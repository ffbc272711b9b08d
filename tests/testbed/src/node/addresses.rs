//! Addresses of pods: each its own out of 127.64.0.0/10, not given again soon.
//!
//! All of 127.0.0.0/8 is this machine's, so nothing has to be set up. Several testbeds may run at once,
//! each with nodes: a node has a block of 16,384 addresses to itself while it holds a socket on the
//! block's first address.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;

use parking_lot::Mutex;

/// 127.64.0.0
const FIRST: u32 = 0x7f40_0000;
/// Bits of an address within a block: /18.
const BITS: u32 = 14;
/// Blocks in a /10.
const BLOCKS: u32 = 1 << (22 - BITS);
/// The socket that holds a block: the kubelet's port, on which pods don't listen.
const PORT: u16 = 10250;

/// The addresses of one node.
pub(super) struct Addresses {
    block: u32,
    state: Mutex<State>,
    _held: UdpSocket,
}

struct State {
    next: u32,
    taken: HashSet<u32>,
}

/// One address, taken until this is dropped.
pub(super) struct Address {
    pub(super) ip: Ipv4Addr,
    host: u32,
    all: Arc<Addresses>,
}

impl Addresses {
    /// Takes a free block, by chance, so that what a test talks to is not what the one before left.
    pub(super) fn claim() -> io::Result<Arc<Self>> {
        let [a, b, ..] = *uuid::Uuid::new_v4().as_bytes();
        let start = u32::from(u16::from_be_bytes([a, b]));
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for step in 0..BLOCKS {
            let block = FIRST + (((start + step) % BLOCKS) << BITS);
            match UdpSocket::bind((Ipv4Addr::from_bits(block), PORT)) {
                Ok(held) => {
                    let state = State {
                        next: 1,
                        taken: HashSet::new(),
                    };
                    return Ok(Arc::new(Self {
                        block,
                        state: Mutex::new(state),
                        _held: held,
                    }));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address that was free for longest; `None` if all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Option<Address> {
        // Neither the first, which holds the block, nor the last.
        let hosts = (1 << BITS) - 2;
        let mut state = self.state.lock();
        for _ in 0..hosts {
            let host = state.next;
            state.next = host % hosts + 1;
            if state.taken.insert(host) {
                return Some(Address {
                    ip: Ipv4Addr::from_bits(self.block + host),
                    host,
                    all: Arc::clone(self),
                });
            }
        }
        None
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.all.state.lock().taken.remove(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_of_one_machine_never_share_an_address() {
        let (one, two) = (Addresses::claim().unwrap(), Addresses::claim().unwrap());
        assert_ne!(one.block, two.block);
        let first = one.take().unwrap();
        let second = two.take().unwrap();
        assert_ne!(first.ip, second.ip);
        assert!(first.ip.is_loopback() && second.ip.is_loopback());
    }

    #[test]
    fn a_freed_address_is_given_again_last() {
        let all = Addresses::claim().unwrap();
        let first = all.take().unwrap().ip;
        let held: Vec<Address> = std::iter::from_fn(|| all.take()).collect();
        assert_eq!(held.len(), (1 << BITS) - 2);
        assert_eq!(held.last().unwrap().ip, first);
        let distinct: HashSet<Ipv4Addr> = held.iter().map(|address| address.ip).collect();
        assert_eq!(distinct.len(), held.len());
        assert!(all.take().is_none());
        drop(held);
        assert!(all.take().is_some());
    }
}
