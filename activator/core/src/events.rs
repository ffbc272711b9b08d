//! A stream of server-sent events (`text/event-stream`, HTML Living Standard §9.2.6) as its bytes pass by:
//! which of them are heartbeats. Nothing is kept but the place within a line.

/// Follows one stream from its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(Place);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    LineStart,
    /// In a line that begins with a colon.
    Comment,
    Field,
}

impl Events {
    /// Follows these bytes. Answers whether any of them is more than a heartbeat: a comment, a blank line.
    pub fn pass(&mut self, bytes: &[u8]) -> bool {
        let mut is_active = false;
        for byte in bytes {
            self.0 = match (self.0, byte) {
                // Either ends a line, and both together end a blank one more, which is nothing either.
                (_, b'\n' | b'\r') => Place::LineStart,
                (Place::LineStart, b':') | (Place::Comment, _) => Place::Comment,
                _ => Place::Field,
            };
            is_active |= self.0 == Place::Field;
        }
        is_active
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_heartbeats_wherever_the_bytes_are_cut() {
        for (text, is_active) in [
            (": ping\n\n", false),
            (":\r\n\r\n: a:b data: x\r\r", false),
            ("\n\r\n\r", false),
            ("data: one\n\n", true),
            (": ping\ndata\n", true),
            (": ping\r\nid:\r\n", true),
            ("event: ping\n\n", true),
        ] {
            for at in 0..=text.len() {
                let mut events = Events::default();
                let first = events.pass(&text.as_bytes()[..at]);
                let second = events.pass(&text.as_bytes()[at..]);
                assert_eq!(first | second, is_active, "{text:?} cut at {at}");
            }
        }
    }

    #[test]
    fn the_rest_of_a_field_counts_and_that_of_a_comment_does_not() {
        let mut events = Events::default();
        assert!(!events.pass(b": pi"));
        assert!(!events.pass(b"data: ng"));
        assert!(!events.pass(b"\n"));
        assert!(events.pass(b"da"));
        assert!(events.pass(b": ta"));
    }
}
