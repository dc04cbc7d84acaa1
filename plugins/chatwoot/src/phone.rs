//! Three countries write one mobile number in two ways, and Chatwoot keeps whichever it first saw.

/// The forms under which the owner of an E.164 number may be stored, the given one first.
pub(crate) fn forms(phone: &str) -> Vec<String> {
    let mut forms = vec![phone.to_owned()];
    forms.extend(other_form(phone));
    forms
}

fn other_form(phone: &str) -> Option<String> {
    if let Some(national) = phone.strip_prefix("+52") {
        return with_or_without("+52", national, "1", 10);
    }
    if let Some(national) = phone.strip_prefix("+54") {
        return with_or_without("+54", national, "9", 10);
    }
    let national = phone.strip_prefix("+55")?;
    let (area, subscriber) = national.split_at_checked(2)?;
    // Brazil's ninth digit: mobile numbers of eight digits began with 6 to 9, landlines begin lower.
    match (subscriber.len(), subscriber.as_bytes().first()?) {
        (9, b'9') => Some(format!("+55{area}{}", &subscriber[1..])),
        (8, b'6'..=b'9') => Some(format!("+55{area}9{subscriber}")),
        _ => None,
    }
}

/// Mexico's 1 and Argentina's 9 stand between country and national number, or are left out.
fn with_or_without(country: &str, national: &str, mark: &str, digits: usize) -> Option<String> {
    match national.strip_prefix(mark) {
        Some(rest) if rest.len() == digits => Some(format!("{country}{rest}")),
        _ if national.len() == digits => Some(format!("{country}{mark}{national}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::forms;

    #[test]
    fn both_forms_of_a_number_lead_to_each_other() {
        for (a, b) in [
            ("+523331234567", "+5213331234567"),
            ("+541123456789", "+5491123456789"),
            ("+5511987654321", "+551187654321"),
        ] {
            assert_eq!(forms(a), [a, b]);
            assert_eq!(forms(b), [b, a]);
        }
    }

    #[test]
    fn other_numbers_have_one_form() {
        for phone in ["+34600123456", "+12025550123", "+551123456789", "+52333", "+55", "+5"] {
            assert_eq!(forms(phone), [phone]);
        }
    }
}
