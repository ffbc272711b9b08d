//! Stories of one target.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::any_instant as start;
use crate::gate::{Drain, DrainAnswer};
use crate::lot::Ending;
use crate::pace::FIRST_WINDOW;
use crate::view::{Delay, Sight};

mod overtaken;
mod pods;
mod random;
mod wakes;
mod young;

const POD: &str = "pod-1";

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn view(epoch: u64, state: State) -> View {
    let pod = match &state {
        State::Awake(pod) => Some(Arc::clone(&pod.uid)),
        _ => None,
    };
    View {
        epoch,
        uid: Some("sandbox".into()),
        is_wanted: matches!(state, State::Waking | State::Awake(_)),
        pod,
        state,
        limits: Limits::default(),
    }
}

fn pod(uid: &str, ready: bool) -> State {
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    State::Awake(Pod {
        uid: uid.into(),
        address,
        ready,
        proven_by_ready: true,
        is_recent: false,
    })
}

/// A pod that is Ready though nothing but its port could prove that it answers.
fn unproven(uid: &str) -> State {
    let State::Awake(pod) = pod(uid, true) else {
        unreachable!()
    };
    State::Awake(Pod {
        proven_by_ready: false,
        ..pod
    })
}

fn denial(kind: DenialKind, retry_after: Option<Duration>) -> Denial {
    Denial {
        kind,
        reason: "Reason".into(),
        message: "a sentence".into(),
        retry_after,
    }
}

fn entry(state: State, now: Instant) -> Entry<u32> {
    let mut entry = Entry::new();
    entry.observe(view(1, state), now);
    entry
}

/// Arrives with that number, as the shell does: begin, then arrive.
fn arrive(entry: &mut Entry<u32>, id: u32, now: Instant) -> Arrival<Infallible> {
    entry.begin();
    entry.arrive(None, |_| Ok(id), now)
}

fn park(entry: &mut Entry<u32>, id: u32, now: Instant) -> TicketId {
    match arrive(entry, id, now) {
        Arrival::Parked { ticket, .. } => ticket,
        other => panic!("not parked: {other:?}"),
    }
}

fn ids(ended: &[Ended<u32>]) -> Vec<u32> {
    ended.iter().map(|ended| ended.payload).collect()
}

fn drain(entry: &mut Entry<u32>, nonce: u64, now: Instant) -> DrainAnswer {
    entry.drain(
        Drain {
            nonce,
            epoch: entry.view.epoch,
            uid: entry.view.uid.clone(),
            hold: secs(10),
            order: false,
        },
        now,
    )
}
