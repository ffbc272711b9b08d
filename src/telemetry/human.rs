//! The log as a person reads it: `14:03:22 woke agents/alice in 212 ms …`.
//!
//! Our own news are sentences that say it all; their fields are for machines. To our warnings and errors is
//! added what the sentence does not say yet. Other levels, and what libraries say, show their fields. A line
//! is broken between words where the terminal ends, and what happens to a fleet at once is one line.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use jiff::Zoned;
use terminal_size::Width;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fold::{Folds, Line};

/// Columns of the time and the blank behind it, by which the rest of a broken line is indented.
const INDENT: usize = 9;

/// Writes events for a person to standard error.
pub(super) struct Human(Arc<Console>);

/// The thread that writes what was held back. Ends, and has written everything, once this is dropped.
pub(crate) struct Writer {
    console: Arc<Console>,
    thread: Option<JoinHandle<()>>,
}

struct Console {
    state: Mutex<State>,
    changed: Condvar,
    is_coloured: bool,
}

#[derive(Default)]
struct State {
    folds: Folds,
    ended: bool,
}

/// The layer, and what must be kept until the last event.
pub(super) fn open() -> (Human, Writer) {
    let console = Arc::new(Console {
        state: Mutex::default(),
        changed: Condvar::new(),
        // Not on files; and NO_COLOR, CLICOLOR and TERM are respected.
        is_coloured: AutoStream::choice(&io::stderr()) != ColorChoice::Never,
    });
    let held = Arc::clone(&console);
    let writer = Writer {
        console: Arc::clone(&console),
        thread: Some(std::thread::spawn(move || held.write_held())),
    };
    (Human(console), writer)
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.console.state().ended = true;
        self.console.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It only writes, and a terminal that is gone is no error.
            let _ = thread.join();
        }
    }
}

impl Console {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was held back when its time has come.
    fn write_held(&self) {
        let mut state = self.state();
        while !state.ended {
            let now = now();
            self.write(&state.folds.expire(now));
            state = match state.folds.due() {
                Some(due) => {
                    let left = due.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        self.write(&state.folds.rest());
    }

    /// Called with the state locked, so that lines keep their order.
    fn write(&self, lines: &[Line]) {
        if lines.is_empty() {
            return;
        }
        let width = terminal_size::terminal_size_of(io::stderr());
        let width = width.map(|(Width(columns), _)| usize::from(columns));
        let text: String = lines
            .iter()
            .map(|line| render(line, width, self.is_coloured))
            .collect();
        // A terminal that was closed takes nothing; that is no reason to fail.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

impl<S: Subscriber> Layer<S> for Human {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        let metadata = event.metadata();
        let level = *metadata.level();
        let is_ours = metadata.target().starts_with("reveille");
        let line = Line {
            at: Zoned::now().strftime("%H:%M:%S").to_string(),
            level,
            text: sentence.text(level, is_ours),
            sandbox: sentence.sandbox,
        };
        let mut state = self.0.state();
        let lines = state.folds.take(&sentence.event, line, now());
        self.0.write(&lines);
        drop(state);
        self.0.changed.notify_all();
    }
}

/// One line as it is written: broken between words at `width`, its level and sandbox set off. Red and magenta
/// are read on a dark and on a light ground; yellow, and what is dimmed, on one of them.
fn render(line: &Line, width: Option<usize>, is_coloured: bool) -> String {
    let paint = |style: Style, text: &str| match is_coloured {
        true => format!("{style}{text}{style:#}"),
        false => text.to_owned(),
    };
    let (label, style) = match line.level {
        Level::ERROR => ("error: ", AnsiColor::Red.on_default().bold()),
        Level::WARN => ("warning: ", AnsiColor::Magenta.on_default().bold()),
        Level::INFO => ("", Style::new()),
        Level::DEBUG => ("debug: ", Style::new()),
        Level::TRACE => ("trace: ", Style::new()),
    };
    let room = width.map(|width| width.saturating_sub(INDENT).max(INDENT));
    let mut text = broken(&format!("{label}{}", line.text), room);
    if let Some(rest) = text.strip_prefix(label).filter(|_| !label.is_empty()) {
        text = format!("{}{rest}", paint(style, label));
    }
    if let Some(sandbox) = line.sandbox.as_deref().filter(|_| is_coloured) {
        text = text.replacen(sandbox, &paint(Style::new().bold(), sandbox), 1);
    }
    format!("{} {text}\n", line.at)
}

/// Breaks between words so that no line has more columns than `room`; a word that is longer stays whole.
fn broken(text: &str, room: Option<usize>) -> String {
    let Some(room) = room else {
        return text.to_owned();
    };
    let mut lines = String::with_capacity(text.len() + INDENT);
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > room {
            // Writing to a String cannot fail.
            let _ = write!(lines, "\n{:INDENT$}", "");
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// Whether standard error is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// The fields of one event, as they are read out.
#[derive(Default)]
struct Sentence {
    message: String,
    /// Names and values.
    fields: Vec<(&'static str, String)>,
    /// What kind of event, where events of its kind may come in crowds.
    event: String,
    sandbox: Option<String>,
}

/// Fields that are codes for machines, beside a sentence that says the same to a person.
const CODES: [&str; 2] = ["cause", "reason"];

impl Sentence {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => Escaped(&mut self.message).write_fmt(value),
            "event" => self.event.write_fmt(value),
            name => {
                if name == "sandbox" {
                    self.sandbox = Some(value.to_string());
                }
                let mut text = String::new();
                let written = Escaped(&mut text).write_fmt(value);
                self.fields.push((name, text));
                written
            }
        };
    }

    /// What a person reads of an event of this level.
    fn text(&self, level: Level, is_ours: bool) -> String {
        match (is_ours, level) {
            (true, Level::INFO) => self.message.clone(),
            (true, Level::WARN | Level::ERROR) => self.whole(),
            _ => {
                let fields = self.fields.iter();
                let fields = fields.map(|(name, value)| format!(" {name}={value}"));
                self.message.clone() + &fields.collect::<String>()
            }
        }
    }

    /// The message, and once what it does not say: the error behind a colon, other fields in brackets.
    fn whole(&self) -> String {
        let is_said = |value: &str| value.is_empty() || self.message.contains(value);
        let unsaid = self.fields.iter().filter(|(_, value)| !is_said(value));
        let (errors, others): (Vec<_>, Vec<_>) = unsaid
            .filter(|(name, _)| !CODES.contains(name))
            .partition(|(name, _)| *name == "error");
        let mut text = self.message.clone();
        if !others.is_empty() {
            let others = others.iter().map(|(name, value)| format!("{name} {value}"));
            let others: Vec<String> = others.collect();
            // Writing to a String cannot fail.
            let _ = write!(text, " ({})", others.join(", "));
        }
        for (_, error) in errors {
            let _ = write!(text, ": {error}");
        }
        text
    }
}

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }
}

/// A line may hold the words of strangers, as what an agent left as its last: none of them begins a line
/// of its own, or reaches a terminal as a command.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for each in text.chars() {
            match each {
                '"' | '\'' | '\\' => self.0.push(each),
                _ => self.0.extend(each.escape_debug()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, text: &str) -> Line {
        Line {
            at: "14:03:22".to_owned(),
            level,
            text: text.to_owned(),
            sandbox: Some("agents/alice".to_owned()),
        }
    }

    #[test]
    fn the_words_of_a_stranger_stay_on_their_line_and_command_no_terminal() {
        let mut line = String::new();
        let words = "\"it's ü\"\n\u{1b}[2J\u{202e}";
        write!(Escaped(&mut line), "says {words}").unwrap();
        assert_eq!(line, r#"says "it's ü"\n\u{1b}[2J\u{202e}"#);
    }

    fn sentence(message: &str, fields: &[(&'static str, &str)]) -> Sentence {
        Sentence {
            message: message.to_owned(),
            fields: fields
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            ..Sentence::default()
        }
    }

    #[test]
    fn a_warning_says_what_its_sentence_left_out_and_says_nothing_twice() {
        let bare = sentence(
            "cannot delete",
            &[("path", "/tmp/a"), ("error", "no space")],
        );
        for level in [Level::WARN, Level::ERROR] {
            assert_eq!(
                bare.text(level, true),
                "cannot delete (path /tmp/a): no space"
            );
        }
        let fields = [
            ("path", "/tmp/a"),
            ("error", "no space"),
            ("reason", "NoSpace"),
        ];
        let whole = sentence("cannot delete /tmp/a: no space", &fields);
        assert_eq!(
            whole.text(Level::WARN, true),
            "cannot delete /tmp/a: no space"
        );
        // News are for a person, and what is asked for in detail shows all.
        assert_eq!(bare.text(Level::INFO, true), "cannot delete");
        let all = "cannot delete path=/tmp/a error=no space";
        assert_eq!(bare.text(Level::DEBUG, true), all);
        assert_eq!(bare.text(Level::WARN, false), all);
    }

    #[test]
    fn a_line_is_broken_between_words_where_the_terminal_ends() {
        let long = line(Level::WARN, "agents/alice may not be put to sleep: no");
        assert_eq!(
            render(&long, Some(40), false),
            "14:03:22 warning: agents/alice may not\n         be put to sleep: no\n"
        );
        assert_eq!(
            render(&long, None, false),
            "14:03:22 warning: agents/alice may not be put to sleep: no\n"
        );
    }

    #[test]
    fn colour_sets_off_level_and_sandbox_and_nothing_else() {
        let warning = render(&line(Level::WARN, "agents/alice is stuck"), None, true);
        assert_eq!(
            warning,
            "14:03:22 \u{1b}[1m\u{1b}[35mwarning: \u{1b}[0m\u{1b}[1magents/alice\u{1b}[0m is stuck\n"
        );
    }
}
