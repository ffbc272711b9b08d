//! What happened lately, for a person to read when an invariant breaks.

use std::collections::VecDeque;
use std::time::Instant;

/// The last lines of a run; costs nothing while it is off.
#[derive(Debug)]
pub(crate) struct Trace {
    start: Instant,
    depth: usize,
    lines: VecDeque<(Instant, String)>,
}

impl Trace {
    /// Keeps the last `depth` lines; 0 switches it off.
    pub(crate) const fn new(start: Instant, depth: usize) -> Self {
        Self {
            start,
            depth,
            lines: VecDeque::new(),
        }
    }

    /// Notes a line, if anybody wants it.
    pub(crate) fn note(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.depth == 0 {
            return;
        }
        if self.lines.len() >= self.depth {
            self.lines.pop_front();
        }
        self.lines.push_back((now, line()));
    }

    /// The lines with their time since the start of the run.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(at, text): &(Instant, String)| {
            let seconds = at.saturating_duration_since(self.start).as_secs_f64();
            format!("t={seconds:<9.3} {text}")
        };
        self.lines.iter().map(line).collect()
    }
}
