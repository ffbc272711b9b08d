//! Copies bytes between the two ends of a tunnel, and ends it in the words of what it carries.

use std::sync::Arc;
use std::time::Duration;

use reveille_activator_core::websocket::{GOING_AWAY, SERVICE_RESTART, TRY_AGAIN_LATER, close};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::LAST_WORDS;
use super::way::{Over, Way};
use crate::slot::{Pulse, Slot};
use crate::upstream::Life;

/// How long a client may go on sending after its sandbox has ended: it may be in the middle of a message,
/// and a connection closed over unread bytes is reset, which overtakes what the client has yet to read.
const REST: Duration = Duration::from_secs(5);
/// How long a client may take to read what its sandbox said last.
const HEARING: Duration = Duration::from_secs(60);

/// What a tunnel hangs on beside its two ends.
pub(super) struct Ties<'a> {
    pub(super) pulse: &'a Pulse,
    /// The pod at its other end.
    pub(super) pod: &'a Arc<str>,
    pub(super) life: &'a Life,
    pub(super) is_websocket: bool,
    /// Cancelled when this process is about to end it.
    pub(super) leaving: CancellationToken,
}

/// Copies until both ends have said all, or one has failed, or it is for this side to end it: at a shutdown,
/// when the pod is dead, and when a tunnel that was silent for long hangs on a pod that is not the sandbox's
/// any more.
pub(super) async fn both_ways<A, B>(client: A, sandbox: B, ties: &Ties<'_>)
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (client_reads, client_writes) = split(client);
    let (sandbox_reads, sandbox_writes) = split(sandbox);
    let mut up = Way::new(client_reads, sandbox_writes, ties.is_websocket);
    let mut down = Way::new(sandbox_reads, client_writes, ties.is_websocket);
    let slot = ties.pulse.slot();
    let last_words = tokio::select! {
        // The copies first: the others only watch them.
        biased;
        () = converse(&mut up, &mut down, ties) => return,
        () = ties.leaving.cancelled() => (GOING_AWAY, "the proxy is shutting down"),
        () = ties.life.over() => departure(slot, ties.pod),
        () = ties.pulse.watch(ties.pod, |slot| Some(slot.websocket_idle())) => departure(slot, ties.pod),
    };
    let farewell = async {
        let (code, reason) = last_words;
        let to_client = close(code, reason, None);
        let to_sandbox = close(code, reason, Some(mask()));
        // Whoever is gone already hears nothing.
        let _ = tokio::join!(down.close(&to_client), up.close(&to_sandbox));
        up.discard().await;
    };
    let _ = timeout(LAST_WORDS, farewell).await;
}

/// Copies until nothing more can be said.
async fn converse<C, S, D, T>(up: &mut Way<C, S>, down: &mut Way<D, T>, ties: &Ties<'_>)
where
    C: AsyncRead + Unpin,
    S: AsyncWrite + Unpin,
    D: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    let mut over = tokio::select! {
        // What the sandbox said last comes before how it takes what the client says.
        biased;
        over = down.run(ties.pulse) => Some(over),
        over = listen(up, ties.pulse) => match over {
            Over::Gone => return,
            _ => None,
        },
    };
    if over.is_none() {
        over = Some(down.run(ties.pulse).await);
    }
    if over == Some(Over::Unheard) {
        return;
    }
    let (code, reason) = departure(ties.pulse.slot(), ties.pod);
    let last_frame = close(code, reason, None);
    if !matches!(timeout(HEARING, down.close(&last_frame)).await, Ok(Ok(()))) {
        return;
    }
    let rest = listen(up, ties.pulse);
    if over == Some(Over::Said) && !down.is_websocket() {
        rest.await;
    } else {
        let _ = timeout(REST, rest).await;
    }
}

/// Copies what the client says. Of what the sandbox does not take the rest is read all the same: the client
/// has to come to read what the sandbox said.
async fn listen<C, S>(up: &mut Way<C, S>, pulse: &Pulse) -> Over
where
    C: AsyncRead + Unpin,
    S: AsyncWrite + Unpin,
{
    match up.run(pulse).await {
        Over::Said => {
            // A sandbox that does not hear it is about to say so itself.
            let _ = up.hang_up().await;
            Over::Said
        }
        Over::Gone => Over::Gone,
        Over::Unheard => up.discard().await,
    }
}

/// What the client is told of a sandbox that has gone.
fn departure(slot: &Slot, pod: &Arc<str>) -> (u16, &'static str) {
    if slot.has_pod(pod) {
        (SERVICE_RESTART, "the sandbox closed the connection")
    } else if slot.is_blocked() {
        (
            TRY_AGAIN_LATER,
            "the sandbox went to sleep and is not woken by requests now",
        )
    } else {
        (
            SERVICE_RESTART,
            "the sandbox went to sleep; connecting again wakes it",
        )
    }
}

/// Four random bytes: a client's frames are masked (RFC 6455 §5.3).
fn mask() -> [u8; 4] {
    let random = uuid::Uuid::new_v4();
    let bytes = random.as_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

#[cfg(test)]
mod tests;
