//! The handle of a test on its testbed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, oneshot};

use crate::bed::access;
use crate::facts::Facts;
use crate::options::Options;
use crate::part::Part;
use crate::protocol::{Ask, Command, Said};

/// Longest wait for an answer to a command; the testbed gives up earlier itself.
const ANSWER: Duration = Duration::from_secs(240);
/// Longest wait for the end of everything: kills and the removal of a folder.
const END: Duration = Duration::from_secs(120);

/// A running control plane. Everything ends when this is dropped, or when the process that holds it dies.
///
/// It belongs to no async runtime: tests with a runtime each can share one.
#[derive(Debug)]
pub struct Testbed {
    facts: Facts,
    admin: Config,
    /// The lifeline; gone only while this is being dropped.
    stdin: Mutex<Option<ChildStdin>>,
    waiting: Arc<Waiting>,
    commands: AtomicU64,
    /// Closed when the process has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// Whose kubeconfig.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// May do everything.
    Admin,
    /// Is known, and may do nothing.
    Nobody,
    /// A ServiceAccount that exists, by a fresh token.
    ServiceAccount {
        /// Where it is.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
}

/// What went wrong with a testbed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not built.
    #[error("{} is missing: run cargo build -p reveille-testbed", .0.display())]
    NoBinary(PathBuf),
    /// The operating system refused.
    #[error("cannot run the testbed: {0}")]
    Io(#[from] std::io::Error),
    /// It said why it does not start.
    #[error("the testbed did not start: {0}")]
    Start(String),
    /// It said why it does not do what it was asked for.
    #[error("{0}")]
    Refused(String),
    /// It is gone.
    #[error("the testbed has ended")]
    Ended,
    /// It does not answer.
    #[error("the testbed did not answer within {ANSWER:?}")]
    Silent,
    /// The API server refused, or is away.
    #[error("{0}")]
    Api(#[from] kube::Error),
    /// The connection settings cannot be read.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// A manifest cannot be read or applied.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Who waits for the answer to which command.
type Waiting = Mutex<HashMap<u64, oneshot::Sender<Outcome>>>;
type Outcome = Result<Vec<(Part, u32)>, String>;

impl Testbed {
    /// The one of this process: started by who asks first, ended with the process. Never dropped before.
    ///
    /// # Errors
    /// As [`start`](Self::start); the next who asks tries again.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Testbed> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| Self::start(Options::default()))
            .await
    }

    /// Starts one of the caller's own, and waits until everything serves: some five seconds, or many
    /// minutes where the programs have to be built first.
    ///
    /// # Errors
    /// Where the program is missing or a part does not start; the text holds the end of that part's log.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let mut child = spawn(&options)?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        let waiting: Arc<Waiting> = Arc::default();
        let (ready, started) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let answered = Arc::clone(&waiting);
        std::thread::spawn(move || {
            listen(stdout, ready, &answered);
            // Whoever still waits, waits in vain.
            answered.lock().clear();
            // Only an unknown child cannot be waited for.
            let _ = child.wait();
            drop(end);
        });
        let facts = started
            .await
            .map_err(|_| Error::Start("it ended without a word".to_owned()))?
            .map_err(Error::Start)?;
        Ok(Self {
            admin: config(&facts.kubeconfig()).await?,
            facts,
            stdin: Mutex::new(stdin),
            waiting,
            commands: AtomicU64::new(0),
            ended: Mutex::new(ended),
        })
    }

    /// A client of the administrator, for the runtime it is called on.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn client(&self) -> Result<Client, Error> {
        Ok(Client::try_from(self.admin.clone())?)
    }

    /// A client of somebody else.
    ///
    /// # Errors
    /// As [`kubeconfig`](Self::kubeconfig).
    pub async fn client_of(&self, who: Who<'_>) -> Result<Client, Error> {
        let path = self.kubeconfig(who).await?;
        Ok(Client::try_from(config(&path).await?)?)
    }

    /// A file that every client of Kubernetes understands. It is gone with the testbed.
    ///
    /// # Errors
    /// Where the ServiceAccount does not exist, or the API server is away.
    pub async fn kubeconfig(&self, who: Who<'_>) -> Result<PathBuf, Error> {
        match who {
            Who::Admin => Ok(self.facts.kubeconfig()),
            Who::Nobody => Ok(self.facts.kubeconfig_of(access::NOBODY)),
            Who::ServiceAccount { namespace, name } => {
                let client = self.client()?;
                Ok(access::of_service_account(&client, &self.facts, namespace, name).await?)
            }
        }
    }

    /// A fresh namespace whose `default` ServiceAccount is there, so that pods are admitted. It is left
    /// behind: deleting takes seconds, and the testbed goes anyway.
    ///
    /// # Errors
    /// Where the API server refuses or is away.
    pub async fn namespace(&self, prefix: &str) -> Result<String, Error> {
        Ok(access::namespace(&self.client()?, prefix).await?)
    }

    /// Applies YAML of any number of documents, as `kubectl apply --server-side --force-conflicts` does,
    /// and waits until CRDs among it are served.
    ///
    /// # Errors
    /// The first document that cannot be read or is refused.
    pub async fn apply(&self, yaml: &str) -> Result<(), Error> {
        self.apply_in("default", yaml).await
    }

    /// [`apply`](Self::apply), with a namespace for what names none.
    ///
    /// # Errors
    /// The first document that cannot be read or is refused.
    pub async fn apply_in(&self, namespace: &str, yaml: &str) -> Result<(), Error> {
        Ok(crate::apply::apply(&self.client()?, namespace, yaml).await?)
    }

    /// Ends a part with SIGKILL. Its data and port stay.
    ///
    /// # Errors
    /// Where the testbed is gone.
    pub async fn kill(&self, part: Part) -> Result<(), Error> {
        self.ask(Ask::Kill(part)).await.map(drop)
    }

    /// Starts a part again, on the same port and data, and waits until it serves.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn start_part(&self, part: Part) -> Result<(), Error> {
        self.ask(Ask::Start(part)).await.map(drop)
    }

    /// Stops a part with SIGSTOP: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// Where the testbed is gone.
    pub async fn freeze(&self, part: Part) -> Result<(), Error> {
        self.ask(Ask::Freeze(part)).await.map(drop)
    }

    /// Lets a frozen part go on.
    ///
    /// # Errors
    /// Where the testbed is gone.
    pub async fn thaw(&self, part: Part) -> Result<(), Error> {
        self.ask(Ask::Thaw(part)).await.map(drop)
    }

    /// The living parts and the ids of their processes.
    ///
    /// # Errors
    /// Where the testbed is gone.
    pub async fn processes(&self) -> Result<Vec<(Part, u32)>, Error> {
        self.ask(Ask::Processes).await
    }

    /// Where it has what.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Of the NATS server, which has JetStream.
    #[must_use]
    pub fn nats_url(&self) -> &str {
        &self.facts.nats_url
    }

    /// JSON lines, one for each request that was answered: who, with which user agent, did what to what.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.facts.audit_log()
    }

    async fn ask(&self, ask: Ask) -> Result<Vec<(Part, u32)>, Error> {
        let id = self.commands.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().insert(id, answer);
        let mut line = serde_json::to_vec(&Command { id, ask }).expect("a command has a JSON form");
        line.push(b'\n');
        if let Some(stdin) = &mut *self.stdin.lock() {
            stdin.write_all(&line).map_err(|_| Error::Ended)?;
        }
        tokio::time::timeout(ANSWER, answered)
            .await
            .map_err(|_| Error::Silent)?
            .map_err(|_| Error::Ended)?
            .map_err(Error::Refused)
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        drop(self.stdin.lock().take());
        if self.ended.lock().recv_timeout(END) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("the testbed did not end within {END:?}; it is killed");
            // The kernel ends its parts with it. It may have ended since.
            let _ = kill(Pid::from_raw(self.facts.pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

fn spawn(options: &Options) -> Result<Child, Error> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => beside(&std::env::current_exe()?),
    };
    if !binary.exists() {
        return Err(Error::NoBinary(binary));
    }
    let options = serde_json::to_string(options).expect("options have a JSON form");
    let mut command = std::process::Command::new(binary);
    command.args(["run", "--options", &options]);
    // Ctrl-C in a terminal reaches the test, and through its end us: in order, and once.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// Cargo puts tests into `target/<profile>/deps`, programs into `target/<profile>`.
fn beside(executable: &Path) -> PathBuf {
    let folder = executable.parent().unwrap_or(executable);
    let folder = match folder.file_name() {
        Some(name) if name == "deps" || name == "examples" => folder.parent().unwrap_or(folder),
        _ => folder,
    };
    folder.join("testbed")
}

fn listen(stdout: ChildStdout, ready: oneshot::Sender<Result<Facts, String>>, waiting: &Waiting) {
    let mut ready = Some(ready);
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { return };
        // Sending fails where nobody waits any more, and then nobody minds.
        match serde_json::from_str(&line) {
            Ok(Said::Ready(facts)) => {
                let _ = ready.take().map(|ready| ready.send(Ok(facts)));
            }
            Ok(Said::Failed(why)) => {
                let _ = ready.take().map(|ready| ready.send(Err(why)));
            }
            Ok(Said::Answer { id, outcome }) => {
                let _ = waiting.lock().remove(&id).map(|who| who.send(outcome));
            }
            Err(error) => {
                eprintln!("testbed: {line}");
                let why = format!(
                    "what it said cannot be read ({error}): run cargo build -p reveille-testbed"
                );
                let _ = ready.take().map(|ready| ready.send(Err(why)));
            }
        }
    }
}

async fn config(path: &Path) -> Result<Config, Error> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}
