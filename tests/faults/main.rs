//! The built program as a process of its own, under faults: killed, stopped, cut off, its store torn away. What it
//! accepted is counted against what a receiver outside of it got.
//!
//! A longer crash loop by one command: `RECADO_CRASH_CYCLES=200 cargo test --test faults f1_ -- --nocapture`, and a
//! larger race for claims: `RECADO_RACE_ROWS=10000 cargo test --test faults f9_ -- --nocapture`, and more callers that
//! hang up: `RECADO_HANG_UPS=20000 cargo test --test faults f32_ -- --nocapture`.
#![allow(clippy::unwrap_used)]
// The processes outside go by the real clock, and their callers are nobody whose addresses need a check.
#![allow(clippy::disallowed_methods)]

#[macro_use]
mod support;

mod calls;
mod commands;
mod commit;
mod crash;
mod figures;
mod files;
mod full;
mod hang_up;
mod nodes;
mod points;
mod reload;
mod sandbox;
mod slow;
mod stop;
