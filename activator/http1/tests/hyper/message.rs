//! What a reader takes bytes for, in words that two readers share.

use reveille_http1::{Content, Fault, Limits, Part, Table, Version};

/// Of heads and trailers, to both readers.
pub(crate) const LIMITS: Limits = Limits {
    head_bytes: 8192,
    fields: 20,
};

/// As hyper writes it.
pub(crate) fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}

/// One message as a reader saw it.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Message {
    /// Method, target and version, or status and version.
    pub(crate) start: String,
    /// In the order of their names, in lower case; without the length, which shows in the content.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) is_whole: bool,
}

/// All that it saw, and why it stopped if not at the end.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<Message>,
    pub(crate) fault: Option<String>,
}

/// What two outcomes are to each other.
pub(crate) enum Verdict {
    Alike,
    /// Different, for a reason that is meant.
    Explained(&'static str),
    Different,
}

/// Fields in the order of their names.
pub(crate) fn sorted(fields: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), unfolded(&value)))
        .filter(|(name, _)| name != "content-length")
        .collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

/// Each row of blanks and line ends as one blank.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let words = value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

/// As hyper keeps them.
pub(crate) fn mapped(fields: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    sorted(
        fields
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
    )
}

/// As this crate shows them.
pub(crate) fn shown(fields: reveille_http1::Fields<'_>) -> Vec<(String, Vec<u8>)> {
    sorted(
        fields
            .iter()
            .map(|field| (field.name.to_owned(), field.value.to_vec())),
    )
}

impl Outcome {
    /// Reads the content of the last message; what follows it is returned.
    pub(crate) fn read<'b>(
        &mut self,
        mut content: Content,
        mut rest: &'b [u8],
        table: &mut Table,
    ) -> Result<&'b [u8], Fault> {
        while let Some((taken, part)) = content.next(rest, true, table)? {
            match part {
                Part::Data(data) => self.content(data),
                Part::Framing(_) | Part::Extension => {}
                Part::Trailers(fields) => self.trailers(shown(fields)),
                Part::End => {
                    self.end();
                    break;
                }
            }
            rest = &rest[taken..];
        }
        Ok(rest)
    }

    /// Content of the last message.
    pub(crate) fn content(&mut self, data: &[u8]) {
        if let Some(last) = self.messages.last_mut() {
            last.content.extend_from_slice(data);
        }
    }

    /// Trailers of the last message.
    pub(crate) fn trailers(&mut self, fields: Vec<(String, Vec<u8>)>) {
        if let Some(last) = self.messages.last_mut() {
            last.trailers = fields;
        }
    }

    /// The last message came whole.
    pub(crate) fn end(&mut self) {
        if let Some(last) = self.messages.last_mut() {
            last.is_whole = true;
        }
    }
}
