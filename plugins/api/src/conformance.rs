//! What every channel must do, whoever wrote it: a plugin's tests hand a [`Harness`] to [`run`]. Beside it, a provider
//! double for HTTP and a proxy that breaks connections at a chosen point.

mod breaks;
mod contract;
mod double;
mod proxy;
mod suite;
mod tls;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::http::Http;
use crate::net::Guard;
use crate::{Action, Failure, Host, Message, Plugin, Recipient, Settings};

pub use crate::manifest::manifest_faults;
pub use breaks::NOBODY;
pub use contract::Contract;
pub use double::{HttpDouble, HttpHarness, Reply};
pub use proxy::{Cut, Fault, Proxy, Then};
pub use suite::run;
pub use tls::{Authority, Leaf};
pub use wire::Seen;

/// What a provider double can be told to do with the next requests that would make a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Accept,
    /// Refuses the message for good.
    Refuse,
    /// Refuses the account's credentials.
    Unauthorized,
    /// Asks to come back later, perhaps saying in how many seconds.
    Throttle(Option<u64>),
    /// Accepts, and then breaks with this status.
    ServerError(u16),
    /// Accepts, in an answer that means nothing.
    Rubbish,
    /// Accepts, and the connection ends inside the answer's body.
    CutBody,
    /// Reads the request, and the connection ends inside the answer's head.
    CutHead,
    /// Reads the request and says nothing.
    Silence,
    /// Sends the caller elsewhere.
    Redirect(u16),
}

/// What a channel must make of a [`Behaviour`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expected {
    Accepted,
    Fails(Failure),
    /// The provider cannot do this, and why.
    NotApplicable(&'static str),
}

impl Behaviour {
    pub const ALL: [Self; 16] = [
        Self::Accept,
        Self::Refuse,
        Self::Unauthorized,
        Self::Throttle(None),
        Self::Throttle(Some(120)),
        Self::ServerError(500),
        Self::ServerError(502),
        Self::ServerError(504),
        Self::Rubbish,
        Self::CutBody,
        Self::CutHead,
        Self::Silence,
        Self::Redirect(301),
        Self::Redirect(302),
        Self::Redirect(307),
        Self::Redirect(308),
    ];

    /// The message is made, whatever the caller gets to know of it.
    pub fn takes(self) -> bool {
        match self {
            Self::Accept | Self::ServerError(_) | Self::Rubbish | Self::CutBody | Self::CutHead | Self::Silence => true,
            Self::Refuse | Self::Unauthorized | Self::Throttle(_) | Self::Redirect(_) => false,
        }
    }

    /// What most channels must make of it.
    pub fn usual(self) -> Expected {
        match self {
            Self::Accept | Self::Rubbish | Self::CutBody => Expected::Accepted,
            Self::Refuse | Self::Unauthorized | Self::Redirect(_) => Expected::Fails(Failure::Rejected),
            Self::Throttle(_) => Expected::Fails(Failure::Throttled),
            Self::ServerError(_) | Self::CutHead | Self::Silence => Expected::Fails(Failure::Unknown),
        }
    }
}

/// A plugin together with a double of its provider.
pub trait Harness: Send + Sync {
    fn plugin(&self) -> &dyn Plugin;

    /// Which of the manifest's providers is tried.
    fn provider(&self) -> &str;

    /// Settings of an account whose provider listens at `at`.
    fn settings(&self, at: SocketAddr) -> Settings;

    /// Where the double listens.
    fn address(&self) -> SocketAddr;

    /// The double of a provider that speaks HTTP: its channel is tried behind the proxy as well.
    fn http(&self) -> Option<&HttpDouble> {
        None
    }

    /// Tells the double what to do from now on.
    fn behave(&self, behaviour: Behaviour);

    /// How many requests that would make a message the double has read so far.
    fn calls(&self) -> usize;

    /// How many messages it has taken so far.
    fn taken(&self) -> usize;

    fn message(&self) -> Message {
        sample_message(&self.plugin().manifest().channel)
    }

    fn expects(&self, behaviour: Behaviour) -> Expected {
        behaviour.usual()
    }

    /// `check` finds out that credentials are wrong.
    fn check_proves_credentials(&self) -> bool {
        true
    }
}

/// What the core would lend, with loopback allowed and calls as short as asked for.
pub fn loopback_host(timeout: Duration) -> Host {
    let guard = Arc::new(Guard {
        allow: vec!["127.0.0.0/8".parse().expect("a network")],
        allow_http: true,
        ..Guard::default()
    });
    Host {
        http: Http::new(Arc::clone(&guard), timeout),
        guard,
        timeout,
        hostname: "recado.example".into(),
        hook_url: None,
    }
}

/// A message with every part, whose texts are easy to find where they should not be.
pub fn sample_message(channel: &str) -> Message {
    let action = |title: &str, value: &str| Action { title: title.into(), value: value.into() };
    Message {
        id: "01930000-0000-7000-8000-000000000001".into(),
        kind: "appointment_reminder".into(),
        channel: channel.into(),
        recipient: Recipient {
            contact_id: Some("01930000-0000-7000-8000-0000000000c1".into()),
            external_id: Some("patient-77".into()),
            name: Some("Zoraida Quintanilla".into()),
            phone: Some("+5215512345678".into()),
            email: Some("zoraida@patients.example".into()),
        },
        subject: Some("Your visit, subject-canary".into()),
        text: "See you tomorrow at ten, text-canary.".into(),
        html: Some("<p>See you tomorrow, html-canary.</p>".into()),
        headers: vec![],
        actions: vec![action("Confirm", "confirm"), action("Move", "move")],
        attachments: vec![],
        data: Arc::new(serde_json::json!({"visit": {"room": "data-canary"}})),
        attempt: 1,
        memory: None,
        window_open: true,
        form: None,
        unsubscribe_url: None,
        began_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_250_800),
    }
}
