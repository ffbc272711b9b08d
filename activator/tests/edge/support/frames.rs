//! A client of HTTP/2 that writes and reads single frames (RFC 9113 §4, §6).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Edge;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn is_last(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// One connection.
pub(crate) struct Frames {
    stream: TcpStream,
    /// Whether PINGs of the other side are answered.
    pub(crate) answers_pings: bool,
}

impl Frames {
    pub(crate) async fn connect(edge: &Edge) -> Self {
        let mut frames = Self {
            stream: edge.connect().await,
            answers_pings: true,
        };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        frames.stream.write_all(preface).await.unwrap();
        frames.send(SETTINGS, 0, 0, &[]).await.unwrap();
        frames
    }

    pub(crate) async fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await
    }

    /// A request for `alice` without a body, with these fields beside.
    pub(crate) async fn get(&mut self, stream: u32, path: &str, fields: &[(&str, &str)]) {
        let head = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "alice.default.sandbox.localhost"),
        ];
        let block = block(head.iter().chain(fields));
        let flags = END_STREAM | END_HEADERS;
        self.send(HEADERS, flags, stream, &block).await.unwrap();
    }

    /// Asks alice for a WebSocket (RFC 8441 §4), and waits until it is open.
    pub(crate) async fn open_websocket(&mut self, stream: u32, path: &str) {
        let head = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "alice.default.sandbox.localhost"),
            ("sec-websocket-version", "13"),
        ];
        let block = block(head.iter());
        self.send(HEADERS, END_HEADERS, stream, &block)
            .await
            .unwrap();
        let answer = self.next_within(super::SOON).await.unwrap().unwrap();
        assert_eq!((answer.kind, answer.flags & END_STREAM), (HEADERS, 0));
        // Index 8 of the static table (RFC 7541, Appendix A).
        assert_eq!(answer.payload[0], 0x88, ":status 200");
    }

    /// The next frame that is no PING and no SETTINGS, within that time; `None` is the end of the connection.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Result<Option<Frame>, Silence> {
        let next = async {
            loop {
                let Ok(frame) = self.read().await else {
                    return None;
                };
                let is_answer = frame.flags & ACK != 0;
                match frame.kind {
                    SETTINGS if !is_answer => {
                        let _ = self.send(SETTINGS, ACK, 0, &[]).await;
                    }
                    PING if !is_answer && self.answers_pings => {
                        let _ = self.send(PING, ACK, 0, &frame.payload).await;
                    }
                    SETTINGS | PING | WINDOW_UPDATE => {}
                    _ => return Some(frame),
                }
            }
        };
        tokio::time::timeout(limit, next).await.map_err(|_| Silence)
    }

    /// Reads the answer to a request to its end.
    pub(crate) async fn answer(&mut self, stream: u32) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !frames.last().is_some_and(Frame::is_last) {
            let frame = self.next_within(super::SOON).await.unwrap().unwrap();
            assert_eq!(frame.stream, stream, "{frame:?}");
            frames.push(frame);
        }
        frames
    }

    async fn read(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }
}

/// Nothing came in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Silence;

/// Fields as literals without indexing (RFC 7541 §6.2.2), for texts shorter than 127 bytes.
fn block<'a>(fields: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}
