//! The address of a sandbox: namespace and name, both DNS-1123 labels.
//!
//! Kubernetes lets a name hold dots and 253 characters; a host name label, a NATS token and
//! upstream's router do not. Such names are refused at the door.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest DNS-1123 label (RFC 1123 §2.1, RFC 1035 §2.3.4).
pub const MAX_LABEL: usize = 63;

/// Namespace and name of a sandbox, or of the claim that stands for it. Cloning is one reference count.
#[derive(Clone)]
pub struct SandboxKey {
    /// `namespace/name`; labels hold no slash, so the first one splits.
    text: Arc<str>,
    namespace_len: u8,
}

impl SandboxKey {
    /// # Errors
    /// If either part is not a DNS-1123 label.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidKey> {
        if !is_label(namespace) {
            return Err(InvalidKey::Namespace);
        }
        if !is_label(name) {
            return Err(InvalidKey::Name);
        }
        Ok(Self {
            text: format!("{namespace}/{name}").into(),
            namespace_len: u8::try_from(namespace.len()).map_err(|_| InvalidKey::Namespace)?,
        })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.text[..usize::from(self.namespace_len)]
    }

    /// The name within the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[usize::from(self.namespace_len) + 1..]
    }

    /// The same namespace, another name.
    ///
    /// # Errors
    /// If `name` is not a DNS-1123 label.
    pub fn sibling(&self, name: &str) -> Result<Self, InvalidKey> {
        Self::new(self.namespace(), name)
    }
}

/// Whether `text` is a DNS-1123 label: 1 to 63 of `a-z0-9-`, not starting or ending with `-`.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() <= MAX_LABEL
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

/// Why a text is not a [`SandboxKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The namespace is not a DNS-1123 label.
    #[error(
        "namespace is not a DNS-1123 label (1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit)"
    )]
    Namespace,
    /// The name is not a DNS-1123 label.
    #[error(
        "name is not a DNS-1123 label (1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit)"
    )]
    Name,
    /// There is no `namespace/name` in the text.
    #[error("expected namespace/name")]
    Shape,
}

impl FromStr for SandboxKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let (namespace, name) = text.split_once('/').ok_or(InvalidKey::Shape)?;
        Self::new(namespace, name)
    }
}

impl fmt::Display for SandboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SandboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// Equality, order and hash are those of the text, which decides the length of the namespace too, so that
// a map can be asked with a `&str` ([`Borrow`]).
impl PartialEq for SandboxKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SandboxKey {}

impl PartialOrd for SandboxKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SandboxKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for SandboxKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Borrow<str> for SandboxKey {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl Serialize for SandboxKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SandboxKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_its_parts() {
        let key = SandboxKey::new("agents", "alice").unwrap();
        assert_eq!((key.namespace(), key.name()), ("agents", "alice"));
        assert_eq!(key.to_string().parse::<SandboxKey>().unwrap(), key);
    }

    #[test]
    fn names_that_no_host_label_can_carry_are_refused() {
        for name in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "ä",
            "a/b",
            &"x".repeat(64),
        ] {
            assert_eq!(
                SandboxKey::new("default", name),
                Err(InvalidKey::Name),
                "{name}"
            );
            assert_eq!(
                SandboxKey::new(name, "alice"),
                Err(InvalidKey::Namespace),
                "{name}"
            );
        }
        assert!(SandboxKey::new("a", &"x".repeat(63)).is_ok());
    }
}
