//! Whole numbers as people get them wrong: negative, quoted, with a unit. Each answer says what to write.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Whole seconds.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_any(Whole("whole seconds as a plain number, as in 300"))
}

/// A count.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_any(Whole("a count as a plain number, as in 100"))
}

/// A container port. 0 is left to [`super::validate`], which has a sentence for it.
pub(super) fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let expected = Whole("a container port as a plain number up to 65535, as in 8888");
    let number = deserializer.deserialize_any(expected)?;
    let port = u16::try_from(number);
    port.map(Some)
        .map_err(|_| D::Error::invalid_value(Unexpected::Unsigned(number.into()), &expected))
}

#[derive(Clone, Copy)]
struct Whole(&'static str);

impl Visitor<'_> for Whole {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u32, E> {
        u32::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u32, E> {
        u32::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }
}
