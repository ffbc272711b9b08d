//! What Reveille relies on in upstream's controller, checked against the real one: a numbered list, C1 to
//! C21, of which some are shown elsewhere.

mod claims;
mod modes;
mod reliance;
