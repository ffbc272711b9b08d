//! Label selectors: `matchLabels` and `matchExpressions` as the API defines them, all of them ANDed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::key::{MAX_LABEL, is_label};
use crate::labels::Labels;

/// Longest prefix of a label's key (Kubernetes, "Labels and Selectors", syntax and character set).
const LONGEST_DOMAIN: usize = 253;

/// A selector that was read and found valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(Box<str>, Vec<String>),
    NotIn(Box<str>, Vec<String>),
    Exists(Box<str>),
    DoesNotExist(Box<str>),
}

/// Why a selector is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// An operator nobody knows.
    #[error("operator {operator:?} of {key:?} is unknown: write In, NotIn, Exists or DoesNotExist")]
    Operator {
        /// Label.
        key: String,
        /// As written.
        operator: String,
    },
    /// `In` or `NotIn` with nothing to be in.
    #[error("operator {operator} of {key:?} has no values: give it at least one")]
    NoValues {
        /// Label.
        key: String,
        /// As written.
        operator: String,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("operator {operator} of {key:?} takes no values: leave them out, or write In or NotIn")]
    Values {
        /// Label.
        key: String,
        /// As written.
        operator: String,
    },
    /// A requirement on no label.
    #[error("a requirement has an empty key: write the name of a label")]
    NoKey,
    /// A key that no object can have as a label.
    #[error(
        "{0:?} is no key of a label: write 1 to 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit, if need be behind a domain and '/', as in example.com/fleet"
    )]
    Key(String),
    /// A value that no label can have.
    #[error(
        "{value:?} is no value of a label ({key}): write at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"
    )]
    Value {
        /// Label.
        key: String,
        /// As written.
        value: String,
    },
}

impl Selector {
    /// Reads a selector; an empty one matches everything, as in the API.
    ///
    /// # Errors
    /// If a requirement is malformed.
    pub fn read(selector: &LabelSelector) -> Result<Self, InvalidSelector> {
        let exact = selector.match_labels.iter().flatten().map(|(key, value)| {
            legal(key, std::slice::from_ref(value))?;
            Ok(Requirement::In(key.as_str().into(), vec![value.clone()]))
        });
        let expressions = selector
            .match_expressions
            .iter()
            .flatten()
            .map(Requirement::read);
        exact.chain(expressions).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn read(raw: &LabelSelectorRequirement) -> Result<Self, InvalidSelector> {
        let (key, operator) = (raw.key.clone(), raw.operator.clone());
        let values = raw.values.clone().unwrap_or_default();
        legal(&key, &values)?;
        match (raw.operator.as_str(), values.is_empty()) {
            ("In" | "NotIn", true) => Err(InvalidSelector::NoValues { key, operator }),
            ("Exists" | "DoesNotExist", false) => Err(InvalidSelector::Values { key, operator }),
            ("In", false) => Ok(Self::In(key.into(), values)),
            ("NotIn", false) => Ok(Self::NotIn(key.into(), values)),
            ("Exists", true) => Ok(Self::Exists(key.into())),
            ("DoesNotExist", true) => Ok(Self::DoesNotExist(key.into())),
            _ => Err(InvalidSelector::Operator { key, operator }),
        }
    }

    fn holds(&self, labels: &Labels) -> bool {
        let among = |key: &str, values: &[String]| {
            labels
                .get(key)
                .is_some_and(|value| values.iter().any(|one| one == value))
        };
        match self {
            Self::In(key, values) => among(key, values),
            Self::NotIn(key, values) => !among(key, values),
            Self::Exists(key) => labels.get(key).is_some(),
            Self::DoesNotExist(key) => labels.get(key).is_none(),
        }
    }
}

/// Whether an object can have a label of this key, with each of these values.
fn legal(key: &str, values: &[String]) -> Result<(), InvalidSelector> {
    if key.is_empty() {
        return Err(InvalidSelector::NoKey);
    }
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_domain = |text: &str| text.len() <= LONGEST_DOMAIN && text.split('.').all(is_label);
    if !is_name(name) || !prefix.is_none_or(is_domain) {
        return Err(InvalidSelector::Key(key.to_owned()));
    }
    let illegal = values
        .iter()
        .find(|value| !value.is_empty() && !is_name(value));
    illegal.map_or(Ok(()), |value| {
        Err(InvalidSelector::Value {
            key: key.to_owned(),
            value: value.clone(),
        })
    })
}

/// The name of a label's key, and a label's value that is not empty.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LABEL
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Result<Selector, InvalidSelector> {
        Selector::read(&serde_json::from_str(text).unwrap())
    }

    fn labels() -> Labels {
        [("fleet", "research"), ("tier", "free")]
            .into_iter()
            .collect()
    }

    #[test]
    fn every_operator_selects_as_the_api_says() {
        for (text, expected) in [
            ("{}", true),
            (
                r#"{"matchLabels":{"fleet":"research","tier":"free"}}"#,
                true,
            ),
            (
                r#"{"matchLabels":{"fleet":"research","tier":"paid"}}"#,
                false,
            ),
            (
                r#"{"matchExpressions":[{"key":"tier","operator":"In","values":["paid","free"]}]}"#,
                true,
            ),
            (
                r#"{"matchExpressions":[{"key":"none","operator":"In","values":["x"]}]}"#,
                false,
            ),
            (
                r#"{"matchExpressions":[{"key":"tier","operator":"NotIn","values":["free"]}]}"#,
                false,
            ),
            (
                r#"{"matchExpressions":[{"key":"none","operator":"NotIn","values":["x"]}]}"#,
                true,
            ),
            (
                r#"{"matchExpressions":[{"key":"tier","operator":"Exists"}]}"#,
                true,
            ),
            (
                r#"{"matchExpressions":[{"key":"none","operator":"Exists"}]}"#,
                false,
            ),
            (
                r#"{"matchExpressions":[{"key":"tier","operator":"DoesNotExist"}]}"#,
                false,
            ),
            (
                r#"{"matchExpressions":[{"key":"none","operator":"DoesNotExist","values":[]}]}"#,
                true,
            ),
        ] {
            assert_eq!(
                selector(text).unwrap().matches(&labels()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_malformed_requirement_says_what_to_write() {
        for (text, part) in [
            (
                r#"{"matchExpressions":[{"key":"tier","operator":"in","values":["x"]}]}"#,
                "write In",
            ),
            (
                r#"{"matchExpressions":[{"key":"tier","operator":"In"}]}"#,
                "at least one",
            ),
            (
                r#"{"matchExpressions":[{"key":"tier","operator":"Exists","values":["x"]}]}"#,
                "no values",
            ),
            (
                r#"{"matchExpressions":[{"key":"","operator":"Exists"}]}"#,
                "name of a label",
            ),
            (r#"{"matchLabels":{"":"x"}}"#, "name of a label"),
            (r#"{"matchLabels":{"a fleet":"x"}}"#, "no key of a label"),
            (
                r#"{"matchLabels":{"Example.com/fleet":"x"}}"#,
                "no key of a label",
            ),
            (r#"{"matchLabels":{"a/b/c":"x"}}"#, "no key of a label"),
            (
                r#"{"matchLabels":{"fleet":"re search"}}"#,
                "no value of a label (fleet)",
            ),
            (r#"{"matchLabels":{"fleet":"-x"}}"#, "at most 63"),
            (
                r#"{"matchExpressions":[{"key":"fleet!","operator":"Exists"}]}"#,
                "no key of a label",
            ),
            (
                r#"{"matchExpressions":[{"key":"fleet","operator":"NotIn","values":["a","b\n"]}]}"#,
                "no value of a label",
            ),
        ] {
            let error = selector(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
