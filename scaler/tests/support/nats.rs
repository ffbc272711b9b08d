//! A real nats-server as a child, killed when dropped.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

/// Time for the server to start.
const START: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Child,
    port: u16,
    _home: TempDir,
}

impl Server {
    /// Starts on a free port.
    pub(crate) async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self::start_on(port).await
    }

    pub(crate) async fn start_on(port: u16) -> Self {
        let home = tempfile::tempdir().unwrap();
        let child = Command::new(binary())
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
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
        let up = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START, up)
            .await
            .expect("nats-server did not start");
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
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
