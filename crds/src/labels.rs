//! Labels of one object in one allocation.
//!
//! Ten thousand idle sandboxes keep their labels for selectors, and little else is asked of them: a
//! `BTreeMap` costs over 500 bytes before its first text, this costs the texts and two separators.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Sorted pairs as `key NUL value NUL …`. A label of the API holds no NUL; a pair that does is left out.
/// Cloning is one reference count.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// Pairs, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split_terminator('\0');
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    /// The packed text, to be replaced by an equal one.
    pub(crate) fn text(&mut self) -> &mut Arc<str> {
        &mut self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&BTreeMap<String, String>> for Labels {
    fn from(labels: &BTreeMap<String, String>) -> Self {
        let mut text = String::new();
        for (key, value) in labels {
            if key.contains('\0') || value.contains('\0') {
                continue;
            }
            text.extend([key, "\0", value, "\0"]);
        }
        // The empty default is one static, where an empty text made here would be an allocation.
        if text.is_empty() {
            Self::default()
        } else {
            Self(text.into())
        }
    }
}

impl From<Option<&BTreeMap<String, String>>> for Labels {
    fn from(labels: Option<&BTreeMap<String, String>>) -> Self {
        labels.map(Self::from).unwrap_or_default()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let map: BTreeMap<String, String> = pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        Self::from(&map)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_answer_what_they_were_made_of() {
        let labels: Labels = [("fleet", "research"), ("empty", ""), ("app", "agent")]
            .into_iter()
            .collect();
        assert_eq!(labels.get("fleet"), Some("research"));
        assert_eq!(labels.get("empty"), Some(""));
        assert_eq!(labels.get("fle"), None);
        assert_eq!(
            labels.iter().collect::<Vec<_>>(),
            [("app", "agent"), ("empty", ""), ("fleet", "research")]
        );
    }

    #[test]
    fn equal_labels_are_equal_however_they_were_ordered() {
        let one: Labels = [("a", "1"), ("b", "2")].into_iter().collect();
        let two: Labels = [("b", "2"), ("a", "1")].into_iter().collect();
        assert_eq!(one, two);
        assert!(Labels::default().is_empty());
    }

    #[test]
    fn a_pair_with_a_separator_in_it_is_left_out() {
        let labels: Labels = [("a\0b", "1"), ("c", "2")].into_iter().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("c", "2")]);
    }
}
