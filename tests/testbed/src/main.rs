//! `testbed`: brings a real control plane up on loopback, and takes it down.
//!
//! The only place that reads the environment and names exit codes.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use reveille_testbed::bed::{Folder, Setup};
use reveille_testbed::launch::launch;
use reveille_testbed::programs::Programs;
use reveille_testbed::serve::{Lifeline, serve};
use reveille_testbed::{Nodes, Options, Testbed, detached};
use tracing_subscriber::EnvFilter;

/// A real Kubernetes control plane on loopback, for tests and for trying Reveille without a cluster
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a testbed and leave it running
    Up(Up),
    /// End it, with everything that runs in it
    Down,
    /// Say what is up, and how to reach it
    Status,
    /// Hold a testbed while stdin is open (for the tests)
    #[command(hide = true)]
    Run {
        /// JSON of the library's options
        #[arg(long)]
        options: String,
        /// Live in this folder, without a lifeline
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Hold a testbed through the library, as a test does, until stdin ends (for the testbed's own tests)
    #[command(hide = true)]
    Hold,
    /// Become a part of a testbed
    #[command(hide = true)]
    Launch {
        parent: i32,
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Debug, clap::Args)]
struct Up {
    /// What runs the pods
    #[arg(long, value_enum, default_value_t = Kind::Agent)]
    nodes: Kind,
    /// How many nodes of kind agent
    #[arg(long, default_value_t = 1)]
    agents: u32,
    /// Folder where commands of pods are found before PATH (may be repeated) [default: this program's]
    #[arg(long = "path-dir")]
    path_dirs: Vec<PathBuf>,
    /// Leave out upstream's agent-sandbox-controller; its CRDs are there in any case
    #[arg(long)]
    no_controller: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Nothing: pods stay pending
    None,
    /// Pods are processes on this machine, with your rights
    Agent,
    /// A kubelet with containers; needs root
    Real,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(up) => {
            let options = up.options()?;
            let text = detached::up(&executable()?, &state_dir()?, &options, &programs()?)?;
            print!("{text}");
            Ok(())
        }
        Command::Status => {
            print!("{}", detached::status(&executable()?, &state_dir()?)?);
            Ok(())
        }
        Command::Down => runtime()?.block_on(detached::down(&state_dir()?)),
        Command::Run { options, dir } => hold(&options, dir.as_deref()),
        Command::Hold => runtime()?.block_on(as_a_test_does()),
        Command::Launch {
            parent,
            program,
            args,
        } => Err(launch(parent, &program, &args).into()),
    }
}

impl Up {
    fn options(self) -> Result<Options> {
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let path_dirs = self.path_dirs.iter().map(absolute);
        Ok(Options {
            nodes: match self.nodes {
                Kind::None => Nodes::None,
                Kind::Agent => Nodes::Agent(self.agents),
                Kind::Real => Nodes::Real,
            },
            controller: !self.no_controller,
            path_dirs: path_dirs.collect::<Result<_, _>>().context("--path-dir")?,
            ..Options::default()
        })
    }
}

fn hold(options: &str, dir: Option<&Path>) -> Result<()> {
    let options: Options = serde_json::from_str(options).context("--options")?;
    let programs = programs()?;
    let (folder, lifeline) = match dir {
        None => (Folder::temporary(), Lifeline::Stdin),
        Some(dir) => {
            // A terminal that closes is none of its business.
            nix::unistd::setsid().context("cannot leave the terminal")?;
            (Folder::at(dir), Lifeline::None)
        }
    };
    let folder = folder.context("cannot make a folder")?;
    log(&folder)?;
    let setup = Setup {
        options,
        programs,
        folder,
        executable: executable()?,
        environment: environment(),
    };
    runtime()?.block_on(serve(setup, lifeline))
}

async fn as_a_test_does() -> Result<()> {
    let options = Options {
        nodes: Nodes::None,
        controller: false,
        ..Options::default()
    };
    let testbed = Testbed::start(options).await?;
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, testbed.facts())?;
    writeln!(stdout)?;
    // The guard is dropped in order at the end of stdin.
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}

/// Beside the logs of the parts.
fn log(folder: &Folder) -> Result<()> {
    let folder = folder.path().join("log");
    fs::create_dir_all(&folder)?;
    let file = File::create(folder.join("testbed.log"))?;
    tracing_subscriber::fmt()
        // Its errors are what a part that starts answers; who asks judges them.
        .with_env_filter(EnvFilter::new("info,kube_client=off"))
        .with_ansi(false)
        .with_writer(file)
        .init();
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("cannot start")
}

fn executable() -> Result<PathBuf> {
    env::current_exe().context("cannot find this program")
}

fn programs() -> Result<Programs> {
    Programs::find(|name| env::var_os(name).map(PathBuf::from))
}

/// As `reveille standalone` has its own.
fn state_dir() -> Result<PathBuf> {
    let state = match env::var_os("XDG_STATE_HOME") {
        Some(state) => PathBuf::from(state),
        None => env::home_dir()
            .context("HOME is not set")?
            .join(".local/state"),
    };
    Ok(state.join("reveille-testbed"))
}

fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    env::vars_os().filter_map(text).collect()
}
