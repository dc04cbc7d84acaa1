//! The suite has teeth: each kind of careless channel is found out by name.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use plugin_api::conformance::{HttpDouble, HttpHarness, manifest_faults, run};
use plugin_api::http::{Http, Url};
use plugin_api::{Channel, Failure, Host, Manifest, Message, Plugin, Receipt, SendError, Settings, SettingsError};
use serde_json::json;

const MANIFEST: &str = r#"
channel = "test"
title = "Test"
address = "phone"
[[provider]]
name = "test"
[[provider.settings]]
name = "url"
kind = "url"
required = true
help = "Where."
[[provider.settings]]
name = "token"
kind = "secret"
help = "Which."
"#;

#[derive(Clone, Copy, PartialEq)]
enum Vice {
    None,
    TriesAgain,
    TellsTheToken,
    TellsTheNumber,
    CallsThemAllRefused,
    SaysNothingOfOddAnswers,
    ChecksByWriting,
    CallsWhatBrokeUnsent,
}

struct Test(Manifest, Vice);

struct Account {
    http: Http,
    url: Url,
    token: String,
    vice: Vice,
}

impl Plugin for Test {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn open(&self, _: &str, settings: &Settings, host: &Host) -> Result<Arc<dyn Channel>, SettingsError> {
        let text = |name: &str| settings.0[name].as_str().unwrap().to_owned();
        let url = Url::parse(&text("url")).unwrap();
        Ok(Arc::new(Account { http: host.http.clone(), url, token: text("token"), vice: self.1 }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let mut answer = self.http.post(&self.url).json(&message.text).send().await;
        if self.vice == Vice::TriesAgain && answer.as_ref().is_ok_and(|a| a.status == 500) {
            answer = self.http.post(&self.url).json(&message.text).send().await;
        }
        let answer = answer.map_err(|e| match self.vice {
            Vice::CallsWhatBrokeUnsent => SendError { failure: Failure::NotSent, ..e },
            _ => e,
        })?;
        answer.outcome().map_err(|mut e| {
            match self.vice {
                Vice::TellsTheToken => e.detail = format!("{} did not work", self.token),
                Vice::TellsTheNumber => e.detail = format!("no such number: {:?}", message.recipient.phone),
                Vice::CallsThemAllRefused => e.failure = Failure::Rejected,
                _ => {}
            }
            e
        })?;
        let odd = !answer.complete && self.vice != Vice::SaysNothingOfOddAnswers;
        Ok(Receipt { note: odd.then(|| "cut".to_owned()), ..Receipt::default() })
    }

    async fn check(&self) -> Result<String, String> {
        let request =
            if self.vice == Vice::ChecksByWriting { self.http.post(&self.url) } else { self.http.get(&self.url) };
        let answer = request.send().await.map_err(|e| e.detail)?;
        answer.outcome().map(|()| "works".to_owned()).map_err(|e| e.detail)
    }
}

async fn try_with(vice: Vice) {
    let plugin = Box::new(Test(Manifest::parse("test", MANIFEST).unwrap(), vice));
    let settings = |at: SocketAddr| {
        [("url".to_owned(), json!(format!("http://{at}/"))), ("token".to_owned(), json!("token-canary"))]
            .into_iter()
            .collect()
    };
    run(&HttpHarness::new(plugin, "test", HttpDouble::start().await, settings)).await;
}

#[tokio::test]
async fn a_careful_channel_conforms() {
    try_with(Vice::None).await;
}

#[tokio::test]
#[should_panic(expected = "ServerError(500): made 2 calls instead of one")]
async fn a_second_try_is_found() {
    try_with(Vice::TriesAgain).await;
}

#[tokio::test]
#[should_panic(expected = "gives away a secret")]
async fn a_secret_in_an_error_is_found() {
    try_with(Vice::TellsTheToken).await;
}

#[tokio::test]
#[should_panic(expected = "gives away a secret")]
async fn an_address_in_an_error_is_found() {
    try_with(Vice::TellsTheNumber).await;
}

#[tokio::test]
#[should_panic(expected = "must be Throttled, was Rejected")]
async fn a_wrong_outcome_is_found() {
    try_with(Vice::CallsThemAllRefused).await;
}

#[tokio::test]
#[should_panic(expected = "CutBody: needs a note")]
async fn an_unflagged_cut_is_found() {
    try_with(Vice::SaysNothingOfOddAnswers).await;
}

#[tokio::test]
#[should_panic(expected = "check makes no message")]
async fn a_check_that_writes_is_found() {
    try_with(Vice::ChecksByWriting).await;
}

#[tokio::test]
#[should_panic(expected = "F11 a reset inside the request: must be Unknown, was NotSent")]
async fn a_broken_connection_taken_lightly_is_found() {
    try_with(Vice::CallsWhatBrokeUnsent).await;
}

#[test]
fn faults_of_a_manifest_are_named() {
    let faults = |from: &str, to: &str| manifest_faults(&Manifest::parse("test", &MANIFEST.replace(from, to)).unwrap());
    assert!(faults("", "").is_empty());
    assert!(faults("\"url\"\nkind", "\"base_url\"\nkind")[0].contains("camelCase"));
    assert!(faults("kind = \"secret\"", "kind = \"text\"")[0].contains("sounds secret"));
    assert!(faults("help = \"Which.\"", "default = 7\nhelp = \"Which.\"")[0].contains("own default"));
    assert!(faults("channel = \"test\"", "channel = \"Test\"")[0].contains("lower-case"));
}
