//! Where the two differ, and why that is meant.

use crate::message::{Message, Outcome, Verdict};

/// Whether two outcomes are the same, or differ for a known reason: what was read before is the same then.
pub(crate) fn judge(bytes: &[u8], ours: &Outcome, hypers: &Outcome) -> Verdict {
    if ours.messages == hypers.messages && is_wrong(ours) == is_wrong(hypers) {
        return Verdict::Alike;
    }
    let fault = ours.fault.as_deref().unwrap_or_default();
    let hyper_fault = hypers.fault.as_deref().unwrap_or_default();
    // The faults of framing are found in the head, which then is no message at all.
    let stricter_head = begins(&hypers.messages, &ours.messages);
    let forgiving_head = begins(&ours.messages, &hypers.messages);
    let stricter_chunk = begins_cut(&hypers.messages, &ours.messages);
    match () {
        () if stricter_head && fault.starts_with("Ambiguous") => Verdict::Explained(
            "a length is checked also where a coding overrules it, and a coding is said once",
        ),
        () if stricter_head && fault == "Coding" => {
            Verdict::Explained("a coding that would go on undecoded is refused")
        }
        () if stricter_chunk && fault == "Chunk(\"an extension\")" => {
            Verdict::Explained("control characters in an extension")
        }
        () if stricter_chunk && fault == "Chunk(\"a size\")" && has_long_size(bytes) => {
            Verdict::Explained("a size of more than sixteen digits")
        }
        () if stricter_chunk && fault == "Chunk(\"a trailer\")" => {
            Verdict::Explained("a trailer that ends in a bare LF")
        }
        () if stricter_chunk && fault == "Chunk(\"the last\")" && has(bytes, "0\r\n\n") => {
            Verdict::Explained("a bare LF after the last chunk")
        }
        () if forgiving_head && hyper_fault.contains("content-length") && has(bytes, ",") => {
            Verdict::Explained("a list of lengths that agree is one length (RFC 9112 §6.3)")
        }
        () if is_cut_short_by_options(ours, hypers) || is_cut_short_by_options(hypers, ours) => {
            Verdict::Explained("an option beside one that is not ASCII")
        }
        () if forgiving_head && no_uri(ours.messages.get(hypers.messages.len())) => {
            Verdict::Explained("a target is looked at where it is routed")
        }
        () => Verdict::Different,
    }
}

fn is_wrong(outcome: &Outcome) -> bool {
    outcome.fault.is_some() || outcome.messages.last().is_some_and(|last| !last.is_whole)
}

/// Whether `more` is `fewer`, and goes on.
fn begins(more: &[Message], fewer: &[Message]) -> bool {
    more.len() > fewer.len() && more[..fewer.len()] == *fewer
}

/// Whether `whole` is `cut`, whose last message stops in its content.
fn begins_cut(whole: &[Message], cut: &[Message]) -> bool {
    let Some((last, before)) = cut.split_last() else {
        return false;
    };
    let Some(same) = whole.get(before.len()) else {
        return false;
    };
    whole[..before.len()] == *before
        && (&same.start, &same.fields) == (&last.start, &last.fields)
        && same.content.starts_with(&last.content)
}

fn no_uri(message: Option<&Message>) -> bool {
    let target = message.and_then(|message| message.start.split(' ').nth(1));
    target.is_some_and(|target| target.parse::<http::Uri>().is_err())
}

/// Whether `fewer` stops after a message whose options the two read differently.
fn is_cut_short_by_options(fewer: &Outcome, more: &Outcome) -> bool {
    fewer.fault.is_none()
        && more.messages.starts_with(&fewer.messages)
        && fewer.messages.last().is_some_and(has_odd_connection)
}

fn has_odd_connection(message: &Message) -> bool {
    let is_odd = |(name, value): &(String, Vec<u8>)| name == "connection" && !value.is_ascii();
    message.fields.iter().any(is_odd)
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn has_long_size(bytes: &[u8]) -> bool {
    bytes
        .windows(17)
        .any(|window| window.iter().all(u8::is_ascii_hexdigit))
}
