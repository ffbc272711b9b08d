//! A real nats-server that can be killed and brought back on the same port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::{PATIENCE, until};

/// A nats-server.
#[derive(Debug)]
pub(crate) struct Nats {
    /// Where it listens, also while it is dead.
    pub(crate) address: SocketAddr,
    process: Option<Process>,
    _port: Port,
}

impl Nats {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let port = Port::reserve();
        let mut nats = Self {
            address: port.address,
            process: None,
            _port: port,
        };
        nats.restart().await;
        nats
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
        self.process = Some(spawn(self.address));
        until("nats-server", || async {
            TcpStream::connect(self.address).await.ok()
        })
        .await;
    }
}

fn spawn(address: SocketAddr) -> Process {
    let child = Command::new(program())
        .args(["-a", &address.ip().to_string()])
        .args(["-p", &address.port().to_string()])
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
