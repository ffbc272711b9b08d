//! What a guard and the process behind it tell each other: a JSON text a line.

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::part::Part;

/// A line to the testbed's stdin.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Command {
    /// Comes back with the answer.
    pub(crate) id: u64,
    pub(crate) ask: Ask,
}

/// What a testbed can be asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ask {
    /// SIGKILL; answered when it has ended.
    Kill(Part),
    /// Starts it again; answered when it serves.
    Start(Part),
    /// SIGSTOP.
    Freeze(Part),
    /// SIGCONT.
    Thaw(Part),
    /// The ids of the parts' processes.
    Processes,
}

/// A line from the testbed's stdout.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Said {
    /// Everything serves.
    Ready(Facts),
    /// It could not start; it is going.
    Failed(String),
    /// To a command.
    Answer {
        id: u64,
        /// Ids of processes, where they were asked for; or what is wrong.
        outcome: Result<Vec<(Part, u32)>, String>,
    },
}
