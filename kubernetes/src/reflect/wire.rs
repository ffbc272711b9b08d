//! What lists and watches look like on the wire, and what their refusals mean.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fetch::Failure;

/// One page of a list. Objects stay as they stand: one that cannot be read must not spoil the others.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    pub(super) metadata: PageMeta,
    /// Some servers write an empty list as `null`.
    #[serde(borrow, default)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

/// How new the list is, and where it goes on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(super) continue_: Option<String>,
}

/// One line of a watch.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// Whether a watch cannot go on where it stopped. Refusals that may end by themselves do not count, but
/// for a version that the server has not reached: one whose data was restored never will.
pub(super) fn is_lost(failure: &Failure) -> bool {
    match failure {
        Failure::Garbled(_) | Failure::Broken(_) => true,
        Failure::Late(_) | Failure::Unreachable(_) => false,
        Failure::Refused { code, message } => match code {
            401 | 403 | 429 => false,
            500.. => message.contains("Too large resource version"),
            _ => true,
        },
    }
}
