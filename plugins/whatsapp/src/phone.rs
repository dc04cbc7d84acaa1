//! Numbers as WhatsApp writes them. Three countries have two spellings of one mobile number, and a `wa_id` shows
//! whichever the person's WhatsApp account was made with; the gateway stores one.

use plugin_api::{Message, SendError};

/// E.164 in the gateway's spelling, from `5213331234567`, `+52…` or `whatsapp:+52…`. `None` for what is no number,
/// such as the user id that stands in for a hidden one.
pub(crate) fn e164(text: &str) -> Option<String> {
    let text = text.strip_prefix("whatsapp:").unwrap_or(text);
    let digits = text.strip_prefix('+').unwrap_or(text);
    if !(6..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(format!("+{}", canonical(digits)))
}

/// Whom a message is for: E.164 with the plus.
pub(crate) fn recipient(message: &Message) -> Result<&str, SendError> {
    let phone = message.recipient.phone.as_deref();
    phone.ok_or_else(|| SendError::rejected("no_address", "the recipient has no phone number"))
}

fn canonical(digits: &str) -> String {
    let rest = |prefix: &str, length: usize| digits.strip_prefix(prefix).filter(|rest| rest.len() == length);
    if let Some(rest) = rest("521", 10) {
        return format!("52{rest}");
    }
    if let Some(rest) = rest("549", 10) {
        return format!("54{rest}");
    }
    // Brazil's ninth digit: mobiles of eight began with 6 to 9, but 70 and 77 to 79 are trunked radio without one.
    match rest("55", 10).map(str::as_bytes) {
        Some([_, _, b'6' | b'8' | b'9', ..] | [_, _, b'7', b'1'..=b'6', ..]) => {
            format!("{}9{}", &digits[..4], &digits[4..])
        }
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::e164;

    #[test]
    fn both_spellings_are_one_number() {
        for (written, stored) in [
            ("5213331234567", "+523331234567"),
            ("523331234567", "+523331234567"),
            ("whatsapp:+5213331234567", "+523331234567"),
            ("5491123456789", "+541123456789"),
            ("551187654321", "+5511987654321"),
            ("+5511987654321", "+5511987654321"),
            ("551171654321", "+5511971654321"),
        ] {
            assert_eq!(e164(written).as_deref(), Some(stored), "{written}");
        }
    }

    #[test]
    fn other_numbers_stay_as_they_are() {
        for digits in ["34600123456", "12025550123", "551123456789", "551177654321", "551170654321", "521333"] {
            assert_eq!(e164(digits), Some(format!("+{digits}")));
        }
        for text in ["MX.1A2B3C", "", "+", "12345", "1234567890123456", "52 333 123 4567", "whatsapp:Salon"] {
            assert_eq!(e164(text), None, "{text}");
        }
    }
}
