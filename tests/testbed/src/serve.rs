//! The process behind a guard: holds a control plane for as long as somebody holds the lifeline.

use std::io::{BufRead, Write};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::bed::{Bed, Setup};
use crate::protocol::{Ask, Command, Said};

/// A guard waits for each answer before the next command of the same test; more wait in the pipe.
const COMMANDS: usize = 16;

/// What keeps a testbed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifeline {
    /// Stdin: its end is ours, and its lines are commands.
    Stdin,
    /// Nothing: only a signal ends it.
    None,
}

/// Starts a control plane, says on stdout that it is ready, and holds it until the lifeline ends or
/// SIGTERM, SIGINT or SIGHUP comes.
///
/// # Errors
/// Where it does not start; this is said on stdout too.
pub async fn serve(setup: Setup, lifeline: Lifeline) -> Result<()> {
    let mut commands = commands(lifeline);
    let mut stop = Stop::new()?;
    let mut early = Vec::new();
    // In any order: whichever comes first decides.
    let started = tokio::select! {
        started = Bed::start(setup) => started,
        () = ended(&mut commands, &mut early) => return Ok(()),
        () = stop.asked() => return Ok(()),
    };
    let mut bed = match started {
        Ok(bed) => bed,
        Err(error) => {
            say(&Said::Failed(format!("{error:#}")));
            return Err(error);
        }
    };
    say(&Said::Ready(bed.facts().clone()));
    for command in early {
        answer(&mut bed, command).await;
    }
    loop {
        // In any order: none of them can starve another, each being rare.
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => answer(&mut bed, command).await,
                None => break,
            },
            () = bed.keep() => {}
            () = stop.asked() => break,
        }
    }
    bed.stop().await;
    Ok(())
}

/// Reads stdin on a thread of its own: a read cannot be cancelled, and the runtime would wait for it.
fn commands(lifeline: Lifeline) -> mpsc::Receiver<Command> {
    let (sender, receiver) = mpsc::channel(COMMANDS);
    std::thread::spawn(move || {
        if lifeline == Lifeline::None {
            // Keeps the channel open without an end.
            loop {
                std::thread::park();
            }
        }
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            match serde_json::from_str(&line) {
                Ok(command) => {
                    if sender.blocking_send(command).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::error!(%error, line, "not a command: {line}"),
            }
        }
    });
    receiver
}

/// Waits for the end of the lifeline, and keeps what came early.
async fn ended(commands: &mut mpsc::Receiver<Command>, early: &mut Vec<Command>) {
    while let Some(command) = commands.recv().await {
        early.push(command);
    }
}

async fn answer(bed: &mut Bed, Command { id, ask }: Command) {
    let outcome = match ask {
        Ask::Kill(part) => {
            bed.kill(part).await;
            Ok(Vec::new())
        }
        Ask::Start(part) => bed.start_part(part).await.map(|()| Vec::new()),
        Ask::Freeze(part) => {
            bed.freeze(part).await;
            Ok(Vec::new())
        }
        Ask::Thaw(part) => {
            bed.thaw(part);
            Ok(Vec::new())
        }
        Ask::Processes => Ok(bed.processes()),
    };
    let outcome = outcome.map_err(|error| format!("{error:#}"));
    say(&Said::Answer { id, outcome });
}

/// Whoever listened may be gone; then the lifeline has ended too.
fn say(said: &Said) {
    let line = serde_json::to_string(said).expect("what is said has a JSON form");
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The signals that end a testbed.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        // In any order: they all mean the same.
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
