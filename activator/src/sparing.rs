//! One line a second of each kind of what a stranger, or a broken sandbox, can have logged again and again.
//! The log is the process's, and so is this.

use std::sync::LazyLock;

use parking_lot::Mutex;
use reveille_activator_core::sparing::Sparing;

use crate::slot::now;

static SAID: LazyLock<Mutex<Sparing<&'static str>>> = LazyLock::new(Mutex::default);

/// A line that is to be logged.
pub(crate) struct Line {
    /// How many like it were not, since the last one.
    pub(crate) held_back: u64,
    /// The same in words, to be put behind the sentence.
    pub(crate) more: String,
}

/// The line of that kind, unless one was logged a moment ago.
pub(crate) fn line(kind: &'static str) -> Option<Line> {
    let held_back = SAID.lock().say(kind, now())?;
    let more = match held_back {
        0 => String::new(),
        n => format!("; and {n} more like it since the last one"),
    };
    Some(Line { held_back, more })
}
