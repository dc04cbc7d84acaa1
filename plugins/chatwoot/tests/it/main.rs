//! The plugin against the double of the server, through its public door.
#![allow(clippy::unwrap_used)]

mod check;
mod conformance;
mod errors;
mod inboxes;
mod send;
mod support;
mod unknown;
