//! Where a message ends, and what becomes of its connection then (RFC 9112 §6, §9; RFC 9110 §7.6.1, §10.1.1).

use crate::list::tokens;
use crate::{Fault, Fields, RequestHead, ResponseHead};

/// The minor version of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How long the content of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes; there is none if that is 0.
    Exactly(u64),
    /// As the chunks say.
    Chunked,
    /// Until the server closes the connection; only of responses.
    UntilClose,
    /// The connection is no longer HTTP after this head: 101, or 2xx to CONNECT.
    Tunnel,
}

/// What a request's method means for the end of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Of HEAD: there is no content.
    Head,
    /// Of CONNECT: 2xx is the beginning of a tunnel.
    Connect,
    /// Of any other.
    Other,
}

/// What the fields of a head say about the message and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Of its content.
    pub length: Length,
    /// Whether its sender lets the connection go on after it.
    pub persists: bool,
    /// `Content-Length` is not to go on as it came: it is said more than once, or is overruled by
    /// `Transfer-Encoding` (RFC 9112 §6.3).
    pub drops_length: bool,
    /// The client waits for 100 before it sends the content.
    pub expects_continue: bool,
    /// `Connection` has `upgrade` among its options.
    pub upgrades: bool,
}

impl Framing {
    /// What a request says.
    ///
    /// # Errors
    /// If a reader might see its end elsewhere.
    pub fn of_request(head: &RequestHead<'_>) -> Result<Self, Fault> {
        let said = Said::by(head.fields);
        said.check(head.version)?;
        let length = match (said.coding, said.length) {
            (Coding::Chunked, _) => Length::Chunked,
            (_, length) => Length::Exactly(length.unwrap_or(0)),
        };
        Ok(said.framing(length, head.version))
    }

    /// What the response to a request of that method says.
    ///
    /// # Errors
    /// If a reader might see its end elsewhere.
    pub fn of_response(head: &ResponseHead<'_>, asked: Asked) -> Result<Self, Fault> {
        let said = Said::by(head.fields);
        said.check(head.version)?;
        let length = match (head.status, asked) {
            (101, _) | (200..=299, Asked::Connect) => Length::Tunnel,
            (100..=199 | 204 | 304, _) | (_, Asked::Head) => Length::Exactly(0),
            _ => match (said.coding, said.length) {
                (Coding::Chunked, _) => Length::Chunked,
                (_, Some(length)) => Length::Exactly(length),
                (_, None) => Length::UntilClose,
            },
        };
        Ok(said.framing(length, head.version))
    }
}

impl Version {
    pub(crate) const fn of(minor: Option<u8>) -> Self {
        match minor {
            Some(0) => Self::Http10,
            _ => Self::Http11,
        }
    }
}

/// The fields that frame a message, read in one pass.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    /// How often; a list of the same lengths counts each.
    lengths: usize,
    is_length_bad: bool,
    coding: Coding,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    expects: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    Chunked,
    /// There are others, be it before a `chunked`.
    Other,
    Repeated,
}

impl Said {
    fn by(fields: Fields<'_>) -> Self {
        let mut said = Self::default();
        for field in fields.iter() {
            // Most fields are told apart by their length alone.
            match field.name.len() {
                6 if field.is("expect") => {
                    said.expects |= field.value.eq_ignore_ascii_case(b"100-continue");
                }
                10 if field.is("connection") => said.connection(field.value),
                14 if field.is("content-length") => said.content_length(field.value),
                17 if field.is("transfer-encoding") => said.transfer_encoding(field.value),
                _ => {}
            }
        }
        said
    }

    fn connection(&mut self, value: &[u8]) {
        for option in tokens(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            }
        }
    }

    /// Several are one if they are alike (RFC 9112 §6.3).
    fn content_length(&mut self, value: &[u8]) {
        for member in value.split(|byte| *byte == b',') {
            let length = decimal(member.trim_ascii());
            self.is_length_bad |= length.is_none() || (self.lengths > 0 && self.length != length);
            self.length = length;
            self.lengths += 1;
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) {
        let is_chunked = value.eq_ignore_ascii_case(b"chunked");
        self.coding = match self.coding {
            Coding::None if is_chunked => Coding::Chunked,
            Coding::None => Coding::Other,
            _ => Coding::Repeated,
        };
    }

    fn check(&self, version: Version) -> Result<(), Fault> {
        if self.is_length_bad {
            return Err(Fault::Ambiguous("Content-Length"));
        }
        match (self.coding, version) {
            (Coding::None, _) | (Coding::Chunked, Version::Http11) => Ok(()),
            // RFC 9112 §6.1: faulty framing.
            (_, Version::Http10) => Err(Fault::Ambiguous("Transfer-Encoding in HTTP/1.0")),
            (Coding::Repeated, _) => Err(Fault::Ambiguous("Transfer-Encoding is repeated")),
            (Coding::Other, _) => Err(Fault::Coding),
        }
    }

    fn framing(&self, length: Length, version: Version) -> Framing {
        let has_both = self.coding == Coding::Chunked && self.lengths > 0;
        let wants = match version {
            Version::Http10 => self.keep_alive && !self.close,
            Version::Http11 => !self.close,
        };
        let has_end = !matches!(length, Length::UntilClose | Length::Tunnel);
        Framing {
            length,
            persists: wants && has_end && !has_both,
            drops_length: has_both || self.lengths > 1,
            expects_continue: self.expects && version == Version::Http11,
            upgrades: self.upgrade && version == Version::Http11,
        }
    }
}

/// Digits alone: no sign, no blank (RFC 9110 §8.6).
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
