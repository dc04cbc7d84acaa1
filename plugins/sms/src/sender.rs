//! Who a message comes from, told apart before the vendor does it with a worse sentence.

use plugin_api::SettingsError;

use crate::phone;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sender {
    /// E.164 with the plus.
    Number(String),
    ShortCode(String),
    /// At most eleven characters; nobody can answer it.
    Name(String),
}

impl Sender {
    /// Reads the setting `from`. Blanks and punctuation within a number are dropped.
    pub(crate) fn parse(text: &str) -> Result<Self, SettingsError> {
        let text = text.trim();
        let wrong = |code, detail: &str| Err(SettingsError::new("from", code, detail));
        if text.is_empty() {
            return wrong("required", "must not be empty");
        }
        if text.starts_with("whatsapp:") {
            return wrong("malformed", "is a WhatsApp sender; set it up on the channel whatsapp");
        }
        let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
        let digits = phone::without_plus(&number);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return match (number.starts_with('+'), digits.len()) {
                (false, 3..=8) => Ok(Self::ShortCode(number)),
                _ => match phone::e164(&number) {
                    Some(phone) => Ok(Self::Number(phone)),
                    None => wrong("malformed", "is not a number in international form such as +523331234567"),
                },
            };
        }
        if text.chars().count() > 11 {
            return wrong("too_long", "a name as sender has at most 11 characters");
        }
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || " &_-+".contains(c)) {
            return wrong(
                "malformed",
                "a name as sender holds letters without accents, digits, spaces and & _ - + only",
            );
        }
        Ok(Self::Name(text.to_owned()))
    }

    /// With the plus, where it is a number.
    pub(crate) fn as_str(&self) -> &str {
        let (Self::Number(text) | Self::ShortCode(text) | Self::Name(text)) = self;
        text
    }

    pub(crate) fn without_plus(&self) -> &str {
        match self {
            Self::Number(phone) => phone::without_plus(phone),
            Self::ShortCode(text) | Self::Name(text) => text,
        }
    }

    /// For people, after "sends as".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Number(phone) => phone.clone(),
            Self::ShortCode(code) => format!("short code {code}"),
            Self::Name(name) => format!("\"{name}\", which nobody can answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_codes_and_names_are_told_apart() {
        assert_eq!(Sender::parse("+52 (33) 3123-4567").unwrap(), Sender::Number("+523331234567".into()));
        assert_eq!(Sender::parse("523331234567").unwrap(), Sender::Number("+523331234567".into()));
        assert_eq!(Sender::parse("25252").unwrap(), Sender::ShortCode("25252".into()));
        assert_eq!(Sender::parse(" Salon Uno ").unwrap(), Sender::Name("Salon Uno".into()));
        assert_eq!(Sender::parse("+523331234567").unwrap().without_plus(), "523331234567");
    }

    #[test]
    fn what_no_vendor_takes_is_refused_with_its_cure() {
        for (text, code) in [
            ("", "required"),
            ("whatsapp:+15005550006", "malformed"),
            ("+12", "malformed"),
            ("1234567890123456", "malformed"),
            ("SalonNumeroUno", "too_long"),
            ("Salón", "malformed"),
        ] {
            let error = Sender::parse(text).unwrap_err();
            assert_eq!((error.setting.as_str(), error.code), ("from", code), "{text}");
        }
    }
}
