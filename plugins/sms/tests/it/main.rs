//! The plugin against doubles of the three vendors, through its public door.
#![allow(clippy::unwrap_used)]

mod conformance;
mod faults;
mod infobip;
mod settings;
mod support;
mod twilio;
mod twilio_hook;
mod vonage;
mod vonage_hook;
