//! The checks themselves.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{Behaviour, Expected, Harness, loopback_host, manifest_faults};
use crate::{Channel, Failure, Hint, Host, Message, Receipt, SendError, Settings};

/// Long enough never to matter.
pub(super) const PATIENT: Duration = Duration::from_secs(20);
/// For what ends only by a time-out.
pub(super) const IMPATIENT: Duration = Duration::from_secs(1);

/// Runs every check, prints the list, and panics with all failures at once.
pub async fn run(harness: &dyn Harness) {
    let mut suite = Suite { harness, lines: vec![], faults: vec![], gives_ids: false.into() };
    suite.manifest();
    if suite.faults.is_empty() {
        suite.calls().await;
        suite.no_connection().await;
        suite.no_way().await;
        if let Some(double) = harness.http() {
            suite.breaks(double).await;
        }
        suite.check().await;
    }
    suite.print();
    assert!(suite.faults.is_empty(), "the channel does not conform:\n{}", suite.faults.join("\n"));
}

pub(super) struct Suite<'a> {
    pub(super) harness: &'a dyn Harness,
    lines: Vec<String>,
    faults: Vec<String>,
    /// A well-read answer of this provider holds the message's id.
    gives_ids: Cell<bool>,
}

impl Suite<'_> {
    pub(super) fn record(&mut self, what: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.lines.push(format!("ok    {what}")),
            Err(fault) => {
                self.lines.push(format!("FAIL  {what}: {fault}"));
                self.faults.push(format!("{what}: {fault}"));
            }
        }
    }

    fn manifest(&mut self) {
        let faults = manifest_faults(self.harness.plugin().manifest());
        self.record("the manifest is sane", ensure(faults.is_empty(), || faults.join("; ")));
        let opened = self.open(self.harness.address(), PATIENT).map(drop);
        self.record("the sample settings fit the manifest and open", opened);
    }

    async fn calls(&mut self) {
        for behaviour in Behaviour::ALL {
            let what = format!("{behaviour:?}");
            if let Expected::NotApplicable(why) = self.harness.expects(behaviour) {
                self.lines.push(format!("n/a   {what}: {why}"));
                continue;
            }
            let result = self.call(behaviour).await;
            self.record(&what, result);
        }
        self.harness.behave(Behaviour::Accept);
        let parallel = self.parallel().await;
        self.record("eight sends at once make eight messages", parallel);
    }

    /// One send, and then one more that must go well: a bad answer may not poison the channel.
    async fn call(&self, behaviour: Behaviour) -> Result<(), String> {
        let timeout = if behaviour == Behaviour::Silence { IMPATIENT } else { PATIENT };
        let channel = self.open(self.harness.address(), timeout)?;
        let message = self.harness.message();
        let (calls, taken) = (self.harness.calls(), self.harness.taken());
        self.harness.behave(behaviour);
        let outcome = channel.send(&message).await;
        let made = self.harness.calls() - calls;
        ensure(made == 1, || format!("made {made} calls instead of one"))?;
        self.judge(behaviour, &message, outcome)?;
        let (took, takes) = (self.harness.taken() - taken, usize::from(behaviour.takes()));
        ensure(took == takes, || format!("the provider took {took} messages instead of {takes}"))?;
        self.harness.behave(Behaviour::Accept);
        channel.send(&message).await.map(drop).map_err(|e| format!("the next message failed: {e}"))
    }

    pub(super) fn judge(
        &self,
        behaviour: Behaviour,
        message: &Message,
        outcome: Result<Receipt, SendError>,
    ) -> Result<(), String> {
        match (self.harness.expects(behaviour), outcome) {
            (Expected::NotApplicable(_), _) => Ok(()),
            (Expected::Accepted, Ok(receipt)) => self.flagged(behaviour, &receipt),
            (Expected::Accepted, Err(e)) => Err(format!("must be accepted, was {:?} ({e})", e.failure)),
            (Expected::Fails(failure), Ok(_)) => Err(format!("must be {failure:?}, was accepted")),
            (Expected::Fails(failure), Err(e)) => {
                ensure(e.failure == failure, || format!("must be {failure:?}, was {:?} ({e})", e.failure))?;
                self.is_discreet(message, &format!("{e} {e:?}"))?;
                details(behaviour, &e)
            }
        }
    }

    /// An acceptance in an odd answer is one, but the log should say that it was odd.
    fn flagged(&self, behaviour: Behaviour, receipt: &Receipt) -> Result<(), String> {
        match behaviour {
            Behaviour::Accept => {
                self.gives_ids.set(receipt.message_id.is_some());
                ensure(receipt.note.is_none(), || "a plain acceptance needs no note".to_owned())
            }
            Behaviour::Rubbish if !self.gives_ids.get() => Ok(()),
            Behaviour::Rubbish => {
                ensure(receipt.message_id.is_none() && receipt.note.is_some(), || "needs a note, and no id".to_owned())
            }
            _ => ensure(receipt.note.is_some(), || "needs a note".to_owned()),
        }
    }

    async fn parallel(&self) -> Result<(), String> {
        let channel = self.open(self.harness.address(), PATIENT)?;
        let calls = self.harness.calls();
        let messages: Vec<Message> =
            (0..8).map(|n| Message { id: format!("parallel-{n}"), ..self.harness.message() }).collect();
        for result in join_all(messages.iter().map(|m| channel.send(m))).await {
            result.map_err(|e| e.to_string())?;
        }
        let made = self.harness.calls() - calls;
        ensure(made == 8, || format!("made {made} calls"))
    }

    async fn no_connection(&mut self) {
        let result = async {
            let channel = self.open(closed_port().await, PATIENT)?;
            let message = self.harness.message();
            let error = channel.send(&message).await.err().ok_or("was accepted by nobody")?;
            ensure(error.failure == Failure::NotSent, || format!("must be NotSent, was {:?}", error.failure))?;
            self.is_discreet(&message, &format!("{error} {error:?}"))
        };
        let result = result.await;
        self.record("F12 a closed port is not_sent", result);
    }

    async fn check(&mut self) {
        let calls = self.harness.calls();
        let good = self
            .check_against(Behaviour::Accept)
            .await
            .and_then(|said| said.map(drop).map_err(|e| format!("a good account was refused: {e}")));
        self.record("check passes a good account", good);
        if self.harness.check_proves_credentials() {
            let bad = self.check_against(Behaviour::Unauthorized).await;
            let bad = bad.and_then(|said| ensure(said.is_err(), || "a wrong key passed".to_owned()));
            self.record("check finds wrong credentials", bad);
        }
        let nobody = async {
            let said = self.open(closed_port().await, PATIENT)?.check().await;
            let said = said.err().ok_or("passed although nobody listens")?;
            self.is_discreet(&self.harness.message(), &said)
        };
        let nobody = nobody.await;
        self.record("check finds that nobody listens", nobody);
        let made = self.harness.calls() - calls;
        self.record("check makes no message", ensure(made == 0, || format!("made {made}")));
    }

    async fn check_against(&self, behaviour: Behaviour) -> Result<Result<String, String>, String> {
        self.harness.behave(behaviour);
        let said = self.open(self.harness.address(), PATIENT)?.check().await;
        let (Ok(text) | Err(text)) = &said;
        self.is_discreet(&self.harness.message(), text)?;
        Ok(said)
    }

    /// Opens the account the way the core does: through the manifest's schema.
    pub(super) fn open(&self, at: SocketAddr, timeout: Duration) -> Result<Arc<dyn Channel>, String> {
        self.open_with(self.harness.settings(at), &loopback_host(timeout))
    }

    pub(super) fn open_with(&self, settings: Settings, host: &Host) -> Result<Arc<dyn Channel>, String> {
        let plugin = self.harness.plugin();
        let name = self.harness.provider();
        let provider = plugin.manifest().provider(name).ok_or("the manifest has no such provider")?;
        let settings = provider.flatten(settings).and_then(|flat| provider.validate(flat));
        let settings = settings.map_err(|e| format!("{e:?}"))?;
        plugin.open(name, &settings, host).map_err(|e| e.to_string())
    }

    /// The settings of an account at `at`, with a piece of every text in them replaced.
    pub(super) fn settings_with(&self, at: SocketAddr, from: &str, to: &str) -> Settings {
        let changed = |value: Value| match value {
            Value::String(text) => Value::String(text.replace(from, to)),
            other => other,
        };
        self.harness.settings(at).0.into_iter().map(|(name, value)| (name, changed(value))).collect()
    }

    /// No secret, address or content in what goes to logs and operators.
    pub(super) fn is_discreet(&self, message: &Message, said: &str) -> Result<(), String> {
        let provider = self.harness.plugin().manifest().provider(self.harness.provider());
        let settings = self.harness.settings(self.harness.address());
        let secrets = settings.0.iter().filter(|(name, _)| provider.is_some_and(|p| p.is_secret(name)));
        let secrets = secrets.filter_map(|(_, value)| value.as_str()).flat_map(str::split_whitespace);
        let to = &message.recipient;
        let private = [&to.name, &to.phone, &to.email, &message.subject, &message.html];
        let mut forbidden = private.into_iter().flatten().map(String::as_str).chain(secrets).chain([&*message.text]);
        let canary = |said: &str| {
            ["subject-canary", "text-canary", "html-canary", "data-canary"].iter().any(|c| said.contains(c))
        };
        let leak = forbidden.any(|text| text.len() > 3 && said.contains(text)) || canary(said);
        ensure(!leak, || format!("gives away a secret, an address or content: {said}"))
    }

    #[allow(clippy::print_stdout)] // The list of checks is the point of a test run with --nocapture.
    fn print(&self) {
        let manifest = self.harness.plugin().manifest();
        println!("{} through {}:", manifest.channel, self.harness.provider());
        for line in &self.lines {
            println!("  {line}");
        }
    }
}

/// What an error must say beyond its failure.
fn details(behaviour: Behaviour, e: &SendError) -> Result<(), String> {
    match behaviour {
        Behaviour::Throttle(asked) => {
            let asked = asked.map(Duration::from_secs);
            ensure(asked.is_none() || e.retry_after == asked, || format!("retry_after is {:?}", e.retry_after))
        }
        Behaviour::Unauthorized => {
            ensure(e.hint == Some(Hint::Misconfigured), || "must hint at Misconfigured".to_owned())
        }
        Behaviour::Redirect(_) => ensure(e.reason == "redirect_not_followed", || format!("reason is {}", e.reason)),
        _ => Ok(()),
    }
}

pub(super) fn ensure(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}

/// An address where nobody listens: a listener's own, after it is gone.
async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address")
}
