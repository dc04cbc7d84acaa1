//! E.164 with the plus on our side; two of the vendors leave it away.

/// The number with its plus, whether the vendor wrote one or not. `None` for what is no person's number: a short code,
/// a name, an address of another channel.
pub(crate) fn e164(text: &str) -> Option<String> {
    let digits = text.trim().strip_prefix('+').unwrap_or(text.trim());
    let plausible = (7..=15).contains(&digits.len()) && !digits.starts_with('0');
    (plausible && digits.bytes().all(|b| b.is_ascii_digit())).then(|| format!("+{digits}"))
}

/// The number as Vonage and Infobip want it.
pub(crate) fn without_plus(phone: &str) -> &str {
    phone.strip_prefix('+').unwrap_or(phone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_their_plus_and_the_rest_is_nobody() {
        for text in ["+523331234567", "523331234567", " 523331234567 "] {
            assert_eq!(e164(text).as_deref(), Some("+523331234567"));
        }
        for text in
            ["", "+", "25252", "SalonUno", "whatsapp:+523331234567", "0523331234567", "+5233312345678901", "++52333"]
        {
            assert_eq!(e164(text), None, "{text}");
        }
        assert_eq!(without_plus("+523331234567"), "523331234567");
    }
}
