//! One process of Reveille, as a Deployment would run it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use nix::sys::signal::Signal;

use crate::support::http::{Failure, Reply, send};
use crate::support::log::Log;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::{PATIENCE, setting, until};

/// `reveille activator` or `reveille scaler`, running or killed.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name: a member, or an identity in the lease.
    pub(crate) name: String,
    /// Where clients connect; an activator's.
    pub(crate) listen: SocketAddr,
    /// Where operators connect.
    pub(crate) admin: SocketAddr,
    /// What it logs, over all its starts.
    pub(crate) log: Log,
    arguments: Vec<String>,
    process: Process,
    _ports: Vec<Port>,
}

/// In the arguments of a part: a port that is its own, also after it was killed.
pub(crate) const FREE: &str = "127.0.0.1:0";

impl Part {
    /// Starts one; it need not be ready yet.
    pub(crate) async fn start(name: &str, mut arguments: Vec<String>) -> Self {
        let mut ports = Vec::new();
        for argument in arguments.iter_mut().filter(|argument| *argument == FREE) {
            let port = Port::reserve();
            *argument = port.address.to_string();
            ports.push(port);
        }
        let log = Log::new();
        let mut part = Self {
            name: name.to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            admin: ([127, 0, 0, 1], 0).into(),
            process: spawn(&arguments, &log),
            log,
            arguments,
            _ports: ports,
        };
        part.learn_addresses().await;
        part
    }

    /// Starts it again after its end, under the same name and at the same addresses.
    pub(crate) async fn restart(&mut self) {
        self.log = Log::new();
        self.process = spawn(&self.arguments, &self.log);
        self.learn_addresses().await;
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self) {
        until(&format!("{} ready", self.name), || async {
            let reply = self.operator("/readyz").await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    /// SIGKILL, and its end.
    pub(crate) async fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
        self.ended().await;
    }

    /// SIGTERM, and the good end it should have.
    pub(crate) async fn stop(&self) {
        self.process.signal(Signal::SIGTERM);
        let status = self.ended().await;
        assert!(
            status.success(),
            "{}: {status}\n{}",
            self.name,
            self.log.tail()
        );
    }

    /// Holds it still, as a paused machine does; `false` lets it go on.
    pub(crate) fn freeze(&self, still: bool) {
        self.process.signal(if still {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        });
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether the process lives.
    pub(crate) fn lives(&self) -> bool {
        self.process.wait(std::time::Duration::ZERO).is_none()
    }

    async fn ended(&self) -> std::process::ExitStatus {
        self.process
            .ended(PATIENCE)
            .await
            .unwrap_or_else(|| panic!("{} does not end", self.name))
    }

    /// GET from the admin listener.
    pub(crate) async fn operator(&self, path: &str) -> Result<Reply, Failure> {
        let request = Request::builder()
            .uri(path)
            .header("host", "reveille")
            .body(Empty::<Bytes>::new())?;
        send(self.admin, request).await
    }

    /// Sum of all series of a metric whose labels hold all of these `name="value"` texts.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.operator("/metrics").await.unwrap().ok();
        String::from_utf8(text.body.to_vec())
            .unwrap()
            .lines()
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let wanted = series.split('{').next()? == name
                    && labels.iter().all(|label| series.contains(label));
                wanted.then(|| value.parse::<f64>().unwrap())
            })
            .sum()
    }

    async fn learn_addresses(&mut self) {
        let event = self
            .log
            .event("serving", |event| event["message"] == "serving")
            .await;
        let address = |field: &str| event[field].as_str().and_then(|text| text.parse().ok());
        self.admin = address("admin").unwrap_or_else(|| panic!("no admin in {event}"));
        // A scaler has none.
        if let Some(listen) = address("listen") {
            self.listen = listen;
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if std::thread::panicking() || setting("REVEILLE_DEBUG", 0) > 1 {
            eprintln!("--- last lines of {}\n{}\n---", self.name, self.log.tail());
        }
        // The test is over: how fast it ends matters more than how.
        self.process.signal(Signal::SIGKILL);
    }
}

fn spawn(arguments: &[String], log: &Log) -> Process {
    let mut child = Command::new(env!("CARGO_BIN_EXE_reveille"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    log.collect(child.stderr.take().unwrap());
    log.collect(child.stdout.take().unwrap());
    Process::of(child)
}
