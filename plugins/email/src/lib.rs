#![doc = include_str!("../README.md")]

mod account;
mod connection;
mod dial;
mod dkim;
mod hook;
mod mail;
mod parts;
mod pool;
mod proof;
mod reply;
mod report;
mod tls;
mod transaction;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use plugin_api::{
    Callback, Channel, Host, Manifest, Message, Plugin, Receipt, Received, Refused, SendError, Settings, SettingsError,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

use crate::account::Account;
use crate::pool::Pool;
use crate::transaction::Deadlines;

/// The e-mail channel.
pub fn plugin() -> Box<dyn Plugin> {
    Box::new(Email { manifest: manifest(), tls: OnceLock::new() })
}

/// The same, believing only certificates that lead to `roots`: for tests with a mail server of their own.
#[doc(hidden)]
pub fn plugin_trusting(roots: RootCertStore) -> Box<dyn Plugin> {
    Box::new(Email { manifest: manifest(), tls: OnceLock::from(tls::config(roots)) })
}

fn manifest() -> Manifest {
    Manifest::parse("plugins/email/plugin.toml", include_str!("../plugin.toml")).expect("plugin.toml is tested")
}

struct Email {
    manifest: Manifest,
    /// Made with the first account: reading the system's certificates takes a moment.
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Plugin for Email {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(&self, _provider: &str, settings: &Settings, host: &Host) -> Result<Arc<dyn Channel>, SettingsError> {
        let account = Account::new(settings, &host.guard)?;
        let tls = Arc::clone(self.tls.get_or_init(|| tls::config(tls::public_roots())));
        Ok(Arc::new(Smtp { account, host: host.clone(), tls, pool: Arc::default() }))
    }
}

/// One account: where to, who as, and the connections that are kept.
struct Smtp {
    account: Account,
    host: Host,
    tls: Arc<ClientConfig>,
    pool: Arc<Pool>,
}

/// RFC 5321 asks for ten minutes of patience after the final dot; tests shorten it with the time-out.
fn final_wait(timeout: Duration) -> Duration {
    (timeout * 20).min(Duration::from_mins(10))
}

#[async_trait]
impl Channel for Smtp {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let mail = mail::build(message, &self.account)?;
        let deadlines = Deadlines { before: Instant::now() + self.host.timeout, last: final_wait(self.host.timeout) };
        let mut connection = match self.pool.take() {
            Some(kept) => kept,
            None => dial::open(&self.account, &self.host, &self.tls, deadlines.before).await?,
        };
        // A future dropped half-way takes its connection along, so nothing half-said is ever reused.
        let outcome = transaction::deliver(&mut connection, &mail, &deadlines).await;
        self.pool.put(connection);
        outcome.map(|()| Receipt { message_id: Some(mail.message_id), ..Receipt::default() })
    }

    async fn check(&self) -> Result<String, String> {
        let deadline = Instant::now() + self.host.timeout;
        let says = |e: SendError| format!("{}: {}", self.account.endpoint(), account::cure(&e));
        let mut connection = dial::open(&self.account, &self.host, &self.tls, deadline).await.map_err(says)?;
        transaction::rehearse(&mut connection, &self.account.sender("check"), deadline).await.map_err(says)?;
        let signed_in = if self.account.login.is_some() { ", signed in" } else { "" };
        let signed = self.account.dkim.as_ref().map(|d| format!("; signed with {}", d.name())).unwrap_or_default();
        let (endpoint, security) = (self.account.endpoint(), connection.security());
        Ok(format!("{endpoint} takes mail from this sender ({security}{signed_in}){signed}"))
    }

    async fn receive(&self, callback: &Callback) -> Result<Received, Refused> {
        hook::receive(&self.account, callback)
    }
}
