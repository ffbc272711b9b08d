//! The one writer of the agent's memory: a thread that takes asks in order, writes them to the
//! journal, and only then lets them be seen or answered.
//!
//! Asks that arrive while the disk syncs are written together, so that 500 at once cost a handful
//! of syncs. Readers never wait for the disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::journal::{Journal, OpenError};
use crate::memory::{Ask, Memory, Record};

/// Asks that wait for the writer; the next one waits in its handler. 1,024 of at most 64 KiB of
/// message each is 64 MiB in the worst case, and some hundred KiB in any real one.
const WAITING: usize = 1_024;
/// Asks written with one sync.
const TOGETHER: usize = 256;

/// A handle to the writer.
#[derive(Debug)]
pub(crate) struct Notebook {
    asks: mpsc::Sender<Job>,
    seen: Arc<Mutex<Arc<Memory>>>,
}

/// The writer's thread; joined when the agent stops.
#[derive(Debug)]
pub(crate) struct Writer(JoinHandle<()>);

#[derive(Debug)]
struct Job {
    ask: Ask,
    answer: oneshot::Sender<Result<Record, Arc<io::Error>>>,
}

/// Why something was not written down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The volume refused it: full, or gone.
    #[error("cannot write to the volume: {0}")]
    Volume(Arc<io::Error>),
    /// The agent stops.
    #[error("the agent is stopping")]
    Stopping,
}

impl Notebook {
    /// Opens the conversation in `folder`, or one that lives in memory only.
    pub(crate) fn open(folder: Option<&Path>) -> Result<(Self, Writer), OpenError> {
        let mut memory = Memory::default();
        let journal = match folder {
            Some(folder) => Some(Journal::open(folder, |record| memory.apply(record))?),
            None => None,
        };
        let seen = Arc::new(Mutex::new(Arc::new(memory)));
        let (asks, jobs) = mpsc::channel(WAITING);
        let shown = Arc::clone(&seen);
        let thread = std::thread::spawn(move || write(journal, jobs, &shown));
        Ok((Self { asks, seen }, Writer(thread)))
    }

    /// What is on disk now.
    pub(crate) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes one thing down, exactly once even when the caller goes away, and returns what was
    /// written.
    pub(crate) async fn write(&self, ask: Ask) -> Result<Record, WriteError> {
        let (answer, written) = oneshot::channel();
        self.asks
            .send(Job { ask, answer })
            .await
            .map_err(|_| WriteError::Stopping)?;
        written
            .await
            .map_err(|_| WriteError::Stopping)?
            .map_err(WriteError::Volume)
    }
}

impl Writer {
    /// Returns when everything asked for is written; the last [`Notebook`] must be dropped first.
    pub(crate) fn join(self) {
        // A writer that panicked has already failed every ask.
        let _ = self.0.join();
    }
}

fn write(mut journal: Option<Journal>, mut jobs: mpsc::Receiver<Job>, seen: &Mutex<Arc<Memory>>) {
    let mut batch = Vec::with_capacity(TOGETHER);
    while jobs.blocking_recv_many(&mut batch, TOGETHER) > 0 {
        let mut memory = Memory::clone(&seen.lock().unwrap_or_else(PoisonError::into_inner));
        let records: Vec<Record> = batch
            .iter()
            .map(|job| {
                let record = memory.draft(&job.ask, jiff::Timestamp::now().to_string());
                memory.apply(&record);
                record
            })
            .collect();
        match journal
            .as_mut()
            .map_or(Ok(()), |journal| journal.append(&records))
        {
            Ok(()) => {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(memory);
                for (job, record) in batch.drain(..).zip(records) {
                    // Whoever asked may have hung up; it is written all the same.
                    let _ = job.answer.send(Ok(record));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for job in batch.drain(..) {
                    let _ = job.answer.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn five_hundred_at_once_are_counted_each_once_and_survive() {
        let folder = tempfile::tempdir().unwrap();
        let (notebook, writer) = Notebook::open(Some(folder.path())).unwrap();
        let asks = (0..500).map(|_| notebook.write(Ask::Count));
        let mut values: Vec<u64> = futures_util::future::join_all(asks)
            .await
            .into_iter()
            .map(|record| match record {
                Ok(Record::Count { value }) => value,
                other => panic!("{other:?}"),
            })
            .collect();
        values.sort_unstable();
        assert_eq!(values, (1..=500).collect::<Vec<_>>());
        drop(notebook);
        writer.join();
        let (again, _writer) = Notebook::open(Some(folder.path())).unwrap();
        assert_eq!(again.memory().count, 500);
    }

    #[tokio::test]
    async fn without_a_folder_nothing_outlives_the_agent() {
        let (notebook, _writer) = Notebook::open(None).unwrap();
        notebook
            .write(Ask::Chat("my name is Ada".to_owned()))
            .await
            .unwrap();
        assert_eq!(notebook.memory().facts["name"], "Ada");
        let (again, _writer) = Notebook::open(None).unwrap();
        assert_eq!(again.memory().turns, 0);
    }
}
