//! Runs schedules by seed: for long searches, and to replay one that failed.

use std::ops::Range;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use reveille_simulation::coverage::Coverage;
use reveille_simulation::mutant::Mutant;
use reveille_simulation::{TRACE_DEPTH, run};

/// Both cores against a model of the world.
#[derive(Debug, Parser)]
struct Options {
    /// Seeds to run, the last one excluded.
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..10000")]
    seeds: Range<u64>,
    /// Print the whole trace of every run.
    #[arg(long)]
    trace: bool,
    /// Switch off one rule.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Go on after a run that failed, and print only the first line of each.
    #[arg(long)]
    keep_going: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let shards = (0..options.threads).map(|shard| (shard, &options));
    let outcomes: Vec<(Coverage, u64)> = thread::scope(|scope| {
        let threads: Vec<_> = shards
            .map(|(shard, options)| scope.spawn(move || search(options, shard)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a search does not panic"))
            .collect()
    });
    let mut coverage = Coverage::default();
    outcomes.iter().for_each(|(counts, _)| coverage.add(counts));
    for (name, count) in coverage.each() {
        println!("{count:>12} {name}");
    }
    let failed: u64 = outcomes.iter().map(|(_, failed)| failed).sum();
    println!(
        "{failed} of {} runs failed",
        options.seeds.end - options.seeds.start
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs every seed of one shard.
fn search(options: &Options, shard: u64) -> (Coverage, u64) {
    let (mut coverage, mut failed) = (Coverage::default(), 0);
    let depth = if options.trace { usize::MAX } else { 0 };
    for seed in options
        .seeds
        .clone()
        .filter(|seed| seed % options.threads == shard)
    {
        match run(seed, options.mutant, depth) {
            Ok(run) => {
                coverage.add(&run.coverage);
                run.trace.iter().for_each(|line| println!("{line}"));
            }
            Err(failure) if options.keep_going => {
                failed += 1;
                println!("seed {seed}: {}", failure.violation);
            }
            Err(failure) => {
                failed += 1;
                let shown = if options.trace {
                    Ok(*failure)
                } else {
                    explain(options, seed)
                };
                println!(
                    "{}",
                    shown.map_or_else(|text| text, |failure| failure.to_string())
                );
                break;
            }
        }
    }
    (coverage, failed)
}

/// The same run with its trace.
fn explain(options: &Options, seed: u64) -> Result<reveille_simulation::Failure, String> {
    run(seed, options.mutant, TRACE_DEPTH)
        .err()
        .map(|failure| *failure)
        .ok_or_else(|| {
            format!("seed {seed} failed once and not again: something depends on chance")
        })
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("expected A..B")?;
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|error| format!("{text}: {error}"))
    };
    Ok(number(from)?..number(to)?)
}
