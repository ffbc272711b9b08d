//! A real nats-server that can be killed and brought back on the same port.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::process::Process;
use crate::support::{PATIENCE, until};

/// A nats-server.
#[derive(Debug)]
pub(crate) struct Nats {
    /// Where it listens, also while it is dead.
    pub(crate) address: SocketAddr,
    process: Option<Process>,
    folder: TempDir,
}

impl Nats {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(&folder, "-1");
        let file = folder
            .path()
            .join(format!("nats-server_{}.ports", process.pid()));
        let port = until("the ports file of nats-server", || async {
            let ports: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            ports["nats"][0]
                .as_str()?
                .rsplit_once(':')?
                .1
                .parse::<u16>()
                .ok()
        })
        .await;
        Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            process: Some(process),
            folder,
        }
    }

    /// As `--nats` wants it.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::SIGKILL);
            process.ended(PATIENCE).await.unwrap();
        }
    }

    /// Back again, on the same port.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        self.process = Some(spawn(&self.folder, &self.address.port().to_string()));
        until("nats-server", || async {
            TcpStream::connect(self.address).await.ok()
        })
        .await;
    }
}

fn spawn(folder: &TempDir, port: &str) -> Process {
    let child = Command::new(program())
        .args(["-a", "127.0.0.1", "-p", port, "--ports_file_dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Process::of(child)
}

/// Installs it where it is missing.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools.sh");
        let output = Command::new(script)
            .args(["--path", "nats-server"])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{script} failed");
        String::from_utf8(output.stdout).unwrap().trim().into()
    })
}
