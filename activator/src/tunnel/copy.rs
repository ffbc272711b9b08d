//! Copies bytes between the two ends of a tunnel, and tells the sandbox's activity when they rest.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::slot::Activity;

/// Bytes in flight per direction: enough for a message or two, little enough for thousands of tunnels.
const BUFFER: usize = 8 * 1024;

/// Copies until both ends have said all, or one has failed.
pub(super) async fn both_ways<A, B>(client: A, sandbox: B, activity: &Activity)
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let meter = Meter::new(activity);
    let (client_reads, client_writes) = split(client);
    let (sandbox_reads, sandbox_writes) = split(sandbox);
    let copies = async {
        tokio::try_join!(
            one_way(client_reads, sandbox_writes, &meter),
            one_way(sandbox_reads, client_writes, &meter),
        )
    };
    tokio::select! {
        // The copies first: the meter only watches them, and never ends.
        biased;
        ended = copies => {
            if let Err(error) = ended {
                debug!(%error, "tunnel broken");
            }
        }
        () = meter.watch() => {}
    }
}

/// One direction; the end of what is read becomes the end of what is written, and the other direction
/// goes on.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    meter: &Meter<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        meter.moved();
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}

/// When bytes moved last, and whether the activity knows.
struct Meter<'a> {
    activity: &'a Activity,
    began: Instant,
    /// Nanoseconds from `began` to the last bytes.
    last: AtomicU64,
    is_quiet: AtomicBool,
}

impl<'a> Meter<'a> {
    fn new(activity: &'a Activity) -> Self {
        Self {
            activity,
            began: Instant::now(),
            last: AtomicU64::new(0),
            is_quiet: AtomicBool::new(false),
        }
    }

    fn moved(&self) {
        let since = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
        if self.is_quiet.swap(false, Ordering::Relaxed) {
            self.activity.active();
        }
    }

    /// Tells the activity of every silence that is long enough.
    async fn watch(&self) {
        loop {
            // Asked anew each time: a policy may have changed.
            let idle = self.activity.slot().websocket_idle();
            let silent_at =
                self.began + Duration::from_nanos(self.last.load(Ordering::Relaxed)) + idle;
            if Instant::now() < silent_at {
                sleep_until(silent_at).await;
                continue;
            }
            if !self.is_quiet.swap(true, Ordering::Relaxed) {
                self.activity.quiet();
            }
            // From now on bytes say so themselves; look again when they could have rested for long.
            sleep_until(Instant::now() + idle.max(Duration::from_secs(1))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reveille_activator_core::view::{Limits, State, View};
    use reveille_crds::SandboxKey;
    use reveille_crds::scaled_sandbox::Readiness;
    use tokio::io::duplex;

    use super::*;
    use crate::sight::Sight;
    use crate::slot::{Facts, Slot};

    const IDLE: Duration = Duration::from_secs(600);

    fn slot() -> Arc<Slot> {
        let key = SandboxKey::new("agents", "alice").unwrap();
        let view = View {
            epoch: 0,
            state: State::Asleep,
            is_wanted: false,
            pod: None,
            limits: Limits::default(),
        };
        let facts = Facts {
            sandbox_uid: None,
            pod: None,
            readiness: Readiness::Auto,
            websocket_idle: IDLE,
            http: crate::slot::HttpFacts::default(),
            is_blocked: false,
            is_gone: false,
        };
        Slot::new(key, view, facts, Arc::default(), Arc::new(Sight::new()))
    }

    fn in_flight(slot: &Slot) -> u32 {
        slot.report().map_or(0, |seen| seen.in_flight)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_stops_counting_and_counts_again_with_its_next_byte() {
        let slot = slot();
        let (mut client, client_side) = duplex(64);
        let (mut sandbox, sandbox_side) = duplex(64);
        let activity = slot.begin();
        let tunnel =
            tokio::spawn(async move { both_ways(client_side, sandbox_side, &activity).await });
        let mut byte = [0; 1];
        client.write_all(b"a").await.unwrap();
        sandbox.read_exact(&mut byte).await.unwrap();
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        assert_eq!(in_flight(&slot), 1, "silent, but not for long enough");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(in_flight(&slot), 0, "silent for long enough");
        tokio::time::sleep(IDLE / 2).await;
        sandbox.write_all(b"b").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
        assert_eq!(in_flight(&slot), 1, "active again");
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        assert_eq!(
            in_flight(&slot),
            1,
            "the silence is counted from the last byte"
        );
        drop((client, sandbox));
        tunnel.await.unwrap();
        assert_eq!(in_flight(&slot), 0);
    }
}
