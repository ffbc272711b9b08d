//! A real `nats-server`.

use std::future::ready;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tokio::net::TcpSocket;
use tokio::sync::watch;

use crate::PATIENCE;

/// A server of its own for each test; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: Port,
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
    pub(crate) async fn start() -> Self {
        Self::start_on(Port::free()).await
    }

    pub(crate) async fn start_on(port: Port) -> Self {
        let child = Command::new(program())
            .args(["-a", "127.0.0.1", "-p", &port.number.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts");
        let server = Self { child, port };
        tokio::time::timeout(PATIENCE, server.connect())
            .await
            .expect("nats-server accepts in time");
        server
    }

    /// Waits until the server answers.
    pub(crate) async fn connect(&self) -> Client {
        self.connect_counted().await.0
    }

    /// The same, with the number of the present connection.
    pub(crate) async fn connect_counted(&self) -> (Client, watch::Receiver<Option<u64>>) {
        let (counted, connection) = watch::channel(None);
        let made = Arc::new(AtomicU64::new(0));
        let options = ConnectOptions::new()
            .ping_interval(Duration::from_secs(5))
            .retry_on_initial_connect()
            .event_callback(move |event| {
                match event {
                    Event::Connected => {
                        let number = made.fetch_add(1, Ordering::Relaxed);
                        counted.send_replace(Some(number));
                    }
                    Event::Disconnected => drop(counted.send_replace(None)),
                    _ => {}
                }
                ready(())
            })
            .reconnect_delay_callback(|_| Duration::from_millis(20));
        let client = options
            .connect(format!("127.0.0.1:{}", self.port.number))
            .await
            .unwrap();
        client.flush().await.unwrap();
        (client, connection)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("the server is ours to kill");
        self.child.wait().expect("a killed child ends");
    }
}

/// `NATS_SERVER_BIN`, what `tests/tools.sh` installs, or the first in `PATH`.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER_BIN") {
        return path.into();
    }
    let installed = std::env::var_os("HOME").map(|home| {
        PathBuf::from(home).join(".cache/reveille/tools/nats-server-2.15.1/nats-server")
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    installed
        .into_iter()
        .chain(in_path)
        .find(|path| path.is_file())
        .expect("no nats-server: run tests/tools.sh, or set NATS_SERVER_BIN")
}
