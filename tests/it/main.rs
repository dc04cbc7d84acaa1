//! The service from outside: requests go through the real router, messages to real sockets, rows to both databases.
#![allow(clippy::unwrap_used, clippy::wildcard_imports, clippy::disallowed_methods)]

#[macro_use]
mod support;

mod attachments;
mod bad_input;
mod branch_tokens;
mod clock_steps;
mod contacts;
mod email;
mod fuzzed;
mod hooks;
mod notify;
mod openapi;
mod own_channels;
mod plugins;
mod request_ids;
mod scripts;
mod secrets;
mod segments;
mod settings;
mod state_machine;
mod store;
mod templates;
mod tenants_are_apart;
mod unknown;
mod unread;
mod webhook;
mod whatsapp;
