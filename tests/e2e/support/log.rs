//! The log of a process under test: every line kept, JSON lines searchable, waited for by event.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::watch;

use crate::support::within;

/// Lines printed when a test fails.
const SHOWN: usize = 120;

/// Lines so far; more come until the process ends.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    length: watch::Sender<usize>,
}

impl Log {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            lines: Arc::default(),
            length: watch::Sender::new(0),
        }
    }

    /// Collects what comes out of a pipe, on a thread that ends with it.
    pub(crate) fn collect(&self, pipe: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let Ok(line) = line else { return };
                let mut lines = log.lines.lock().unwrap();
                lines.push(String::from_utf8_lossy(&line).into_owned());
                log.length.send_replace(lines.len());
            }
        });
    }

    /// Waits for the first JSON line that is accepted; lines already there count.
    pub(crate) async fn event(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let mut length = self.length.subscribe();
        let mut seen = 0;
        let search = async {
            loop {
                let now = *length.borrow_and_update();
                let fresh = self.lines.lock().unwrap()[seen..now].to_vec();
                seen = now;
                let found = fresh
                    .iter()
                    .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                    .find(|event| accept(event));
                if let Some(event) = found {
                    return event;
                }
                if length.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        within(&format!("a log line: {what}"), search).await
    }

    /// Waits for a JSON line whose message holds `text`.
    pub(crate) async fn says(&self, text: &str) -> Value {
        self.event(text, |event| {
            event["message"]
                .as_str()
                .is_some_and(|message| message.contains(text))
        })
        .await
    }

    /// JSON lines whose message holds `text`, up to now.
    pub(crate) fn count(&self, text: &str) -> usize {
        let lines = self.lines.lock().unwrap();
        let holds = |line: &&String| {
            serde_json::from_str::<Value>(line).is_ok_and(|event| {
                event["message"]
                    .as_str()
                    .is_some_and(|message| message.contains(text))
            })
        };
        lines.iter().filter(holds).count()
    }

    /// The last JSON line up to now whose message holds `text`.
    pub(crate) fn last(&self, text: &str) -> Option<Value> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .rev()
            .filter(|line| line.contains(text))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|event| {
                event["message"]
                    .as_str()
                    .is_some_and(|message| message.contains(text))
            })
    }

    /// Lines up to now, of whatever form, that hold `text`.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.contains(text))
            .cloned()
            .collect()
    }

    /// The last lines, as text.
    pub(crate) fn tail(&self) -> String {
        let lines = self.lines.lock().unwrap();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}
