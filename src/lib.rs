//! Recado, a notification gateway: one endpoint, every channel, and a log that can say what happened.
//!
//! The map of the house, in the order a request walks through it.

/// Everything that is built once and shared: configuration, store, plugins, engine.
pub mod app;
/// HTTP: the router, who may call, and one file per noun.
pub mod http;
/// Request bodies: strict JSON, and serde's complaints as pointer, code and sentence.
pub mod json;
/// THE entrance: a request becomes notifications, or is refused with every reason at once.
pub mod notify;
/// Phones and e-mails in the one spelling that is stored and matched.
pub mod address;
/// What is to be told, and to whom.
pub mod content;
/// Tenants as sending sees them: settings, branches, opened channel accounts.
pub mod tenant;
/// Which value of a setting holds, and who set it.
pub mod settings;
/// Delivery: lanes are filled, calls are made, outcomes recorded and decided upon.
pub mod deliver;
/// One lane in memory: what waits, what is under way, whether the next call may start.
pub mod lane;
/// What happens after an attempt: a pure function.
pub mod retry;
/// A notification's status and its legal moves.
pub mod status;
/// The one task that writes what sending produces, in shared commits.
pub mod writer;
/// The store: every statement, and every difference between SQLite and PostgreSQL.
pub mod store;
/// Which channels exist, through which providers; the sandbox.
pub mod plugins;
/// Handlebars templates: built in, strict about missing values.
pub mod template;
/// What a text costs as SMS.
pub mod sms;

/// The settings as types: defaults, then file, then variables; every fault at once.
pub mod config;
/// Secrets at rest.
pub mod secrets;
/// API keys and what they may do.
pub mod keys;
/// Tokens of the app's own sign-on.
pub mod jwt;
/// The only place that asks the time.
pub mod clock;
/// What can go wrong for a caller.
pub mod error;
/// Identifiers as types.
pub mod ids;
/// The nearest right word for a wrong one.
pub mod suggest;
/// Named points at which a debug build dies on request.
pub mod failpoint;
/// The command line.
pub mod cli;
/// `recado demo`.
pub mod demo;
