//! A testbed without a test: brought up, asked for and taken down by hand.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::bed::Folder;
use crate::facts::Facts;
use crate::options::{Nodes, Options};
use crate::programs::Programs;
use crate::protocol::Said;

/// Longest wait for the end of everything.
const END: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Starts one that outlives this process, and says what to do with it.
///
/// # Errors
/// Where one lives there already, or it does not start.
pub fn up(executable: &Path, dir: &Path, options: &Options, programs: &Programs) -> Result<String> {
    if Folder::lives(dir) {
        bail!("one is up already; `testbed status` shows it, `testbed down` ends it");
    }
    let mut child = Command::new(executable)
        .args([
            "run",
            "--options",
            &serde_json::to_string(options)?,
            "--dir",
        ])
        .arg(dir)
        .envs(programs.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It must not hold whatever this process writes to.
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", executable.display()))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match serde_json::from_str(&line) {
        Ok(Said::Ready(facts)) => Ok(text(&facts, options.nodes, executable)),
        Ok(Said::Failed(why)) => bail!("{why}"),
        _ => bail!("it ended without a word ({})", child.wait()?),
    }
}

/// What to do with the one that is up.
///
/// # Errors
/// Where none is.
pub fn status(executable: &Path, dir: &Path) -> Result<String> {
    if !Folder::lives(dir) {
        bail!("none is up; `testbed up` starts one");
    }
    Ok(text(&Facts::read(dir)?, Nodes::None, executable))
}

/// Ends the one that is up, and removes what one that was killed has left.
///
/// # Errors
/// Where it does not end.
pub async fn down(dir: &Path) -> Result<()> {
    if Folder::lives(dir) {
        let pid = Facts::read(dir)?.pid;
        // It may have ended since.
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
    }
    let deadline = Instant::now() + END;
    while Folder::lives(dir) {
        if Instant::now() >= deadline {
            bail!("it did not end within {END:?}");
        }
        sleep(LOOK).await;
    }
    if dir.exists() {
        drop(Folder::at(dir)?);
    }
    Ok(())
}

impl Facts {
    const FILE: &str = "facts.json";

    /// For who comes later.
    pub(crate) fn write(&self) -> Result<()> {
        Ok(fs::write(
            self.dir.join(Self::FILE),
            serde_json::to_vec(self)?,
        )?)
    }

    fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(Self::FILE);
        let text = fs::read(&path)
            .with_context(|| format!("{} cannot be read: it still starts", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// What to paste next.
fn text(facts: &Facts, nodes: Nodes, executable: &Path) -> String {
    let reveille = executable.with_file_name("reveille");
    let (reveille, testbed) = (reveille.display(), executable.display());
    let kubeconfig = facts.kubeconfig();
    let kubeconfig = kubeconfig.display();
    let (kubectl, nats) = (facts.kubectl.display(), &facts.nats_url);
    let mut text = format!(
        "\
A control plane is up; `{testbed} down` ends it. State and logs: {}

    export KUBECONFIG={kubeconfig}
    {kubectl} get nodes

NATS with JetStream: {nats}

Reveille on it, in two terminals:

    {reveille} scaler --kubeconfig {kubeconfig} --nats {nats} --activators here --admin 127.0.0.1:9091
    {reveille} activator --kubeconfig {kubeconfig} --nats {nats} --name here

An agent that falls asleep after twenty quiet seconds, and a request that wakes it:

    {kubectl} create namespace agents
    {kubectl} apply -f examples/alice.yaml -f examples/policy.yaml
    {kubectl} wait -n agents sandbox/alice --for=jsonpath='{{.spec.operatingMode}}'=Suspended --timeout=5m
    curl http://alice.agents.sandbox.localhost:8080/
",
        facts.dir.display(),
    );
    if nodes == Nodes::Real {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nPods are containers on node real-0.");
    }
    text
}
