//! A client's socket at its two ends: the first bytes, which say what is spoken on it, and the farewell.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wire::hang_up;

/// How long a closed connection is read to its end, so that the kernel does not answer unread bytes with
/// a reset that overtakes the response.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// First bytes of a client that speaks HTTP/2 by prior knowledge (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was read to find out which HTTP it is.
#[derive(Default)]
pub(super) struct First {
    bytes: [u8; PREFACE.len()],
    length: usize,
}

/// The HTTP that a client begins to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

impl First {
    /// Reads just enough to know which HTTP the client speaks; who speaks it will read it again.
    ///
    /// # Errors
    /// If the client leaves first, or says nothing `within` that time.
    pub(super) async fn detect(
        &mut self,
        stream: &TcpStream,
        within: Duration,
    ) -> io::Result<Speaks> {
        let detect = async {
            loop {
                stream.readable().await?;
                match stream.try_read(&mut self.bytes[self.length..]) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => self.length += read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
                if !PREFACE.starts_with(&self.bytes[..self.length]) {
                    return Ok(Speaks::Http1);
                }
                if self.length == PREFACE.len() {
                    return Ok(Speaks::Http2);
                }
            }
        };
        timeout(within, detect).await?
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Hangs up and reads what the client still sends, for a while, so that it gets to read the response.
pub(super) async fn see_off(stream: &TcpStream) {
    if hang_up(stream).is_err() {
        return;
    }
    let drain = async {
        let mut sink = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut sink) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = timeout(LINGER, drain).await;
}
