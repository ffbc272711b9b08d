//! A real nats-server as a child, killed when dropped.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};

/// Time for the server to start.
const START: Duration = Duration::from_secs(90);

pub(crate) struct Server {
    child: Child,
    port: Port,
    _home: TempDir,
}

/// A port that nobody else gets while this lives, also while no server listens.
#[derive(Clone)]
pub(crate) struct Port {
    number: u16,
    /// Bound and not listening: with `SO_REUSEADDR` on both, a server can still have the port.
    _held: Arc<TcpSocket>,
}

impl Port {
    fn free() -> Self {
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            number: held.local_addr().unwrap().port(),
            _held: Arc::new(held),
        }
    }
}

impl Server {
    /// Starts on a free port.
    pub(crate) async fn start() -> Self {
        Self::start_on(Port::free()).await
    }

    pub(crate) async fn start_on(port: Port) -> Self {
        let home = tempfile::tempdir().unwrap();
        let child = Command::new(binary())
            .args(["--addr", "127.0.0.1", "--port", &port.number.to_string()])
            .current_dir(home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            port,
            _home: home,
        };
        let number = server.port.number;
        let up = async {
            while TcpStream::connect(("127.0.0.1", number)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START, up)
            .await
            .expect("nats-server did not start");
        server
    }

    pub(crate) fn port(&self) -> Port {
        self.port.clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.number)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "where the server is installed is known to the environment alone"
)]
fn binary() -> PathBuf {
    let variable = |name| std::env::var(name).ok();
    if let Some(path) = variable("NATS_SERVER_BIN") {
        return path.into();
    }
    let home = variable("HOME").unwrap_or_default();
    let cached = PathBuf::from(home).join(".cache/reveille/tools/nats-server-2.15.1/nats-server");
    let path = variable("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let found = std::iter::once(cached)
        .chain(on_path)
        .find(|file| file.is_file());
    found.expect("no nats-server found: run tests/tools.sh, or set NATS_SERVER_BIN")
}
