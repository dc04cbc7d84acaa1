//! A notification's status, its legal moves, and the words for an attempt's outcome: one table each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for its `sendAt`.
    Scheduled,
    /// Waits for its lane, or for a retry.
    Queued,
    /// An attempt is open.
    Sending,
    /// The provider took it.
    Sent,
    Delivered,
    Read,
    /// The provider may or may not have taken it; not terminal.
    Unknown,
    Failed,
    Expired,
    /// The recipient must not be written to, or was told already.
    Suppressed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 11] = [
        Self::Scheduled,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Unknown,
        Self::Failed,
        Self::Expired,
        Self::Suppressed,
        Self::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing more will be sent. `sent` and `delivered` may still be reported further.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Queued | Self::Sending | Self::Unknown)
    }

    /// The legal moves. A terminal status never moves back; only a person's retry revives `failed`.
    pub fn may_become(self, next: Self) -> bool {
        use Status as S;
        match self {
            S::Scheduled => {
                matches!(next, S::Queued | S::Sending | S::Cancelled | S::Expired | S::Suppressed | S::Failed)
            }
            S::Queued => {
                matches!(
                    next,
                    S::Sending | S::Scheduled | S::Cancelled | S::Expired | S::Suppressed | S::Failed | S::Queued
                )
            }
            S::Sending => matches!(next, S::Sent | S::Queued | S::Unknown | S::Failed | S::Expired),
            S::Unknown => {
                matches!(
                    next,
                    S::Sending | S::Queued | S::Sent | S::Delivered | S::Read | S::Failed | S::Expired | S::Unknown
                )
            }
            S::Sent => matches!(next, S::Delivered | S::Read | S::Failed),
            S::Delivered => matches!(next, S::Read),
            S::Failed => matches!(next, S::Queued),
            S::Read | S::Expired | S::Suppressed | S::Cancelled => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or(())
    }
}

/// What became of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No byte was written to the provider.
    NotSent,
    Accepted,
    /// A permanent refusal.
    Rejected,
    /// Certainly not accepted, but later it may be.
    Throttled,
    /// A byte was written and no trustworthy answer came.
    Unknown,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Throttled => "throttled",
            Self::Unknown => "unknown",
        }
    }
}

impl From<plugin_api::Failure> for Outcome {
    fn from(failure: plugin_api::Failure) -> Self {
        match failure {
            plugin_api::Failure::NotSent => Self::NotSent,
            plugin_api::Failure::Rejected => Self::Rejected,
            plugin_api::Failure::Throttled => Self::Throttled,
            plugin_api::Failure::Unknown => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// About something the person asked for.
    #[default]
    Transactional,
    /// Opt-outs, quiet hours and caps apply.
    Marketing,
}

impl Category {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Marketing => "marketing",
        }
    }

    /// Transactional goes first within a lane.
    pub fn priority(self) -> i64 {
        match self {
            Self::Transactional => 0,
            Self::Marketing => 1,
        }
    }
}
