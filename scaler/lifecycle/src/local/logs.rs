//! Where the output of agents goes.
//!
//! Pipes are always drained, whatever becomes of the bytes: an agent must not stop because a disk is
//! full or a terminal is slow. A log file is appended to, and moved to `<name>.1` when it is large.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Size at which a log file is set aside; with the one set aside, twice that per container.
const ROTATE_AT: u64 = 10 << 20;

/// Read at a time; one buffer per stream of a running container.
const CHUNK: usize = 4 << 10;

/// Longest line mirrored in one piece.
const LONGEST_LINE: usize = 8 << 10;

/// Lines that wait for our standard output: 1,024 of at most 8 KiB are 8 MiB. Above it lines are dropped
/// from the mirror; the file has them.
const MIRROR_LINES: usize = 1024;

/// The log file of one container. Cloning shares it.
#[derive(Clone)]
pub(super) struct Log {
    file: Arc<Mutex<LogFile>>,
    mirror: Option<(mpsc::Sender<String>, Arc<str>)>,
}

struct LogFile {
    path: PathBuf,
    open: Option<(File, u64)>,
    /// The last write failed; said once until one succeeds.
    failing: bool,
}

/// Begins the mirror: a sender of finished lines, and the task's body, which ends with the last sender.
pub(super) fn mirror() -> (mpsc::Sender<String>, impl Future<Output = ()> + Send) {
    let (tx, mut rx) = mpsc::channel::<String>(MIRROR_LINES);
    let write = async move {
        let mut out = tokio::io::stdout();
        while let Some(line) = rx.recv().await {
            // A closed terminal is no reason to stop draining.
            let _ = out.write_all(line.as_bytes()).await;
            let _ = out.flush().await;
        }
    };
    (tx, write)
}

impl Log {
    pub(super) fn new(path: PathBuf, mirror: Option<(mpsc::Sender<String>, Arc<str>)>) -> Self {
        Self {
            file: Arc::new(Mutex::new(LogFile {
                path,
                open: None,
                failing: false,
            })),
            mirror,
        }
    }

    /// Drains one stream until its end.
    pub(super) async fn drain(self, mut stream: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; CHUNK];
        let mut line = Vec::new();
        // An error on a pipe is its end.
        while let Ok(read) = stream.read(&mut chunk).await
            && read > 0
        {
            self.file.lock().append(&chunk[..read]);
            if let Some((mirror, prefix)) = &self.mirror {
                echo(&chunk[..read], &mut line, prefix, mirror);
            }
        }
        if let Some((mirror, prefix)) = &self.mirror
            && !line.is_empty()
        {
            echo(b"\n", &mut line, prefix, mirror);
        }
    }
}

fn echo(chunk: &[u8], line: &mut Vec<u8>, prefix: &str, mirror: &mpsc::Sender<String>) {
    for part in chunk.split_inclusive(|byte| *byte == b'\n') {
        line.extend_from_slice(part);
        if part.ends_with(b"\n") || line.len() >= LONGEST_LINE {
            let text = String::from_utf8_lossy(line);
            // An agent does not get to move our cursor.
            let text: String = text
                .chars()
                .filter(|each| *each == '\t' || !each.is_control())
                .collect();
            let _ = mirror.try_send(format!("[{prefix}] {text}\n"));
            line.clear();
        }
    }
}

impl LogFile {
    fn append(&mut self, bytes: &[u8]) {
        match self.try_append(bytes) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.open = None;
                if !self.failing {
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "cannot write {path}, so what the agent says is lost until it can be written: {error}");
                }
                self.failing = true;
            }
        }
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut file, mut size) = match self.open.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        if size >= ROTATE_AT {
            std::fs::rename(&self.path, aside(&self.path))?;
            (file, size) = open(&self.path)?;
        }
        file.write_all(bytes)?;
        self.open = Some((file, size + bytes.len() as u64));
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_appended_and_set_aside_when_large() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agents/alice/agent.log");
        Log::new(path.clone(), None).drain(&b"one\n"[..]).await;
        Log::new(path.clone(), None).drain(&b"two\n"[..]).await;
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        let large = vec![b'x'; usize::try_from(ROTATE_AT).unwrap()];
        Log::new(path.clone(), None).drain(&large[..]).await;
        Log::new(path.clone(), None).drain(&b"three\n"[..]).await;
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
        assert!(std::fs::metadata(aside(&path)).unwrap().len() >= ROTATE_AT);
    }

    #[tokio::test]
    async fn a_full_disk_loses_output_and_nothing_else() {
        let log = Log::new(PathBuf::from("/dev/full"), None);
        log.clone().drain(&b"lost\n"[..]).await;
        assert!(log.file.lock().failing);
    }

    #[tokio::test]
    async fn mirrored_lines_are_whole_prefixed_and_tame() {
        let dir = tempfile::tempdir().unwrap();
        let (tx, mut rx) = mpsc::channel(8);
        let log = Log::new(dir.path().join("a.log"), Some((tx, "agents/alice".into())));
        log.drain(&b"hel\x1b[2Jlo\nrest"[..]).await;
        assert_eq!(rx.recv().await.unwrap(), "[agents/alice] hel[2Jlo\n");
        assert_eq!(rx.recv().await.unwrap(), "[agents/alice] rest\n");
    }
}
