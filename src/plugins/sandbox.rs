//! The provider that captures instead of sending, for every channel. Some addresses play failures, so that an app's
//! developer can see each outcome without breaking anything.

use std::time::Duration;

use async_trait::async_trait;
use plugin_api::{AddressKind, Channel, Limits, Message, Provider, Receipt, SendError, Unknown};

pub const SANDBOX: &str = "sandbox";

pub(super) struct Sandbox {
    /// Which address of a recipient the channel writes to, and so which one plays.
    pub address: AddressKind,
}

/// The failure an address plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// `fail@sandbox.test`, phones ending in 0001: refused for good.
    Fail,
    /// `throttle@`, 0002: told to come back in 30 s.
    Throttle,
    /// `slow@`, 0003: taken after 3 s.
    Slow,
    /// `unknown@`, 0004: nobody can say.
    Unknown,
}

/// What this address plays, if anything.
pub fn play(phone: Option<&str>, email: Option<&str>) -> Option<Play> {
    let by_email = match email.and_then(|e| e.strip_suffix("@sandbox.test")) {
        Some("fail") => Some(Play::Fail),
        Some("throttle") => Some(Play::Throttle),
        Some("slow") => Some(Play::Slow),
        Some("unknown") => Some(Play::Unknown),
        _ => None,
    };
    by_email.or_else(|| {
        let phone = phone?;
        match phone.get(phone.len().checked_sub(4)?..)? {
            "0001" => Some(Play::Fail),
            "0002" => Some(Play::Throttle),
            "0003" => Some(Play::Slow),
            "0004" => Some(Play::Unknown),
            _ => None,
        }
    })
}

#[async_trait]
impl Channel for Sandbox {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let (phone, email) = (message.recipient.phone.as_deref(), message.recipient.email.as_deref());
        let played = match self.address {
            AddressKind::Phone => play(phone, None),
            AddressKind::Email => play(None, email),
            AddressKind::PhoneOrEmail => play(phone, email.filter(|_| phone.is_none())),
            AddressKind::None => play(phone, email),
        };
        match played {
            Some(Play::Fail) => return Err(SendError::rejected("sandbox_fail", "this address plays a refusal")),
            Some(Play::Throttle) => {
                let after = Duration::from_secs(30);
                return Err(SendError::throttled(Some(after), "sandbox_throttle", "this address plays a throttle"));
            }
            Some(Play::Unknown) => {
                return Err(SendError::unknown("sandbox_unknown", "this address plays a lost answer"));
            }
            Some(Play::Slow) => tokio::time::sleep(Duration::from_secs(3)).await,
            None => {}
        }
        Ok(Receipt { message_id: Some(format!("sandbox-{}-{}", message.id, message.attempt)), ..Receipt::default() })
    }

    async fn check(&self) -> Result<String, String> {
        Ok("the sandbox captures every message".into())
    }
}

/// The sandbox where the channel has no provider of its own yet.
pub(super) fn provider() -> Provider {
    Provider {
        name: SANDBOX.into(),
        subject: true,
        html: true,
        buttons: true,
        attachments: true,
        max_length: None,
        remembers: false,
        callbacks: false,
        inbound: false,
        window_hours: None,
        limits: Limits { concurrency: 32, rate_per_minute: None, call_seconds: None },
        unknown: Unknown::default(),
        idempotency: None,
        settings: Vec::new(),
    }
}

/// A sandbox that takes just what `real` would.
pub(super) fn like(real: &Provider) -> Provider {
    Provider {
        subject: real.subject,
        html: real.html,
        buttons: real.buttons,
        attachments: real.attachments,
        max_length: real.max_length,
        ..provider()
    }
}
