//! What the agent knows: a fold over its journal. No I/O here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::conversation;

/// Turns kept in memory for `/history`: 1,000 of a few hundred bytes stay below a megabyte. The
/// journal keeps all.
const RECENT: usize = 1_000;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Record {
    /// The agent started.
    Wake {
        /// RFC 3339.
        at: String,
        /// Of the process.
        pid: u32,
    },
    /// Something was said, and answered.
    Turn(Arc<Turn>),
    /// The counter grew by one.
    Count {
        /// Value after it.
        value: u64,
    },
}

/// Something said to the agent, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// 1 for the first ever.
    pub(crate) turn: u64,
    /// RFC 3339.
    pub(crate) at: String,
    /// What was said.
    pub(crate) message: String,
    /// What was answered.
    pub(crate) reply: String,
}

/// What somebody asks to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The agent started, as this process.
    Wake(u32),
    /// A message to answer.
    Chat(String),
    /// Count one more.
    Count,
}

/// All records so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// Starts.
    pub(crate) wakes: u64,
    /// Turns.
    pub(crate) turns: u64,
    /// The counter.
    pub(crate) count: u64,
    /// Facts told: "my name is Ada" is name → Ada.
    pub(crate) facts: BTreeMap<String, String>,
    /// The newest turns, oldest first.
    pub(crate) recent: VecDeque<Arc<Turn>>,
}

impl Memory {
    /// The record that answers an ask, given all that came before it.
    pub(crate) fn draft(&self, ask: &Ask, at: String) -> Record {
        match ask {
            Ask::Wake(pid) => Record::Wake { at, pid: *pid },
            Ask::Count => Record::Count {
                value: self.count + 1,
            },
            Ask::Chat(message) => Record::Turn(Arc::new(Turn {
                turn: self.turns + 1,
                at,
                reply: conversation::reply(self, message),
                message: message.clone(),
            })),
        }
    }

    /// Takes in a record that is on disk.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Wake { .. } => self.wakes += 1,
            Record::Count { value } => self.count = *value,
            Record::Turn(turn) => {
                self.turns = turn.turn;
                if let Some((subject, value)) = conversation::fact(&turn.message) {
                    self.facts.insert(subject, value);
                }
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(Arc::clone(turn));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(messages: &[&str]) -> Memory {
        let mut memory = Memory::default();
        for message in messages {
            let record = memory.draft(&Ask::Chat((*message).to_owned()), "now".to_owned());
            memory.apply(&record);
        }
        memory
    }

    #[test]
    fn turns_are_numbered_from_one() {
        let memory = told(&["hello", "again"]);
        assert_eq!(memory.turns, 2);
        assert_eq!(memory.recent[1].turn, 2);
    }

    #[test]
    fn only_the_newest_turns_stay_in_memory() {
        let messages: Vec<String> = (0..RECENT + 5).map(|n| n.to_string()).collect();
        let memory = told(&messages.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(memory.recent.len(), RECENT);
        assert_eq!(memory.recent[0].message, "5");
        assert_eq!(memory.turns, (RECENT + 5) as u64);
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut memory = Memory::default();
        for ask in [
            Ask::Wake(7),
            Ask::Count,
            Ask::Chat("my dog is Rex".to_owned()),
        ] {
            let record = memory.draft(&ask, "now".to_owned());
            memory.apply(&record);
            let line = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        }
        assert_eq!((memory.wakes, memory.count, memory.turns), (1, 1, 1));
        assert_eq!(memory.facts["dog"], "Rex");
    }
}
