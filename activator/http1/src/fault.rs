//! Why bytes are not, or not yet safely, HTTP/1.1.

/// What is wrong with the bytes of the other side. Where a message ends is not known after any of these: the
/// connection can carry no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The start line or a field is not one: 400.
    #[error("the head is malformed: {0}")]
    Head(&'static str),
    /// The head or the trailer section has more bytes than it may: 431.
    #[error("the header fields are too long")]
    TooLong,
    /// The head or the trailer section has more fields than it may: 431.
    #[error("there are too many header fields")]
    TooManyFields,
    /// Two readers might see the end of the message at different places: 400.
    #[error("the end of the message is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// There is a transfer coding that is not `chunked`: 501.
    #[error("only the chunked transfer coding is known")]
    Coding,
    /// A chunk is not one: 400.
    #[error("the chunked body is malformed: {0}")]
    Chunk(&'static str),
    /// The other side left in the middle of a message.
    #[error("the connection ended in the middle of a message")]
    Truncated,
}

impl From<httparse::Error> for Fault {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::HeaderName => Self::Head("a field name"),
            httparse::Error::HeaderValue => Self::Head("a field value"),
            httparse::Error::NewLine => Self::Head("an end of line"),
            httparse::Error::Status => Self::Head("the status"),
            httparse::Error::Token => Self::Head("the method or the target"),
            httparse::Error::Version => Self::Head("the version"),
        }
    }
}
