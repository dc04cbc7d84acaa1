//! Recado, a notification gateway: one endpoint, every channel, and a log that can say what happened.

/// The settings as types: defaults, then file, then variables; every fault at once.
pub mod config;
/// Request bodies: strict JSON, and serde's complaints as pointer, code and sentence.
pub mod json;
/// Tokens of the app's own sign-on.
pub mod jwt;
/// API keys and what they may do.
pub mod keys;
/// Secrets at rest.
pub mod secrets;
/// The nearest right word for a wrong one.
pub mod suggest;
