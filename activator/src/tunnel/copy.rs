//! Copies bytes between the two ends of a tunnel, and ends it in the words of what it carries.

use std::sync::Arc;
use std::time::Duration;

use reveille_activator_core::websocket::{GOING_AWAY, SERVICE_RESTART, TRY_AGAIN_LATER, close};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::LAST_WORDS;
use super::way::{Over, Way};
use crate::server::HEARING;
use crate::slot::{Pulse, Slot};
use crate::upstream::Life;
use crate::wire::Abort;

/// How long a client may go on sending after its sandbox has ended: it may be in the middle of a message,
/// and a connection closed over unread bytes is reset, which overtakes what the client has yet to read.
const REST: Duration = Duration::from_secs(5);

/// What a tunnel hangs on beside its two ends.
pub(super) struct Ties<'a> {
    pub(super) pulse: &'a Pulse,
    /// The pod at its other end.
    pub(super) pod: &'a Arc<str>,
    pub(super) life: &'a Life,
    pub(super) is_websocket: bool,
    /// Cancelled when this process is about to end it.
    pub(super) leaving: CancellationToken,
    /// The connection to the sandbox.
    pub(super) sandbox: Option<Abort>,
    /// The client can be told that its sandbox broke off, and nothing that was sent is lost by it: its end is an
    /// h2 stream. A TCP connection that is reset forgets what the client has yet to read.
    pub(super) can_reset: bool,
}

/// How a tunnel came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In the words of what it carries, or of TCP.
    Told,
    /// The client broke off.
    ClientGone,
    /// What the client has got is no whole: its end is to be a reset.
    Broken,
    /// The client does not read what it is told: its end is to be a reset.
    Unheard,
}

/// Copies until both ends have said all, or one has failed, or it is for this side to end it: at a shutdown,
/// when the pod is dead, and when a tunnel that was silent for long hangs on a pod that is not the sandbox's
/// any more. A client that broke off is followed by the connection to the sandbox.
pub(super) async fn both_ways<A, B>(client: A, sandbox: B, ties: &Ties<'_>) -> End
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
        end = converse(&mut up, &mut down, ties) => {
            if end == End::ClientGone {
                ties.sandbox.iter().for_each(Abort::set);
            }
            return end;
        }
        () = ties.leaving.cancelled() => (GOING_AWAY, "the proxy is shutting down"),
        () = ties.life.over() => departure(slot, ties.pod),
        () = ties.pulse.watch(ties.pod, |slot| Some(slot.websocket_idle())) => departure(slot, ties.pod),
    };
    let (code, reason) = last_words;
    let (to_client, to_sandbox) = (close(code, reason, None), close(code, reason, Some(mask())));
    let mut end = End::Unheard;
    let farewell = async {
        let sandbox = async {
            // Whoever is gone already hears nothing.
            if up.conclude(&to_sandbox).await.is_ok() {
                let _ = up.hang_up().await;
            }
        };
        let client = async { end = say_last(&mut down, &to_client, ties.can_reset).await };
        tokio::join!(client, sandbox);
        up.discard().await;
    };
    let _ = timeout(LAST_WORDS, farewell).await;
    end
}

/// Tells the client that nothing more comes, in a frame where one can be put in. `breaks`: what it has got so far
/// is not all where it is no whole.
async fn say_last<D, T>(down: &mut Way<D, T>, frame: &[u8], breaks: bool) -> End
where
    D: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    if down.conclude(frame).await.is_err() {
        return End::ClientGone;
    }
    if breaks && !down.is_whole() {
        return End::Broken;
    }
    match down.hang_up().await {
        Ok(()) => End::Told,
        Err(_) => End::ClientGone,
    }
}

/// Copies until nothing more can be said.
async fn converse<C, S, D, T>(up: &mut Way<C, S>, down: &mut Way<D, T>, ties: &Ties<'_>) -> End
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
            Over::Gone => return End::ClientGone,
            _ => None,
        },
    };
    if over.is_none() {
        over = Some(down.run(ties.pulse).await);
    }
    if over == Some(Over::Unheard) {
        return End::ClientGone;
    }
    let (code, reason) = departure(ties.pulse.slot(), ties.pod);
    let last_frame = close(code, reason, None);
    // A regular end is passed on as one.
    let breaks = ties.can_reset && over == Some(Over::Gone);
    match timeout(HEARING, say_last(down, &last_frame, breaks)).await {
        Ok(End::Told) => {}
        Ok(end) => return end,
        Err(_) => return End::Unheard,
    }
    let rest = listen(up, ties.pulse);
    if over == Some(Over::Said) && !down.is_websocket() {
        rest.await;
    } else {
        let _ = timeout(REST, rest).await;
    }
    End::Told
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
