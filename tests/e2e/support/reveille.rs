//! The binary under test, as `reveille standalone`.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::home::Home;
use crate::support::log::Log;
use crate::support::manifests::Manifests;
use crate::support::process::{Process, kill_agents};
use crate::support::{PATIENCE, until};

/// A running `reveille standalone`.
#[derive(Debug)]
pub(crate) struct Reveille {
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// Where operators connect.
    pub(crate) admin: SocketAddr,
    /// What it logs.
    pub(crate) log: Log,
    process: Process,
    marker: String,
}

impl Reveille {
    /// Starts it and waits until it serves.
    pub(crate) async fn start(home: &Home) -> Self {
        Self::with(home, &[]).await
    }

    /// Starts it with more flags and waits until it serves.
    pub(crate) async fn with(home: &Home, flags: &[&str]) -> Self {
        let (process, log) = spawn(home, flags);
        let event = log
            .event("serving", |event| event["message"] == "serving")
            .await;
        let address = |field: &str| -> SocketAddr {
            event[field]
                .as_str()
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("no {field} in {event}"))
        };
        let (listen, admin) = (address("listen"), address("admin"));
        let reveille = Self {
            listen,
            admin,
            log,
            process,
            marker: home.marker(),
        };
        until("readiness", || async {
            reveille
                .operator("/readyz")
                .await
                .ok()
                .filter(|r| r.status == 200)
        })
        .await;
        reveille
    }

    /// Starts it in a home of these manifests; both live as long as the test holds them.
    pub(crate) async fn of(manifests: &Manifests) -> (Home, Self) {
        let home = Home::with(manifests);
        let reveille = Self::start(&home).await;
        (home, reveille)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGTERM; does not wait.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    /// Waits for the end and gives the exit status.
    async fn ended(&self) -> ExitStatus {
        self.process
            .ended(PATIENCE)
            .await
            .expect("reveille ends when told to")
    }

    /// SIGTERM, and the end it should have.
    pub(crate) async fn stop(self) {
        self.terminate();
        self.ends_well().await;
    }

    /// Waits for an end with success.
    pub(crate) async fn ends_well(&self) {
        let status = self.ended().await;
        assert!(status.success(), "{status}");
    }

    /// SIGKILL; agents are left behind, to be found by the next start.
    pub(crate) async fn kill(mut self) {
        self.process.signal(Signal::SIGKILL);
        self.ended().await;
        // Not ours to end any more.
        self.marker.clear();
    }

    /// Waits for a log line and gives it.
    pub(crate) async fn says(&self, text: &str) -> Value {
        self.log.says(text).await
    }
}

impl Drop for Reveille {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- last lines of reveille's log\n{}\n---", self.log.tail());
        }
        self.process.signal(Signal::SIGTERM);
        if self.process.wait(PATIENCE).is_none() {
            eprintln!("reveille did not end on SIGTERM");
            self.process.signal(Signal::SIGKILL);
        }
        if !self.marker.is_empty() {
            kill_agents(&self.marker);
        }
    }
}

/// Starts it for what is expected to fail: exit status and everything it wrote.
pub(crate) async fn refused(home: &Home, flags: &[&str]) -> (ExitStatus, String) {
    let (process, log) = spawn(home, flags);
    let status = process
        .ended(PATIENCE)
        .await
        .expect("reveille ends when it cannot start");
    // The pipes close with the process; the collecting threads may still have a line to put down.
    until("the last line", || async {
        (!log.tail().is_empty()).then_some(())
    })
    .await;
    (status, log.tail())
}

fn spawn(home: &Home, flags: &[&str]) -> (Process, Log) {
    let mut child = command(home, flags).spawn().unwrap();
    let log = Log::new();
    log.collect(child.stderr.take().unwrap());
    log.collect(child.stdout.take().unwrap());
    (Process::of(child), log)
}

/// As a terminal would start it, its output in pipes.
pub(crate) fn command(home: &Home, flags: &[&str]) -> Command {
    let free = ["--listen", "--admin"]
        .into_iter()
        .filter(|flag| !flags.contains(flag));
    let free = free.flat_map(|flag| [flag, "127.0.0.1:0"]);
    let form = ["--log-format", "json"];
    let json = form.into_iter().filter(|_| !flags.contains(&form[0]));
    // Tests may run under `nohup`. A write beyond the limit that a test may set is then an error, as on a
    // full disk, not a signal.
    let mut command = Command::new("/usr/bin/env");
    command
        .args([
            "--default-signal=HUP",
            "/bin/sh",
            "-c",
            "trap '' XFSZ; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_reveille"),
        ])
        .arg("standalone")
        .args(json)
        .args(free)
        .arg("-f")
        .arg(home.manifests())
        .arg("--state-dir")
        .arg(home.state())
        .args(flags)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
