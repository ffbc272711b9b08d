//! The file of the conversation: one JSON record a line, appended and synced, never rewritten.
//!
//! A crash in the middle of an append leaves a torn last line. It was never acknowledged, so
//! opening cuts it off. The file is locked while open: two agents on one volume is an error of
//! whoever started the second, and is told as such.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::memory::Record;

/// Name of the file in the data folder.
const FILE: &str = "conversation.jsonl";

/// An open, locked conversation file.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Bytes that are whole records; a failed append is cut back to here.
    length: u64,
}

/// Why a conversation cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The volume does not work.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another agent runs on this volume.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// A line before the last is not a record.
    #[error("{path} line {line} is not a record")]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

impl Journal {
    /// Opens or creates the conversation in `folder` and gives every record to `take`.
    pub(crate) fn open(folder: &Path, take: impl FnMut(&Record)) -> Result<Self, OpenError> {
        let path = folder.join(FILE);
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(io)?;
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path)),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let length = read(&file, take).map_err(|error| match error {
            ReadError::Io(source) => io(source),
            ReadError::Broken(line) => OpenError::Broken {
                path: path.clone(),
                line,
            },
        })?;
        if file.metadata().map_err(io)?.len() != length {
            file.set_len(length).map_err(io)?;
            file.sync_data().map_err(io)?;
        }
        // The name itself must outlive a power cut, not only the content.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io)?;
        Ok(Self { file, length })
    }

    /// Appends the records and returns when they are on disk; all of them or none.
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(records.len() * 128);
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        let written = self
            .file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A child that is just being started shares the open file until it runs its own program; closing
        // alone would leave it locked until then.
        let _ = self.file.unlock();
    }
}

enum ReadError {
    Io(io::Error),
    Broken(usize),
}

/// Reads all whole records and gives their length in bytes.
fn read(file: &File, mut take: impl FnMut(&Record)) -> Result<u64, ReadError> {
    let mut reader = BufReader::new(file);
    let (mut good, mut number, mut torn) = (0, 0, None);
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line).map_err(ReadError::Io)?;
        if bytes == 0 {
            return Ok(good);
        }
        if let Some(torn) = torn {
            return Err(ReadError::Broken(torn));
        }
        number += 1;
        match (line.last(), serde_json::from_slice::<Record>(&line)) {
            (Some(b'\n'), Ok(record)) => {
                take(&record);
                good += bytes as u64;
            }
            _ => torn = Some(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(value: u64) -> Record {
        Record::Count { value }
    }

    fn reopened(folder: &Path) -> Result<(Journal, Vec<Record>), OpenError> {
        let mut records = Vec::new();
        let journal = Journal::open(folder, |record| records.push(record.clone()))?;
        Ok((journal, records))
    }

    fn written(folder: &Path, records: &[Record]) {
        let (mut journal, _) = reopened(folder).unwrap();
        journal.append(records).unwrap();
    }

    fn tear(folder: &Path, tail: &[u8]) {
        let mut file = OpenOptions::new()
            .append(true)
            .open(folder.join(FILE))
            .unwrap();
        file.write_all(tail).unwrap();
    }

    #[test]
    fn what_was_appended_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), &[count(1), count(2)]);
        written(folder.path(), &[count(3)]);
        assert_eq!(
            reopened(folder.path()).unwrap().1,
            [count(1), count(2), count(3)]
        );
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_next_append_is_whole() {
        for tail in [
            &b"{\"kind\":\"cou"[..],
            b"{\"kind\":\"count\",\"value\":9}",
            b"\0\0\0\n",
        ] {
            let folder = tempfile::tempdir().unwrap();
            written(folder.path(), &[count(1)]);
            tear(folder.path(), tail);
            let (mut journal, records) = reopened(folder.path()).unwrap();
            assert_eq!(records, [count(1)]);
            journal.append(&[count(2)]).unwrap();
            drop(journal);
            assert_eq!(reopened(folder.path()).unwrap().1, [count(1), count(2)]);
        }
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), &[count(1)]);
        tear(
            folder.path(),
            b"nonsense\n{\"kind\":\"count\",\"value\":2}\n",
        );
        assert!(matches!(
            reopened(folder.path()),
            Err(OpenError::Broken { line: 2, .. })
        ));
    }

    #[test]
    fn a_second_agent_on_the_same_volume_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = reopened(folder.path()).unwrap();
        assert!(matches!(reopened(folder.path()), Err(OpenError::InUse(_))));
    }
}
