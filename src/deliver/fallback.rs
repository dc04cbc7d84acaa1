//! Where a notification goes when this account or this channel does not deliver it.

use std::sync::Arc;

use plugin_api::{AddressKind, Hint};

use super::Engine;
use crate::store::notifications::Delivery;
use crate::tenant::{Account, Tenant};
use crate::writer::NextStep;

/// What another try may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// The channel's next account, then the next channel: the account is at fault, or may be.
    Account,
    /// The next channel: no account of this one could do it.
    Channel,
}

impl Around {
    /// A failure: what a provider will not bring to this person, another of its accounts must not try.
    pub fn after(hint: Option<Hint>) -> Self {
        match hint {
            Some(Hint::SuppressAddress | Hint::OnlyThisRecipient) => Self::Channel,
            Some(Hint::Misconfigured) | None => Self::Account,
        }
    }
}

impl Engine {
    /// The next account or channel that can be used now.
    pub fn next_step(&self, tenant: &Tenant, d: &Delivery, around: Around) -> Option<NextStep> {
        let branch = d.branch.as_deref();
        let sibling = (around == Around::Account).then(|| tenant.account_after(&d.channel, branch, &d.lane)).flatten();
        if let Some(account) = sibling {
            return self.step(d, d.step, &d.channel, account);
        }
        (d.step + 1..d.chain.len()).find_map(|step| {
            let channel = &d.chain[step].channel;
            self.step(d, step, channel, tenant.account(channel, branch)?)
        })
    }

    fn step(&self, d: &Delivery, step: usize, channel: &str, account: &Account) -> Option<NextStep> {
        let address = d.recipient.address(account.address);
        let reachable = account.address == AddressKind::None || address.is_some();
        (reachable && self.config.load().channel(channel).enabled).then(|| NextStep {
            step,
            channel: channel.into(),
            address: address.map(Into::into),
            lane: Arc::clone(&account.lane),
        })
    }
}
