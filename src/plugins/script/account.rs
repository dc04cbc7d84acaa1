//! One opened account of a channel that a script describes.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use plugin_api::http::Answer;
use plugin_api::{
    AddressKind, Callback, Channel, Failure, Hint, Host, Message, Receipt, Received, Recipient, Refused, SendError,
    Settings, SettingsError,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

use super::hosts::Hosts;
use super::named::Named;
use super::outcome::{Said, is_verdict};
use super::request::{Request, Urls};
use super::{ScriptPlugin, Secret, events, split, view};
use crate::script::{Argument, Evaluation, Fields, Made, Script, ScriptError, Secrets};

pub(super) struct Account {
    script: Script,
    reads: Reads,
    /// Those that are no secrets, as the script sees them, `hookUrl` among them.
    settings: Made,
    secrets: Vec<Secret>,
    hosts: Hosts,
    urls: Urls,
    host: Host,
    /// For the message that `check` makes up.
    channel: String,
    address: AddressKind,
    /// What the script prints, where somebody wants to read it. Elsewhere it is dropped: it may hold anything.
    printed: Option<Mutex<Vec<String>>>,
}

/// Which fields of what they are given its functions read.
struct Reads {
    /// Of the message, `request`.
    asking: Named,
    /// Of the answer, `outcome`.
    answer: Named,
    /// Of the message, `outcome`.
    judging: Named,
}

/// What came of asking the script for a request.
pub(super) enum Asked {
    Request(Request),
    /// It refused the message.
    Refused(SendError),
}

impl Account {
    pub(super) fn new(
        plugin: &ScriptPlugin,
        script: Script,
        settings: &Settings,
        host: Host,
    ) -> Result<Self, SettingsError> {
        let manifest = &plugin.manifest;
        let (open, secrets) = split(&manifest.providers[0], settings);
        let hosts = Hosts::new(manifest, settings);
        for (name, value) in &secrets {
            // A secret that is an address (a chat's incoming webhook) is called as it stands, so it is judged here
            // as other addresses are when they are saved.
            let value = value.expose_secret();
            if !value.starts_with("https://") && !value.starts_with("http://") {
                continue;
            }
            let url = host.guard.check_text(value).map_err(|e| SettingsError::new(name, e.code, e.detail))?;
            if !hosts.allow(&url) {
                let detail = format!("must lead to {}", manifest.hosts.join(" or "));
                return Err(SettingsError::new(name, "host_not_allowed", detail));
            }
        }
        let (channel, address) = (manifest.channel.clone(), manifest.address);
        // Of all tenants' accounts of a plugin that ships, each has its turns.
        let script = script.for_whom(&Uuid::now_v7().to_string());
        let script = if plugin.uploaded { script.always_in_turn() } else { script };
        let read_by = |function, parameter| Named::by(&script, &plugin.source, function, parameter);
        let reads =
            Reads { asking: read_by("request", 0), answer: read_by("outcome", 0), judging: read_by("outcome", 1) };
        Ok(Self {
            script,
            reads,
            settings: Made::from(&Value::from(open)).with("hookUrl", host.hook_url.as_deref().into()),
            secrets,
            hosts,
            urls: Urls::new(Arc::clone(&host.guard)),
            host,
            channel,
            address,
            printed: None,
        })
    }

    /// Keeps what the script prints.
    pub(super) fn listening(self) -> Self {
        Self { printed: Some(Mutex::default()), ..self }
    }

    /// What was printed since the last time.
    pub(super) fn printed(&self) -> Vec<String> {
        self.printed
            .as_ref()
            .map(|p| std::mem::take(&mut *p.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    async fn run(
        &self,
        function: &'static str,
        arguments: impl Fn(&Secrets) -> Vec<Argument>,
        secrets: Secrets,
    ) -> Evaluation<Made> {
        let mut evaluation = self.script.call_at_once(function, arguments, secrets).await;
        if let Some(printed) = &self.printed {
            printed.lock().unwrap_or_else(PoisonError::into_inner).append(&mut evaluation.log);
        }
        evaluation
    }

    /// A fresh loan of the secrets.
    pub(super) fn loan(&self) -> Secrets {
        Secrets::lend(self.secrets.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// The settings, with placeholders for the secrets lent.
    fn settings(&self, secrets: &Secrets) -> Argument {
        let names = self.secrets.iter().map(|(name, _)| name);
        names.fold(self.settings.clone(), |all, name| all.with(name, secrets.placeholder(name).into())).into()
    }

    /// Calls a function that is given the settings, with a fresh loan of the secrets.
    async fn call(&self, function: &'static str, given: impl Fn() -> Option<Argument>) -> Evaluation<Made> {
        let arguments = |secrets: &Secrets| given().into_iter().chain([self.settings(secrets)]).collect();
        self.run(function, arguments, self.loan()).await
    }

    /// The request that the script wants made for a message, and the secrets lent for it.
    pub(super) async fn request(&self, message: impl Fn() -> Argument) -> Result<(Asked, Secrets), ScriptError> {
        let called = self.call("request", || Some(message())).await;
        let wrong = |detail: String| ScriptError::result(format!("request: {detail}"));
        let described = described(called.result?).map_err(wrong)?;
        if is_verdict(&described) {
            let verdict = Made::from(described).into_value().map_err(wrong)?;
            return match Said::read(verdict, false).map_err(wrong)? {
                Said::Failed(error) => Ok((Asked::Refused(error), called.secrets)),
                _ => Err(wrong("must return a request".to_owned())),
            };
        }
        let request = Request::read(described, &called.secrets, &self.urls).map_err(wrong)?;
        let asked = match request.allowed_by(&self.hosts) {
            Ok(()) => Asked::Request(request),
            Err(refused) => Asked::Refused(refused),
        };
        Ok((asked, called.secrets))
    }

    /// The request that the script wants made for a check; none when it leaves that to the host.
    pub(super) async fn check_request(&self) -> Result<Option<Asked>, ScriptError> {
        if !self.script.has("check") {
            return Ok(None);
        }
        let called = self.call("check", || None).await;
        let wrong = |detail: String| ScriptError::result(format!("check: {detail}"));
        let described = described(called.result?).map_err(wrong)?;
        let request = Request::read(described, &called.secrets, &self.urls).map_err(wrong)?;
        Ok(Some(match request.allowed_by(&self.hosts) {
            Ok(()) => Asked::Request(request),
            Err(refused) => Asked::Refused(refused),
        }))
    }

    /// What the script makes of an answer.
    async fn said(&self, response: impl Fn() -> Made, message: impl Fn() -> Argument) -> Result<Said, ScriptError> {
        let arguments = |_: &Secrets| vec![response().into(), message()];
        let called = self.run("outcome", arguments, Secrets::default()).await.result?;
        if called.is_nothing() {
            return Ok(Said::ByStatus);
        }
        let said = called.into_value().and_then(|value| Said::read(value, true));
        said.map_err(|detail| ScriptError::result(format!("outcome: {detail}")))
    }

    /// What the script makes of the answer to a check. The inner error is its problem with the account.
    pub(super) async fn checked(&self, response: Made) -> Result<Option<Result<String, String>>, ScriptError> {
        if !self.script.has("checked") {
            return Ok(None);
        }
        let called = self.run("checked", |_| vec![response.clone().into()], Secrets::default()).await;
        match called.result?.into_value().map_err(|what| ScriptError::result(format!("checked: {what}")))? {
            Value::Null => Ok(None),
            Value::String(fine) => Ok(Some(Ok(fine))),
            Value::Object(fields) if fields.len() == 1 && fields.get("problem").is_some_and(Value::is_string) => {
                Ok(Some(Err(fields["problem"].as_str().unwrap_or_default().to_owned())))
            }
            _ => Err(ScriptError::result("checked: must return a sentence, #{problem: \"…\"} or ()")),
        }
    }

    pub(super) async fn received(&self, callback: Value) -> Result<Result<Received, Refused>, ScriptError> {
        let called = self.call_hiding("receive", callback).await;
        let read = called.result?.into_value().and_then(events::read);
        read.map_err(|detail| ScriptError::result(format!("receive: {detail}")))
    }

    /// As [`Account::call`], with secrets in what is given turned into placeholders.
    async fn call_hiding(&self, function: &'static str, mut given: Value) -> Evaluation<Made> {
        let secrets = self.loan();
        view::hide(&mut given, &secrets);
        let given = Arc::new(given);
        self.run(function, |secrets| vec![(&given).into(), self.settings(secrets)], secrets).await
    }

    /// For people: without secrets, and without what is the recipient's.
    fn discreet(&self, text: &str, message: &Message) -> String {
        let covered = self.loan().cover(text);
        let mut private = vec![];
        let Message { recipient, subject, text, html, actions, data, .. } = message;
        let Recipient { contact_id, external_id, name, phone, email } = recipient;
        private.extend([contact_id, external_id, name, phone, email, subject, html].into_iter().flatten());
        private.push(text);
        private.extend(actions.iter().flat_map(|a| [&a.title, &a.value]));
        view::leaves(data, &mut private);
        private.into_iter().filter(|p| p.len() > 3 && p.len() <= covered.len()).fold(
            covered.clone(),
            |text, private| {
                if text.contains(private.as_str()) { text.replace(private.as_str(), "…") } else { text }
            },
        )
    }

    fn script_error(&self, e: &ScriptError, message: &Message) -> SendError {
        SendError::rejected(e.code, self.discreet(&format!("plugin.rhai: {e}"), message))
    }

    /// The answer to a request judged: by the script, and where it has nothing to say or fails by the status. `shown`
    /// is the message as the script sees it, and `secrets` those lent for the request.
    pub(super) async fn judge(
        &self,
        answer: &Answer,
        message: &Message,
        shown: impl Fn(&Named) -> Argument,
        secrets: &Secrets,
    ) -> Result<Receipt, SendError> {
        let status = answer.status;
        if (300..=399).contains(&status) {
            answer.outcome()?;
        }
        let said = if self.script.has("outcome") {
            let Reads { answer: read, judging, .. } = &self.reads;
            let message = || if judging.is_empty() { Made::nothing().into() } else { shown(judging) };
            self.said(|| view::response(answer, secrets, read), message).await
        } else {
            Ok(Said::ByStatus)
        };
        let (said, trouble) = match said {
            Ok(said) => (said, None),
            // An answer that a script can't read is still one: nothing that fails afterwards may make it a second call.
            Err(e) => (Said::ByStatus, Some(self.discreet(&format!("plugin.rhai: {e}"), message))),
        };
        let cut = (!answer.complete).then(|| "the answer was cut after its head".to_owned());
        match said {
            Said::ByStatus => answer.outcome().map_err(|mut e| {
                if let Some(trouble) = &trouble {
                    e.detail = format!("{}; {trouble}", e.detail);
                }
                e
            })?,
            Said::Accepted { id, note, remember } => {
                let note = cut.or_else(|| note.map(|n| self.discreet(&n, message)));
                return Ok(Receipt { message_id: id, http_status: Some(status), remember, note });
            }
            Said::Failed(mut e) => {
                if e.failure == Failure::Throttled && e.retry_after.is_none() {
                    e.retry_after = answer.retry_after();
                }
                e.detail = self.discreet(&e.detail, message);
                return Err(e.status(status));
            }
        }
        Ok(Receipt { http_status: Some(status), note: cut.or(trouble), ..Receipt::default() })
    }

    /// The request of a check, or the sentence that says why there is none.
    async fn wanted_check(&self) -> Result<(Request, bool), String> {
        let nobody = view::nobody(&self.channel, self.address);
        let said = |e: ScriptError| self.discreet(&format!("plugin.rhai: {e}"), &nobody);
        let (asked, own) = match self.check_request().await.map_err(said)? {
            Some(asked) => (asked, true),
            None => (
                self.request(|| view::message(&nobody, view::now(), &self.reads.asking).into()).await.map_err(said)?.0,
                false,
            ),
        };
        match asked {
            Asked::Request(request) if own => Ok((request, true)),
            Asked::Request(request) => Ok((request.into_options(), false)),
            Asked::Refused(e) => Err(self.discreet(&e.detail, &nobody)),
        }
    }
}

fn described(returned: Made) -> Result<Fields, String> {
    returned.into_fields().map_err(|_| "must return a request: #{url: \"https://…\", json: #{…}}".to_owned())
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let now = view::now();
        let shown = |read: &Named| view::message(message, now, read).into();
        match self.request(|| shown(&self.reads.asking)).await {
            Ok((Asked::Request(request), secrets)) => {
                let answer = request.send(&self.host.http).await?;
                self.judge(&answer, message, shown, &secrets).await
            }
            Ok((Asked::Refused(mut e), _)) => {
                e.detail = self.discreet(&e.detail, message);
                Err(e)
            }
            Err(e) => Err(self.script_error(&e, message)),
        }
    }

    async fn check(&self) -> Result<String, String> {
        let (request, own) = self.wanted_check().await?;
        let answer = request.send(&self.host.http).await.map_err(|e| format!("{}; check the settings", e.detail))?;
        let status = answer.status;
        if (300..=399).contains(&status) {
            return Err(format!("answers {status}, and redirects are not followed; set the final address"));
        }
        if !own {
            return Ok(format!("reachable, answered {status} to OPTIONS"));
        }
        let secrets = self.loan();
        let cover = |text: String| secrets.cover(&text);
        match self
            .checked(view::response(&answer, &secrets, &Named::all()))
            .await
            .map_err(|e| cover(format!("plugin.rhai: {e}")))?
        {
            Some(said) => said.map(cover).map_err(cover),
            None => match answer.outcome() {
                Ok(()) => Ok(format!("works, answered {status}")),
                Err(e) if e.hint == Some(Hint::Misconfigured) => Err(format!("{}; check the credentials", e.detail)),
                Err(e) => Err(e.detail),
            },
        }
    }

    async fn receive(&self, callback: &Callback) -> Result<Received, Refused> {
        if !self.script.has("receive") {
            return Err(Refused::Unsupported("this provider does not call back".into()));
        }
        let received = self.received(view::callback(callback)).await;
        received.unwrap_or_else(|e| {
            // Where it broke, not over what: the callback's content is a person's.
            let place = e.line.map(|line| format!(" in line {line}")).unwrap_or_default();
            Err(Refused::Malformed(format!("plugin.rhai could not read it: {}{place}", e.code)))
        })
    }
}
