//! Rules for the values of approved forms, the same at Meta and at Twilio, which hands them on to Meta.

use std::borrow::Cow;

use plugin_api::SendError;

/// A value as a form takes it: without line breaks and tabs, and with at most four spaces in a row.
pub(crate) fn value(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control()) && !text.contains("     ") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut spaces = 0;
    for c in text.replace("\r\n", "\n").chars().map(|c| if c.is_control() { ' ' } else { c }) {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces <= 4 {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A form that the provider would refuse; `what` completes "the approved form …".
pub(crate) fn unusable(what: &str) -> SendError {
    SendError::rejected("form_invalid", format!("the approved form {what}"))
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_stay_on_one_line() {
        assert_eq!(value("Corte y   tinte"), "Corte y   tinte");
        assert_eq!(value("Av. Juárez 10\r\nCentro\t3"), "Av. Juárez 10 Centro 3");
        assert_eq!(value("a        b"), "a    b");
    }
}
