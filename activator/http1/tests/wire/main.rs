//! HTTP/1.1 by its events: what each message is, however its bytes are split, and what is passed on of it.

mod framing;
mod heads;
mod passing;
mod splits;
mod trace;
