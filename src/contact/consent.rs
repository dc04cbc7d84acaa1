//! What a person agreed to or refused, and what follows from it for one message.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Rules;
use crate::address;
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::status::Category;

/// Every channel there is.
pub const ALL: &str = "all";

/// One word of a person about one channel (or all) and one kind of message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consent {
    /// A channel, or `all`.
    pub channel: String,
    pub category: Category,
    /// Agreed (true) or refused (false).
    pub granted: bool,
    /// When the person said so.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Where it was said: a form, a reply, a person at the desk.
    pub source: String,
}

/// As [`Consent`], from outside.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsentBody {
    /// A channel; absent: `all` of them.
    pub channel: Option<String>,
    /// Absent: `marketing`.
    pub category: Option<Category>,
    /// Agreed (true) or refused (false).
    pub granted: bool,
    /// When the person said so; absent: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// Where it was said; absent: `api`.
    pub source: Option<String>,
}

/// Clocks differ a little.
const GRACE_MS: i64 = 300_000;

impl ConsentBody {
    pub(super) fn check(self, pointer: &str, rules: &Rules<'_>, faults: &mut Vec<Fault>) -> Option<Consent> {
        let before = faults.len();
        let channel = self.channel.unwrap_or_else(|| ALL.to_owned());
        if channel != ALL {
            faults.extend(rules.tenant.channels.unless_known(&channel, || format!("{pointer}/channel")));
        }
        let at = self.at.unwrap_or(rules.now);
        if at.0 > rules.now.0 + GRACE_MS || at.0 < 0 {
            faults.push(Fault::new(format!("{pointer}/at"), "out_of_range", "must not be in the future"));
        }
        let source = match address::line(self.source.as_deref().unwrap_or("api"), "the source", 100) {
            Ok(source) => source,
            Err(e) => {
                faults.push(Fault::new(format!("{pointer}/source"), e.code, e.detail));
                return None;
            }
        };
        let category = self.category.unwrap_or(Category::Marketing);
        (faults.len() == before).then_some(Consent { channel, category, granted: self.granted, at, source })
    }
}

/// Takes a consent among those that hold, unless a later one does; false when it was known already.
pub(super) fn note(current: &mut Vec<Consent>, new: &Consent) -> bool {
    let same = current.iter_mut().find(|c| c.channel == new.channel && c.category == new.category);
    match same {
        Some(known) if known == new => return false,
        Some(known) if known.at <= new.at => *known = new.clone(),
        Some(_) => {}
        None => current.push(new.clone()),
    }
    true
}

/// What a person's consents say about a message of this category on this channel: the later of what they said about
/// the channel and about all channels, nothing when they never said anything.
pub fn allows(consents: &[Consent], channel: &str, category: Category) -> Option<bool> {
    let about = consents.iter().filter(|c| c.category == category && (c.channel == channel || c.channel == ALL));
    // Said at the same moment, a refusal counts.
    about.max_by_key(|c| (c.at, !c.granted)).map(|c| c.granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(channel: &str, granted: bool, at: i64) -> Consent {
        let source = "form".to_owned();
        Consent { channel: channel.into(), category: Category::Marketing, granted, at: Timestamp(at), source }
    }

    #[test]
    fn the_last_word_counts_whether_about_the_channel_or_all() {
        let marketing = |consents: &[Consent], channel| allows(consents, channel, Category::Marketing);
        assert_eq!(marketing(&[], "sms"), None);
        let all_then_sms = [said("all", true, 1), said("sms", false, 2)];
        assert_eq!((marketing(&all_then_sms, "sms"), marketing(&all_then_sms, "email")), (Some(false), Some(true)));
        let sms_then_none = [said("sms", true, 1), said("all", false, 2)];
        assert_eq!(marketing(&sms_then_none, "sms"), Some(false));
        let at_once = [said("sms", true, 1), said("all", false, 1)];
        assert_eq!(marketing(&at_once, "sms"), Some(false));
        assert_eq!(allows(&at_once, "sms", Category::Transactional), None);
    }

    #[test]
    fn what_was_said_earlier_is_history_and_what_is_known_is_not_repeated() {
        let mut current = vec![said("sms", false, 5)];
        assert!(note(&mut current, &said("sms", true, 3)), "it happened");
        assert_eq!(current, [said("sms", false, 5)], "but it holds no more");
        assert!(!note(&mut current, &said("sms", false, 5)));
        assert!(note(&mut current, &said("sms", true, 6)));
        assert_eq!(current, [said("sms", true, 6)]);
    }
}
