//! The API server's audit log: who asked for what, and what came of it.

use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use crate::support::access::Account;
use crate::support::plane::Plane;

/// The audit log from a moment on, as far as it speaks of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    path: PathBuf,
    namespace: String,
    start: u64,
}

/// One finished request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `get`, `patch`, `watch`, ….
    pub(crate) verb: String,
    /// `sandboxes`, `leases`, … with the subresource behind a slash.
    pub(crate) resource: String,
    /// Name of the object; empty for collections.
    pub(crate) name: String,
    /// User name.
    pub(crate) user: String,
    /// What the client calls itself.
    pub(crate) agent: String,
    /// Status code of the answer.
    pub(crate) code: u64,
}

impl Asked {
    /// Whether it came from Reveille's activators or scalers.
    pub(crate) fn is_ours(&self) -> bool {
        self.by(Account::Activator) || self.by(Account::Scaler)
    }

    /// Whether it came from this account.
    pub(crate) fn by(&self, account: Account) -> bool {
        self.user
            .ends_with(&format!(":{}", account.service_account()))
    }
}

impl Audit {
    /// From now on.
    pub(crate) fn of(plane: &Plane, namespace: &str) -> Self {
        let start = std::fs::metadata(&plane.audit_log).map_or(0, |file| file.len());
        Self {
            path: plane.audit_log.clone(),
            namespace: namespace.to_owned(),
            start,
        }
    }

    /// The same log from this moment on.
    pub(crate) fn since_now(&self) -> Self {
        let start = std::fs::metadata(&self.path).unwrap().len();
        Self {
            start,
            ..self.clone()
        }
    }

    /// What was answered so far, in the order of the answers. Watches are there from their beginning.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let mut file = std::fs::File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.start)).unwrap();
        let mut asked = Vec::new();
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = lines.read_until(b'\n', &mut line).unwrap();
            // A torn last line is still being written.
            if length == 0 || line.last() != Some(&b'\n') {
                return asked;
            }
            asked.extend(self.read(&line));
        }
    }

    fn read(&self, line: &[u8]) -> Option<Asked> {
        // Most lines are other tests': don't parse them.
        let text = std::str::from_utf8(line).ok()?;
        if !text.contains(&self.namespace) {
            return None;
        }
        let event: Value = serde_json::from_str(text).ok()?;
        let object = &event["objectRef"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut resource = word(&object["resource"]);
        if let Some(sub) = object["subresource"].as_str() {
            resource = format!("{resource}/{sub}");
        }
        Some(Asked {
            verb: word(&event["verb"]),
            resource,
            name: word(&object["name"]),
            user: word(&event["user"]["username"]),
            agent: word(&event["userAgent"]),
            code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        })
    }
}
