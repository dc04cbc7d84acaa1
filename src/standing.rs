//! What is known of people before somebody writes to them: what they agreed to or refused, how they like to be written
//! to, and which of their addresses must be left alone.

use std::collections::HashMap;

use crate::contact::consent::allows;
use crate::contact::{Consent, Contact, Preferences};
use crate::content::Recipient;
use crate::error::Result;
use crate::status::Category;
use crate::store::Db;
use crate::store::contacts::{self, By, Found, Key};
use crate::store::suppressions::{self, Suppressed, spelling};
use crate::tenant::Tenant;

/// What a person's own word is called where it stopped a message.
pub const OPTED_OUT: &str = "opted_out";

/// One person, as of now.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// One word for the person, whichever of the addresses is used.
    pub person: String,
    pub preferences: Preferences,
    consents: Vec<Consent>,
    suppressed: Vec<Suppressed>,
}

impl Standing {
    /// Why nothing of this category may go to this address on this channel, if there is a reason.
    pub fn refusal(&self, channel: &str, address: Option<&str>, category: Category) -> Option<String> {
        let stopped = |s: &&Suppressed| {
            address.is_some_and(|address| s.address == spelling(address))
                && (s.category == "all" || s.category == category.as_str())
        };
        if let Some(stopped) = self.suppressed.iter().find(stopped) {
            return Some(stopped.reason.clone());
        }
        (allows(&self.consents, channel, category) == Some(false)).then(|| OPTED_OUT.to_owned())
    }
}

/// Looks these people up: two questions for all of them, none for tenants that know nobody and suppress nothing.
pub async fn look_up(db: &Db, tenant: &Tenant, recipients: &[&Recipient]) -> Result<Vec<Standing>> {
    let mut standings: Vec<Standing> =
        recipients.iter().map(|r| Standing { person: person(r), ..Standing::default() }).collect();
    if tenant.has_contacts {
        let mut known = by_id(db, tenant, recipients).await?;
        let mut found = by_address(db, tenant, recipients).await?;
        for (n, (standing, recipient)) in standings.iter_mut().zip(recipients).enumerate() {
            let id = recipient.contact_id.as_ref();
            if let Some(known) = id.and_then(|id| known.get_mut(id.as_str())) {
                if let Some(person) = &known.person {
                    standing.person.clone_from(person);
                }
                standing.preferences = known.preferences.clone();
                standing.consents.clone_from(&known.consents);
            } else if let Some(Found { contact, .. }) = found.remove(&(n as i64)) {
                standing.person = person_of(&contact).unwrap_or_else(|| person(recipient));
                standing.preferences = contact.preferences;
                standing.consents = contact.consents;
            }
        }
    }
    if tenant.has_suppressions {
        let addresses = recipients.iter().flat_map(|r| [&r.phone, &r.email]).flatten().map(String::as_str);
        let addresses: Vec<&str> = addresses.collect();
        let rows = suppressions::among(&db.pool, db.engine, &tenant.id, &addresses).await?;
        for (standing, recipient) in standings.iter_mut().zip(recipients) {
            let theirs = [&recipient.phone, &recipient.email].map(|a| a.as_deref().map(spelling));
            let own = |s: &&Suppressed| theirs.iter().flatten().any(|a| *a == s.address);
            standing.suppressed = rows.iter().filter(own).cloned().collect();
        }
    }
    Ok(standings)
}

async fn by_id(db: &Db, tenant: &Tenant, recipients: &[&Recipient]) -> Result<HashMap<String, contacts::Standing>> {
    let ids: Vec<&str> = recipients.iter().filter_map(|r| r.contact_id.as_deref()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = contacts::standings(&db.pool, db.engine, &tenant.id, &ids).await?;
    Ok(found.into_iter().map(|s| (s.id.to_string(), s)).collect())
}

/// Who was named by an address, or by the app's own id, is the contact that has it.
async fn by_address(db: &Db, tenant: &Tenant, recipients: &[&Recipient]) -> Result<HashMap<i64, Found>> {
    let inline = recipients.iter().enumerate().filter(|(_, r)| r.contact_id.is_none());
    let keys: Vec<Key<'_>> = inline
        .map(|(n, r)| Key {
            n: n as i64,
            external_id: r.external_id.as_deref(),
            phone: r.phone.as_deref(),
            email: r.email.as_deref().map(str::to_lowercase),
        })
        .collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let mut found: HashMap<i64, Found> = HashMap::new();
    for one in contacts::lookup(&db.pool, db.engine, &tenant.id, &keys).await? {
        if one.contact.erased_at.is_some() {
            continue;
        }
        let better = found.get(&one.n).is_none_or(|known| weight(one.by) > weight(known.by));
        if better {
            found.insert(one.n, one);
        }
    }
    Ok(found)
}

fn weight(by: By) -> u8 {
    match by {
        By::ExternalId => 2,
        By::Phone => 1,
        By::Email => 0,
    }
}

fn person(recipient: &Recipient) -> String {
    let email = recipient.email.as_deref().map(str::to_lowercase);
    let ids = [recipient.contact_id.clone(), recipient.external_id.clone()];
    [recipient.phone.clone(), email].into_iter().chain(ids).flatten().next().unwrap_or_default()
}

fn person_of(contact: &Contact) -> Option<String> {
    contact.phone.clone().or_else(|| contact.email.as_deref().map(str::to_lowercase))
}
