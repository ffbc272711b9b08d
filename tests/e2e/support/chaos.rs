//! A proxy before nats-server that doubles, delays (and so reorders) messages, and cuts connections.
//!
//! It reads the protocol frame by frame, both ways: only whole messages are touched (`PUB`, `HPUB`,
//! `MSG`, `HMSG`), so both ends see correct NATS with an unreliable network between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Frames waiting to be written; a reader that is ahead waits.
const FRAMES: usize = 1_024;

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Chaos {
    /// Where to connect instead.
    pub(crate) address: SocketAddr,
    faults: Arc<Faults>,
    _tasks: JoinSet<()>,
}

/// What happens to messages, now.
#[derive(Debug)]
struct Faults {
    /// Of 100 messages, so many are sent twice.
    doubled: AtomicU32,
    /// Each message waits for a random time up to this.
    delay_ms: AtomicU64,
    /// Messages seen.
    messages: AtomicU64,
    /// Grows with every cut.
    cut: watch::Sender<u64>,
}

impl Chaos {
    /// A proxy that does no harm yet.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::new(Faults {
            doubled: AtomicU32::new(0),
            delay_ms: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            cut: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&faults);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            faults,
            _tasks: tasks,
        }
    }

    /// As `--nats` wants it.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// From now on: so many of 100 messages twice, each late by up to `delay`.
    pub(crate) fn disturb(&self, doubled: u32, delay: Duration) {
        self.faults.doubled.store(doubled, Ordering::Relaxed);
        self.faults
            .delay_ms
            .store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Ends every connection there is; new ones are taken.
    pub(crate) fn cut(&self) {
        self.faults.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Messages that went through, both ways.
    pub(crate) fn messages(&self) -> u64 {
        self.faults.messages.load(Ordering::Relaxed)
    }
}

async fn carry(client: TcpStream, server: SocketAddr, faults: Arc<Faults>) {
    let mut cut = faults.cut.subscribe();
    cut.mark_unchanged();
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    // Whatever ends first ends the connection on both sides.
    tokio::select! {
        () = pump(client_reads, server_writes, &faults) => {}
        () = pump(server_reads, client_writes, &faults) => {}
        _ = cut.changed() => {}
    }
}

/// Carries one direction until it ends.
async fn pump(reads: impl AsyncRead + Unpin, mut writes: OwnedWriteHalf, faults: &Faults) {
    let (frames, mut ready) = mpsc::channel::<Vec<u8>>(FRAMES);
    let mut late = JoinSet::new();
    let read = async {
        let mut reads = BufReader::new(reads);
        while let Some(frame) = next(&mut reads).await {
            let copies = match frame {
                Frame::Control(bytes) => {
                    let _ = frames.send(bytes).await;
                    continue;
                }
                Frame::Message(bytes) => {
                    faults.messages.fetch_add(1, Ordering::Relaxed);
                    let twice = fastrand::u32(0..100) < faults.doubled.load(Ordering::Relaxed);
                    if twice {
                        vec![bytes.clone(), bytes]
                    } else {
                        vec![bytes]
                    }
                }
            };
            for copy in copies {
                let longest = faults.delay_ms.load(Ordering::Relaxed);
                if longest == 0 {
                    let _ = frames.send(copy).await;
                } else {
                    let frames = frames.clone();
                    late.spawn(async move {
                        sleep(Duration::from_millis(fastrand::u64(0..=longest))).await;
                        let _ = frames.send(copy).await;
                    });
                }
            }
        }
    };
    let write = async {
        while let Some(frame) = ready.recv().await {
            if writes.write_all(&frame).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

enum Frame {
    Control(Vec<u8>),
    Message(Vec<u8>),
}

/// The next frame, or `None` at the end.
async fn next(reads: &mut BufReader<impl AsyncRead + Unpin>) -> Option<Frame> {
    let mut bytes = Vec::new();
    if reads.read_until(b'\n', &mut bytes).await.ok()? == 0 {
        return None;
    }
    let line = String::from_utf8_lossy(&bytes).into_owned();
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(verb.as_str(), "PUB" | "HPUB" | "MSG" | "HMSG") {
        return Some(Frame::Control(bytes));
    }
    // The last number is the length of all that follows, headers included, without the line end.
    let length: usize = words.last()?.parse().ok()?;
    let head = bytes.len();
    bytes.resize(head + length + 2, 0);
    reads.read_exact(&mut bytes[head..]).await.ok()?;
    Some(Frame::Message(bytes))
}

mod tests {
    use super::*;
    use crate::support::nats::Nats;
    use crate::support::within;

    #[tokio::test]
    async fn a_disturbed_message_arrives_more_than_once_and_a_cut_connection_ends() {
        let nats = Nats::start().await;
        let chaos = Chaos::before(nats.address).await;
        chaos.disturb(100, Duration::from_millis(20));
        let mut stream = BufReader::new(TcpStream::connect(chaos.address).await.unwrap());
        let talk = b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n";
        stream.write_all(talk).await.unwrap();
        until_line(&mut stream, "PONG").await;
        stream.write_all(b"PUB a 7\r\nhe\r\nllo\r\n").await.unwrap();
        // Twice on the way to the server, and each again on the way back.
        for _ in 0..4 {
            until_line(&mut stream, "MSG a 1 7").await;
            until_line(&mut stream, "llo").await;
        }
        assert_eq!(chaos.messages(), 3);
        chaos.cut();
        let mut rest = Vec::new();
        // A reset is as good an end as a close.
        let _ = within("the end", stream.read_to_end(&mut rest)).await;
    }

    async fn until_line(stream: &mut BufReader<TcpStream>, wanted: &str) {
        let mut line = String::new();
        while line.trim_end() != wanted {
            line.clear();
            let length = within(wanted, stream.read_line(&mut line)).await.unwrap();
            assert!(length > 0, "closed before {wanted}");
        }
    }
}
