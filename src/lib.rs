//! Recado, a notification gateway: one endpoint, every channel, and a log that can say what happened.
//!
//! The map of the house, in the order a request walks through it.

/// Phones and e-mails in the one spelling that is stored and matched.
pub mod address;
/// Everything that is built once and shared: configuration, store, plugins, engine.
pub mod app;
/// Appointments as data: checked, and kept in step with their contact's figures.
pub mod appointment;
/// Stored people: found by id, phone or e-mail, checked, changed, consenting.
pub mod contact;
/// What is to be told, and to whom.
pub mod content;
/// Delivery: lanes are filled, calls are made, outcomes recorded and decided upon.
pub mod deliver;
/// Where an account's provider reports.
pub mod hook;
/// HTTP: the router, who may call, and one file per noun.
pub mod http;
/// Files of contacts and appointments, taken in as they stream by.
pub mod import;
/// Setting up channels: checked, sealed, tried out.
pub mod integrations;
/// Request bodies: strict JSON, and serde's complaints as pointer, code and sentence.
pub mod json;
/// One lane in memory: what waits, what is under way, whether the next call may start.
pub mod lane;
/// THE entrance: a request becomes notifications, or is refused with every reason at once.
pub mod notify;
/// The words by which a person leaves a tenant's marketing.
pub mod opt_out;
/// Which channels exist, through which providers; the sandbox.
pub mod plugins;
/// Quiet hours: when marketing may go out.
pub mod quiet;
/// What happens after an attempt: a pure function.
pub mod retry;
/// Rhai, bounded: the only place that makes an engine.
pub mod script;
/// Scripts that decide: segments, campaigns, routes. Those that ship, their cases, what they may return.
pub mod scripts;
/// Contacts picked by a script, streamed past it in batches.
pub mod segment;
/// Which value of a setting holds, and who set it.
pub mod settings;
/// What a text costs as SMS.
pub mod sms;
/// What is known of people before somebody writes to them.
pub mod standing;
/// A notification's status and its legal moves.
pub mod status;
/// The store: every statement, and every difference between SQLite and PostgreSQL.
pub mod store;
/// Handlebars templates, the program's and tenants': strict about missing values, rendered within bounds.
pub mod template;
/// Tenants as sending sees them: settings, branches, opened channel accounts.
pub mod tenant;
/// The link by which a person leaves a tenant's marketing.
pub mod unsubscribe;
/// What tenants write in their own words: checked before it is stored, shown before it is sent.
pub mod wording;
/// The one task that writes what sending produces, in shared commits.
pub mod writer;

/// The command line.
pub mod cli;
/// The only place that asks the time.
pub mod clock;
/// The settings as types: defaults, then file, then variables; every fault at once.
pub mod config;
/// `recado demo`.
pub mod demo;
/// What can go wrong for a caller.
pub mod error;
/// Named points at which a debug build dies on request.
pub mod failpoint;
/// Words without case and accents.
pub mod fold;
/// What must hold for any bytes, for the fuzzers.
#[doc(hidden)]
pub mod fuzz;
/// Identifiers as types.
pub mod ids;
/// Tokens of the app's own sign-on.
pub mod jwt;
/// API keys and what they may do.
pub mod keys;
/// Threads with large stacks, for what tenants write.
mod pool;
/// The threads that the gateway works on.
pub mod runtime;
/// Secrets at rest.
pub mod secrets;
/// The nearest right word for a wrong one.
pub mod suggest;
/// Turns at what is costly, by tenant.
pub mod turns;
