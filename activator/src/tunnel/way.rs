//! One direction of a tunnel. Every step may be given up and begun again: what was read and not yet written
//! waits in the buffer.

use std::io;

use reveille_activator_core::websocket::Frames;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::slot::Pulse;

/// Bytes in flight per direction: enough for a message or two, little enough for thousands of tunnels.
const BUFFER: usize = 8 * 1024;
/// Buffers copied in a row before the other direction has a turn, where both ends are always ready.
const TURN: usize = 16;

/// Copies from one end to the other.
pub(super) struct Way<R, W> {
    from: R,
    to: W,
    buffer: Box<[u8]>,
    /// What of the buffer is to be written.
    start: usize,
    end: usize,
    frames: Option<Wire>,
    over: Option<Over>,
}

/// The frames of a WebSocket, at the two ends of the buffer.
#[derive(Default)]
struct Wire {
    read: Frames,
    written: Frames,
}

/// Why nothing more comes this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Its source has said all.
    Said,
    /// Its source is gone.
    Gone,
    /// Whoever it leads to takes no more.
    Unheard,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Way<R, W> {
    pub(super) fn new(from: R, to: W, is_websocket: bool) -> Self {
        Self {
            from,
            to,
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            frames: is_websocket.then(Wire::default),
            over: None,
        }
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.frames.is_some()
    }

    /// Copies to the end of either side. What is more than a heartbeat counts before it goes on.
    pub(super) async fn run(&mut self, pulse: &Pulse) -> Over {
        let mut copied: usize = 0;
        while self.over.is_none() {
            copied = copied.wrapping_add(1);
            if copied.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
            if self.write_up_to(self.end).await.is_err() {
                self.over = Some(Over::Unheard);
                continue;
            }
            let read = self.read().await;
            if read > 0 && self.is_active() {
                pulse.beat();
            }
        }
        self.over.unwrap_or(Over::Said)
    }

    /// Copies on to the end of the frame that is under way, if any is; then, if a frame may be put in here,
    /// that one is. Nothing but [`Way::hang_up`] is to come after it.
    ///
    /// # Errors
    /// If nobody takes it.
    pub(super) async fn conclude(&mut self, last_frame: &[u8]) -> io::Result<()> {
        while let Some(wire) = &self.frames {
            let waits = &self.buffer[self.start..self.end];
            match wire.written.until_boundary(waits) {
                Some(more) => {
                    self.write_up_to(self.start + more).await?;
                    break;
                }
                None => self.write_up_to(self.end).await?,
            }
            if self.over.is_some() || self.read().await == 0 {
                break;
            }
        }
        if self.frames.is_none() {
            self.write_up_to(self.end).await?;
        }
        if self
            .frames
            .as_ref()
            .is_some_and(|wire| wire.written.may_speak())
        {
            self.buffer[..last_frame.len()].copy_from_slice(last_frame);
            (self.start, self.end) = (0, last_frame.len());
            self.write_up_to(self.end).await?;
        }
        Ok(())
    }

    /// Whether what was said ends where it may end, as far as this side knows.
    pub(super) fn is_whole(&self) -> bool {
        self.frames
            .as_ref()
            .is_none_or(|wire| wire.written.is_whole())
    }

    /// Says that nothing more comes this way.
    ///
    /// # Errors
    /// If nobody hears it.
    pub(super) async fn hang_up(&mut self) -> io::Result<()> {
        self.to.shutdown().await
    }

    /// Reads what still comes, for nobody, to its end.
    pub(super) async fn discard(&mut self) -> Over {
        while !matches!(self.over, Some(Over::Said | Over::Gone)) {
            self.over = None;
            self.read().await;
        }
        self.over.unwrap_or(Over::Said)
    }

    /// Fills the empty buffer; 0 is the end.
    async fn read(&mut self) -> usize {
        match self.from.read(&mut self.buffer).await {
            Ok(0) => self.over = Some(Over::Said),
            Err(_) => self.over = Some(Over::Gone),
            Ok(read) => {
                (self.start, self.end) = (0, read);
                return read;
            }
        }
        0
    }

    /// Whether what was just read is more than a heartbeat.
    fn is_active(&mut self) -> bool {
        let bytes = &self.buffer[self.start..self.end];
        self.frames
            .as_mut()
            .is_none_or(|wire| wire.read.pass(bytes))
    }

    async fn write_up_to(&mut self, end: usize) -> io::Result<()> {
        while self.start < end {
            let written = self.to.write(&self.buffer[self.start..end]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            if let Some(wire) = &mut self.frames {
                wire.written
                    .pass(&self.buffer[self.start..self.start + written]);
            }
            self.start += written;
        }
        self.to.flush().await
    }
}
