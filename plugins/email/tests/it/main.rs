//! The e-mail channel through its door, against a mail server that plays tricks and against a real one.
#![allow(clippy::unwrap_used)]

mod account;
mod check;
mod conforms;
mod dkim;
mod mail;
mod outcomes;
mod real_server;
mod reports;
mod reuse;
mod sink;
mod support;
mod tls;
