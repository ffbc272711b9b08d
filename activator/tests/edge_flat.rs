//! Memory while a large upload waits for its sandbox and passes through. Alone in its process, because
//! it looks at what the whole process uses.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::too_many_lines,
    reason = "the support code has tables of cases"
)]
#![allow(
    dead_code,
    unused_imports,
    reason = "the other edge tests use the rest of the support code"
)]

#[path = "edge/support.rs"]
mod support;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::agent::read_head;
use crate::support::{Agent, Edge};

const BLOCK: usize = 1 << 16;
/// 1 GiB.
const BLOCKS: usize = 1 << 14;
/// Buffers of two hops and two ends, with room to spare.
const MOST_GROWTH: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_to_a_sleeping_sandbox_arrives_whole_with_memory_flat() {
    let agent = Agent::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let (mut block, mut whole) = (vec![0; BLOCK], 0);
        for at in 0..BLOCKS {
            stream.read_exact(&mut block).await.unwrap();
            whole += usize::from(block == [pattern(at); BLOCK]);
        }
        let answer = if whole == BLOCKS {
            "200 OK"
        } else {
            "500 Damaged"
        };
        let head = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
    })
    .await;
    let edge = Edge::start().await;
    edge.asleep("bob").await;
    let before = resident();
    let (mut reads, mut writes) = edge.connect().await.into_split();
    let upload = tokio::spawn(async move {
        let length = BLOCK * BLOCKS;
        let head = format!(
            "POST / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: bob\r\ncontent-length: {length}\r\n\r\n"
        );
        writes.write_all(head.as_bytes()).await.unwrap();
        for at in 0..BLOCKS {
            writes.write_all(&[pattern(at); BLOCK]).await.unwrap();
        }
        writes
    });
    // The client sends until nothing takes more; that, too, must not grow.
    tokio::time::sleep(Duration::from_millis(500)).await;
    edge.awake("bob", &agent).await;
    let writes = upload.await.unwrap();
    let mut status = [0; 12];
    reads.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    drop(writes);
    let grown = peak().saturating_sub(before);
    assert!(grown < MOST_GROWTH, "grew by {} MiB", grown >> 20);
}

fn pattern(block: usize) -> u8 {
    u8::try_from(block % 251).unwrap()
}

fn resident() -> u64 {
    status("VmRSS:")
}

fn peak() -> u64 {
    status("VmHWM:")
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
