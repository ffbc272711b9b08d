//! HTTP/1.1 as an intermediary needs it (RFC 9110, RFC 9112): bytes in, events out, for both sides of a proxy.
//!
//! Pure: no clock, no I/O, and no allocation once a [`Table`] has grown. The caller keeps the bytes. It shows
//! what it has read to [`Heads`], and what follows a head to [`Content`]; drops as many bytes as each of them
//! says, and passes on what it likes:
//!
//! - A head stays the bytes it came in. [`Fields`] says what stands where; [`Fields::copy`] writes it anew
//!   without the fields that end here, so that the case and the order of all others are kept.
//! - A chunked body may go on as the bytes it came in too: what is [`Part::Data`] and [`Part::Framing`], one
//!   after the other, is the same body in valid chunks, without the extensions, which end at each hop.
//!
//! Both directions are strict where two readers might disagree about the end of a message. What may be
//! forgiven (a bare LF in a head, a folded field of an answer) is written anew before it goes on.

mod chunked;
mod content;
mod fault;
mod fields;
mod framing;
mod heads;
mod list;
mod request;
mod response;
pub mod write;

pub use content::{Content, Part};
pub use fault::Fault;
pub use fields::{Field, Fields, Table};
pub use framing::{Asked, Framing, Length, Version};
pub use heads::{Found, Heads, Limits, is_blank};
pub use request::RequestHead;
pub use response::ResponseHead;
