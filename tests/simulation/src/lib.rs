//! Both cores against a model of the world, under one seeded clock.
//!
//! A run is decided by its seed: how many activators, scalers and sandboxes take part, what becomes of
//! every message, watch and write, who crashes when, what clients and operators do. Time stands still
//! within a step and jumps to the next event after it. After every step every invariant is checked, and
//! at the end that everybody was served and everything quiet sleeps.
//!
//! ```text
//!             clients ─▶ activator core ─┐ carrier: lose, double, delay, cut   ┌─ scaler core
//!                            ▲           └────────── Wake, reports ──────────▶ │     │ fenced writes:
//!                            │ watch     ◀────────── drains, outcomes ───────── ┘     ▼ late, lost
//!             agents ◀── controller, kubelets ◀─────────── watch ─────────── API objects
//! ```
//! The drivers of the cores ([`activator`], [`scaler`]) are as the shells are: they translate and do. What
//! the model assumes of the world beyond the cores is written down where it is modelled: a write is done
//! within its timeout or never, unless its writer was suspended with it ([`writes`]), an address rests longer
//! than a watch is late without knowing it ([`cluster`], [`watch`]), an activator is led clients to some time
//! after it began to see ([`world`]), all clocks go alike (that they need not is shown beside the election
//! core itself).

mod activator;
mod api;
mod busy;
mod carrier;
mod claims;
mod clients;
mod cluster;
pub mod coverage;
mod election;
mod exchange;
mod facts;
pub mod invariants;
mod join;
mod message;
pub mod mutant;
mod objects;
mod plan;
mod queue;
mod requests;
mod scaler;
mod sim;
mod trace;
mod trouble;
mod watch;
mod world;
mod writes;

use std::fmt;
use std::ops::Range;

use crate::coverage::Coverage;
use crate::invariants::{Invariant, Violation};
use crate::mutant::Mutant;
use crate::world::World;

/// Events of one instant after which time will not go on by itself: somebody asks to be called at once,
/// again and again. A run has never had a hundredth of it.
const STANDSTILL: u32 = 100_000;

/// Lines shown of a run that failed.
pub const TRACE_DEPTH: usize = 60;

/// A run that came to its end.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it met.
    pub coverage: Coverage,
    /// The lines that were kept.
    pub trace: Vec<String>,
}

/// A run in which an invariant did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Decides the run.
    pub seed: u64,
    /// What does not hold.
    pub violation: Violation,
    /// The lines that were kept, up to the violation.
    pub trace: Vec<String>,
}

/// Runs one seed, keeping the last `depth` lines of its trace.
///
/// # Errors
/// If an invariant does not hold.
pub fn run(seed: u64, mutant: Option<Mutant>, depth: usize) -> Result<Run, Box<Failure>> {
    let mut world = World::new(seed, mutant, depth);
    let failed = |world: &World, violation| {
        Box::new(Failure {
            seed,
            violation,
            trace: world.sim.lines(),
        })
    };
    let (mut instant, mut events) = (world.sim.now(), 0);
    loop {
        let goes_on = world.step();
        events = if instant == world.sim.now() {
            events + 1
        } else {
            0
        };
        instant = world.sim.now();
        if events > STANDSTILL {
            let what = "time stands still: somebody asks to be called again at once".into();
            let invariant = Invariant::TicketEndsOnceInTime;
            return Err(failed(&world, Violation { invariant, what }));
        }
        invariants::check(&world).map_err(|violation| failed(&world, violation))?;
        if !goes_on {
            break;
        }
    }
    invariants::check_end(&world).map_err(|violation| failed(&world, violation))?;
    Ok(Run {
        coverage: world.sim.coverage,
        trace: world.sim.lines(),
    })
}

/// Runs every seed of the range without a trace; one that fails is run again with it.
///
/// # Errors
/// The first seed that fails.
pub fn run_all(seeds: Range<u64>) -> Result<Coverage, Box<Failure>> {
    let mut coverage = Coverage::default();
    for seed in seeds {
        match run(seed, None, 0) {
            Ok(run) => coverage.add(&run.coverage),
            Err(blind) => return Err(run(seed, None, TRACE_DEPTH).err().unwrap_or(blind)),
        }
    }
    Ok(coverage)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        let Self {
            seed, violation, ..
        } = self;
        writeln!(f, "seed {seed}: {violation}")?;
        let next = seed + 1;
        write!(
            f,
            "replay: cargo run -p reveille-simulation -- --seeds {seed}..{next} --trace"
        )
    }
}
