//! The plugin against doubles of Meta and Twilio, through its public door.
#![allow(clippy::unwrap_used)]

mod conformance;
mod meta_actions;
mod meta_callbacks;
mod meta_check;
mod meta_errors;
mod meta_inbound;
mod meta_window;
mod support;
mod twilio_callbacks;
mod twilio_errors;
mod twilio_lookup;
mod twilio_send;
