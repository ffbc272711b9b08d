//! Processes of a case, ended with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LOOK, PATIENCE, until};

/// A process that is killed when dropped. What it says is kept in a file.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    folder: TempDir,
}

impl Running {
    /// Starts `command` with its output in a folder of its own, which it can be told of.
    pub(crate) fn start(command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let file = std::fs::File::create(&log).unwrap();
        let child = command(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log, folder }
    }

    /// The binary under test.
    pub(crate) fn reveille(args: &[&str]) -> Self {
        Self::start(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_reveille"));
            command
                .env_clear()
                .args(args)
                .args(["--log-format", "json"]);
            command
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGTERM; does not wait.
    pub(crate) fn terminate(&self) {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.unwrap()
    }

    /// Waits for a line of the log.
    pub(crate) async fn says(&self, what: impl Fn(&Value) -> bool) -> Value {
        until("a log line", || async {
            let text = std::fs::read_to_string(&self.log).unwrap();
            text.lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .find(|line| what(line))
        })
        .await
    }

    /// Waits until it serves, and gives an address that it listens on.
    pub(crate) async fn address(&self, field: &str) -> SocketAddr {
        let line = self.says(|line| line["message"] == "serving").await;
        line[field].as_str().unwrap().parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let tail = text.lines().rev().take(20).collect::<Vec<_>>();
            eprintln!("--- log, the last line first\n{}\n---", tail.join("\n"));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends one request, with these header fields, on a connection of its own; status and the whole answer.
pub(crate) async fn ask(address: SocketAddr, path: &str, fields: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: any\r\nconnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}
