//! Comma-separated lists of tokens (RFC 9110 §5.6.1).

/// The members of one field line, without the blanks around them; empty ones are left out.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}
