//! What happens to many sandboxes at once, in one line. Pure: told the time, answers with lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::Level;

/// How long events of one kind are counted together.
const WINDOW: Duration = Duration::from_secs(1);
/// Sandboxes that the line of many still names.
const NAMED: usize = 3;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Time of day.
    pub(super) at: String,
    pub(super) level: Level,
    pub(super) text: String,
    /// `namespace/name`, if it is about one.
    pub(super) sandbox: Option<String>,
}

/// Kinds of events that come in crowds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Nobody waits to read it, so the first is held back too.
    Slept,
    Woke,
    WakeRefused,
    RequestFailed,
}

/// Events of one kind in one namespace.
#[derive(Debug)]
struct Fold {
    until: Instant,
    /// Held back: the first and the last.
    held: Option<(Line, Line)>,
    count: usize,
    names: Vec<String>,
}

/// What is held back.
#[derive(Debug, Default)]
pub(super) struct Folds(BTreeMap<(Kind, String), Fold>);

impl Kind {
    /// By the `event` field; no name of any other kind is known.
    fn of(event: &str) -> Option<Self> {
        Some(match event {
            "slept" => Self::Slept,
            "woke" => Self::Woke,
            "wake-refused" => Self::WakeRefused,
            "request-failed" => Self::RequestFailed,
            _ => return None,
        })
    }

    /// So many events in a namespace, as a sentence.
    fn of_many(self, count: usize, namespace: &str) -> String {
        match self {
            Self::Slept => format!("put {count} sandboxes of {namespace} to sleep"),
            Self::Woke => format!("woke {count} more sandboxes of {namespace}"),
            Self::WakeRefused => format!("refused {count} more wakes in {namespace}"),
            Self::RequestFailed => {
                format!("failed {count} more requests to sandboxes of {namespace}")
            }
        }
    }
}

impl Folds {
    /// Takes a line, of this kind of event; answers with the lines to be written now.
    pub(super) fn take(&mut self, event: &str, line: Line, now: Instant) -> Vec<Line> {
        let sandbox = line.sandbox.clone().unwrap_or_default();
        let Some((namespace, name)) = sandbox.split_once('/') else {
            return vec![line];
        };
        let Some(kind) = Kind::of(event) else {
            let mut lines = self.sleeps_before(namespace);
            lines.push(line);
            return lines;
        };
        let mut lines = self.expire(now);
        if kind != Kind::Slept {
            lines.extend(self.sleeps_before(namespace));
        }
        let fold = self.0.get_mut(&(kind, namespace.to_owned()));
        match fold {
            Some(fold) => fold.add(name, line),
            None => {
                let mut fold = Fold {
                    until: now + WINDOW,
                    held: None,
                    count: 0,
                    names: Vec::new(),
                };
                let key = (kind, namespace.to_owned());
                if kind == Kind::Slept {
                    fold.add(name, line);
                } else {
                    lines.push(line);
                }
                self.0.insert(key, fold);
            }
        }
        lines
    }

    /// A sandbox that sleeps and wakes again is told of in this order.
    fn sleeps_before(&mut self, namespace: &str) -> Vec<Line> {
        let key = (Kind::Slept, namespace.to_owned());
        let fold = self.0.remove(&key);
        fold.and_then(|fold| fold.close(&key)).into_iter().collect()
    }

    /// When the first window ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|fold| fold.until).min()
    }

    /// Closes the windows that have ended.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Line> {
        let ended = self.0.extract_if(.., |_, fold| fold.until <= now);
        ended.filter_map(|(key, fold)| fold.close(&key)).collect()
    }

    /// Closes all.
    pub(super) fn rest(&mut self) -> Vec<Line> {
        let all = std::mem::take(&mut self.0);
        all.into_iter()
            .filter_map(|(key, fold)| fold.close(&key))
            .collect()
    }
}

impl Fold {
    fn add(&mut self, name: &str, line: Line) {
        self.count += 1;
        if self.names.len() < NAMED && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        self.held = Some(match self.held.take() {
            Some((first, _)) => (first, line),
            None => (line.clone(), line),
        });
    }

    fn close(self, (kind, namespace): &(Kind, String)) -> Option<Line> {
        let (first, last) = self.held?;
        if self.count == 1 {
            return Some(first);
        }
        let (count, named) = (self.count, self.names.len());
        let mut text = kind.of_many(count, namespace);
        if matches!(kind, Kind::Slept | Kind::Woke) && named > 0 {
            text.push_str(": ");
            text.push_str(&self.names.join(", "));
            if count > named {
                text.push_str(&format!(" and {} more", count - named));
            }
        }
        Some(Line {
            text,
            sandbox: None,
            ..last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn line(name: &str, text: &str) -> Line {
        Line {
            at: "14:03:22".to_owned(),
            level: Level::INFO,
            text: format!("{text} agents/{name}"),
            sandbox: Some(format!("agents/{name}")),
        }
    }

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn fifty_sleeps_are_one_line() {
        let (mut folds, now) = (Folds::default(), now());
        for n in 1..=50 {
            let slept = line(&format!("worker-{n:02}"), "put to sleep");
            assert_eq!(folds.take("slept", slept, now), []);
        }
        assert_eq!(folds.expire(now), []);
        assert_eq!(folds.due(), Some(now + WINDOW));
        assert_eq!(
            texts(folds.expire(now + WINDOW)),
            ["put 50 sandboxes of agents to sleep: worker-01, worker-02, worker-03 and 47 more"]
        );
        assert_eq!(folds.due(), None);
    }

    #[test]
    fn one_sleep_is_told_as_it_is() {
        let (mut folds, now) = (Folds::default(), now());
        assert_eq!(folds.take("slept", line("alice", "slept"), now), []);
        assert_eq!(texts(folds.rest()), ["slept agents/alice"]);
    }

    #[test]
    fn a_wake_is_told_at_once_and_behind_the_sleep_before_it() {
        let (mut folds, now) = (Folds::default(), now());
        folds.take("slept", line("alice", "slept"), now);
        assert_eq!(
            texts(folds.take("woke", line("alice", "woke"), now)),
            ["slept agents/alice", "woke agents/alice"]
        );
        folds.take("slept", line("alice", "slept"), now);
        assert_eq!(
            texts(folds.take("", line("alice", "cannot start"), now)),
            ["slept agents/alice", "cannot start agents/alice"]
        );
    }

    #[test]
    fn a_storm_of_failures_is_told_once_and_then_counted() {
        let (mut folds, now) = (Folds::default(), now());
        let failed = || line("alice", "failed");
        assert_eq!(folds.take("request-failed", failed(), now).len(), 1);
        for _ in 0..40 {
            assert_eq!(folds.take("request-failed", failed(), now), []);
        }
        // The next one comes late: what was counted goes before it.
        assert_eq!(
            texts(folds.take("request-failed", failed(), now + WINDOW)),
            [
                "failed 40 more requests to sandboxes of agents",
                "failed agents/alice"
            ]
        );
    }

    #[test]
    fn what_is_about_no_sandbox_is_told_at_once() {
        let mut folds = Folds::default();
        let line = Line {
            sandbox: None,
            ..line("alice", "serving")
        };
        assert_eq!(folds.take("slept", line.clone(), now()), [line]);
    }
}
