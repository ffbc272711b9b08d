//! Ten thousand schedules in the ordinary test run; that they meet what they are for; that they replay.

use std::thread;

use reveille_simulation::coverage::Coverage;
use reveille_simulation::{run, run_all};

/// More of them: `cargo run -p reveille-simulation -- --seeds 10000..1000000`.
const SCHEDULES: u64 = 10_000;

#[test]
fn ten_thousand_schedules_keep_every_invariant_and_meet_all_that_the_invariants_speak_of() {
    let threads = thread::available_parallelism().map_or(2, |threads| threads.get() as u64);
    let shard = SCHEDULES.div_ceil(threads);
    let mut met = Coverage::default();
    thread::scope(|scope| {
        let shards = (0..threads).map(|at| (at * shard)..((at + 1) * shard).min(SCHEDULES));
        let running: Vec<_> = shards.map(|seeds| scope.spawn(|| run_all(seeds))).collect();
        for shard in running {
            match shard.join().unwrap() {
                Ok(coverage) => met.add(&coverage),
                Err(failure) => panic!("{failure}"),
            }
        }
    });
    for (name, count) in met.each() {
        assert!(count > 0, "no schedule met any of: {name}");
    }
}

#[test]
fn a_seed_replays_to_the_identical_trace() {
    for seed in [1, 7, 42, 4711] {
        let trace =
            |depth| run(seed, None, depth).map_or_else(|failure| failure.trace, |run| run.trace);
        let first = trace(usize::MAX);
        assert!(
            first.len() > 100,
            "seed {seed} has a trace of {} lines",
            first.len()
        );
        assert_eq!(first, trace(usize::MAX), "seed {seed}");
    }
}

#[test]
fn a_trace_changes_nothing_but_what_is_seen() {
    for seed in 0..20 {
        let steps = |depth| run(seed, None, depth).map(|run| run.coverage).ok();
        assert_eq!(steps(0), steps(60), "seed {seed}");
    }
}
