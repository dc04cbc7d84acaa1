//! The words by which a person takes themselves off a tenant's marketing, written to a channel that has no button for
//! it. It is what the link of an e-mail does: notices about appointments still come, so a confirmation can as well.
//! "Cancelar" is not among them: it is about an appointment.

use std::sync::Arc;

use crate::app::App;
use crate::error::Result;
use crate::fold::fold;
use crate::hook::Hook;
use crate::json::OneOrMany;
use crate::notify::{self, NotifyRequest, To};
use crate::tenant::Tenant;

const WORDS: [&str; 3] = ["baja", "alto", "stop"];
const CHANNELS: [&str; 2] = ["sms", "whatsapp"];

/// Both fit into one SMS of GSM-7.
const SPANISH: &str = "Listo: ya no recibe promociones. Los avisos de sus citas siguen llegando.";
const ENGLISH: &str = "Done: you get no more promotions. Notices about your appointments still arrive.";

/// Whether what somebody wrote is one of the words and nothing else, however it is spelt and whatever stands around it.
pub fn is_meant(channel: &str, text: &str) -> bool {
    let folded = fold(text);
    CHANNELS.contains(&channel) && WORDS.contains(&folded.trim_matches(|c: char| !c.is_alphanumeric()))
}

/// Tells the person, on the channel they wrote on, and once however often they write.
pub async fn confirm(app: &App, tenant: &Arc<Tenant>, hook: &Hook, phone: String) -> Result<()> {
    let branch = Some(hook.branch.clone()).filter(|branch| !branch.is_empty());
    let spanish = !tenant.levels(branch.as_deref()).locale(&tenant.platform).value.starts_with("en");
    let to = To { phone: Some(phone), ..To::default() };
    let request = NotifyRequest {
        kind: "unsubscribed".into(),
        message: Some(if spanish { SPANISH } else { ENGLISH }.into()),
        dedupe_key: Some("unsubscribed".into()),
        ..NotifyRequest::test_message(hook.channel.clone(), branch, OneOrMany::One(to))
    };
    let draft = notify::draft(app, tenant, request).await?;
    notify::submit(app, tenant, draft, None).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_meant_however_it_is_written() {
        for text in ["BAJA", "baja", " Alto. ", "¡STOP!", "*stop*", "\"Baja\"\n", "bája", "🛑 STOP 🛑"] {
            assert!(is_meant("sms", text) && is_meant("whatsapp", text) && !is_meant("chatwoot", text), "{text}");
        }
    }

    #[test]
    fn anything_more_or_else_is_left_to_people() {
        for text in
            ["", "!", "cancelar", "CANCEL", "no", "dar de baja", "baja por favor", "stop it", "alto ahí", "bajar", "1"]
        {
            assert!(!is_meant("sms", text), "{text}");
        }
    }

    #[test]
    fn the_answer_fits_one_plain_sms() {
        for text in [SPANISH, ENGLISH] {
            let cost = crate::sms::segments(text);
            assert_eq!((cost.encoding, cost.segments), ("GSM-7", 1));
        }
    }
}
