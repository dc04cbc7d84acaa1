#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn mx(text: &str) -> Result<String, AddressError> {
    phone(text, Some("MX"))
}

fn code<T: std::fmt::Debug>(result: Result<T, AddressError>) -> &'static str {
    result.unwrap_err().code
}

#[test]
fn a_national_number_is_read_with_the_default_country() {
    for (country, text, expected) in [
        ("MX", "33 1234 5678", "+523312345678"),
        ("MX", "3331234567", "+523331234567"),
        ("mx", "(33) 3123-4567", "+523331234567"),
        ("MX", "044 33 3123 4567", "+523331234567"),
        ("MX", "01 33 3123 4567", "+523331234567"),
        ("MX", "1 33 3123 4567", "+523331234567"),
        ("MX", "52 33 3123 4567", "+523331234567"),
        ("MX", "0052 33 3123 4567", "+523331234567"),
        ("AR", "011 15 2345-6789", "+541123456789"),
        ("AR", "11 2345-6789", "+541123456789"),
        ("BR", "11 98765-4321", "+5511987654321"),
        ("BR", "11 8765-4321", "+5511987654321"),
        ("BR", "011 98765-4321", "+5511987654321"),
        ("ES", "600 111 222", "+34600111222"),
        ("ES", "0034 600 111 222", "+34600111222"),
        ("US", "(202) 555-0123", "+12025550123"),
        ("US", "1 202 555 0123", "+12025550123"),
        ("GB", "07912 345678", "+447912345678"),
        ("IT", "02 3661 8300", "+390236618300"),
        ("CO", "300 123 4567", "+573001234567"),
        ("CL", "9 8765 4321", "+56987654321"),
        ("PE", "987 654 321", "+51987654321"),
    ] {
        assert_eq!(phone(text, Some(country)).as_deref(), Ok(expected), "{country} {text}");
    }
}

#[test]
fn an_international_number_needs_no_country() {
    for (text, expected) in [
        ("+523331234567", "+523331234567"),
        (" +52 33 3123 0001 ", "+523331230001"),
        ("+52 1 33 3123 4567", "+523331234567"),
        ("+5213331234567", "+523331234567"),
        ("+54 9 11 2345 6789", "+541123456789"),
        ("+54 11 15 2345 6789", "+541123456789"),
        ("+55 11 8765-4321", "+5511987654321"),
        ("+55 11 3765-4321", "+551137654321"),
        ("+44 (0)7912 345678", "+447912345678"),
        ("+34.600.111.222", "+34600111222"),
        ("+1 202 555 0123", "+12025550123"),
        ("+1 809 555 1234", "+18095551234"),
    ] {
        assert_eq!(phone(text, None).as_deref(), Ok(expected), "{text}");
        assert_eq!(mx(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn the_sandbox_numbers_are_accepted() {
    for last in 1..=4 {
        let number = format!("+52333123000{last}");
        assert_eq!(phone(&number, None), Ok(number.clone()));
    }
}

#[test]
fn a_national_number_without_a_known_country_is_refused() {
    assert_eq!(code(phone("3331234567", None)), "phone");
    assert_eq!(code(phone("3331234567", Some(""))), "phone");
    assert_eq!(code(phone("3331234567", Some("XX"))), "phone");
}

#[test]
fn what_is_no_number_is_refused() {
    for text in [
        "",
        " ",
        "+",
        "+1",
        "+52",
        "+0000000000",
        "+1234567890123456",
        "++523331234567",
        "+52+3331234567",
        "+520000000000",
        "+52333123456",
        "+5233312345678",
        "+13123456",
        "333123456",
        "33312345678901234567",
        "+999123456789",
        "_3331234567",
        "+52333123456\u{0}7",
        "33312345\r\n67",
    ] {
        assert_eq!(code(mx(text)), "phone", "{text:?}");
    }
}

#[test]
fn letters_and_extensions_are_refused_by_name() {
    for text in
        ["+52-333-CALL-NOW", "tel:+523331234567;ext=9", "+523331234567 ext 9", "+523331234567x9", "3331234567#9"]
    {
        let error = mx(text).unwrap_err();
        assert_eq!(error.code, "phone", "{text}");
        assert!(error.detail.contains("letters or extension"), "{text}: {error}");
    }
}

#[test]
fn only_ascii_digits_and_nothing_invisible() {
    for text in [
        "+٥٢٣٣٣١٢٣٤٥٦٧",
        "+\u{ff15}\u{ff12}3331234567",
        "+52333\u{200b}1234567",
        "+52\u{202e}3331234567",
        "\u{feff}+523331234567",
    ] {
        assert_eq!(code(mx(text)), "phone", "{text:?}");
    }
}

#[test]
fn premium_and_emergency_numbers_are_not_allowed() {
    for (text, country) in [
        ("+19005551234", None),
        ("911", None),
        ("911", Some("MX")),
        ("112", Some("ES")),
        ("900 555 1234", Some("US")),
        ("+979123456789", None),
        ("+34803123456", None),
    ] {
        assert_eq!(code(phone(text, country)), "phone_not_allowed", "{text}");
    }
}

#[test]
fn countries_outside_the_list_are_not_allowed() {
    let list = ["MX".to_owned(), "es".to_owned()];
    assert_eq!(allowed("+523331234567", &list), Ok(()));
    assert_eq!(allowed("+34600111222", &list), Ok(()));
    assert_eq!(code(allowed("+12025550123", &list)), "phone_not_allowed");
    assert_eq!(allowed("+12025550123", &[]), Ok(()));
}

#[test]
fn the_country_of_a_shared_code_is_told_by_the_number() {
    for (number, country) in [
        ("+523331234567", "MX"),
        ("+12025550123", "US"),
        ("+18095551234", "DO"),
        ("+14165550123", "CA"),
        ("+77011234567", "KZ"),
        ("+541123456789", "AR"),
    ] {
        assert_eq!(country_of(number).as_deref(), Some(country), "{number}");
    }
    assert_eq!(country_of("+0123"), None);
}

#[test]
fn all_spellings_of_a_person_name_the_same_set_with_the_canonical_first() {
    for spellings in
        [["+523331234567", "+5213331234567"], ["+541123456789", "+5491123456789"], ["+5511987654321", "+551187654321"]]
    {
        for one in spellings {
            assert_eq!(aliases(one), spellings);
        }
    }
    assert_eq!(aliases("+34600111222"), ["+34600111222"]);
    assert_eq!(aliases("+551137654321"), ["+551137654321"]);
}

#[test]
fn an_address_keeps_its_local_part_and_gets_an_ascii_domain() {
    for (text, expected) in [
        ("Ana.Lopez+x@Example.COM", "Ana.Lopez+x@example.com"),
        (" ana@x.example ", "ana@x.example"),
        ("ana@peña.example", "ana@xn--pea-8ma.example"),
        ("ana@XN--pea-8ma.example", "ana@xn--pea-8ma.example"),
        ("o'neill@mail.co.uk", "o'neill@mail.co.uk"),
    ] {
        assert_eq!(email(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_not_one_deliverable_address_is_refused() {
    let long_local = format!("{}@x.example", "a".repeat(65));
    let label = "b".repeat(60);
    let long = format!("{}@{label}.{label}.{label}.example", "a".repeat(64));
    for text in [
        "",
        "@",
        "a",
        "a@",
        "a..b@x.example",
        ".a@x.example",
        "a.@x.example",
        "@x.example",
        "a@x",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@①②⑦.⓪.⓪.①",
        "a@x..example",
        "a@-x.example",
        "a@x.example.",
        "a@x_y.example",
        "a b@x.example",
        "a@x.example, b@x.example",
        "a@x.example;b@x.example",
        "Ana <a@x.example>",
        "\"a b\"@x.example",
        "a@b@x.example",
        "a@x.example\r\nBcc: e@x.example",
        "a\u{0}@x.example",
        "josé@x.example",
        "a@x%2eexample.com",
        &long_local,
        &long,
    ] {
        assert_eq!(code(email(text)), "email", "{text:?}");
    }
}

#[test]
fn a_name_is_one_line() {
    assert_eq!(name("  Ana López ").as_deref(), Ok("Ana López"));
    for text in ["Ana\r\nBcc: x", "Ana\u{0}", "Ana\u{85}", "Ana\u{2028}", "Ana\n"] {
        assert_eq!(code(name(text)), "control_characters", "{text:?}");
    }
    assert_eq!(code(name(&"á".repeat(201))), "too_long");
    assert!(name(&"á".repeat(200)).is_ok());
}

proptest! {
    #[test]
    fn whatever_is_typed_is_answered_and_what_is_accepted_stays_as_it_is(text in "\\PC{0,20}", number in "[+]?[0-9 ()+-]{3,18}") {
        for text in [&text, &number] {
            if let Ok(found) = mx(text) {
                prop_assert_eq!(phone(&found, None), Ok(found.clone()));
                prop_assert_eq!(&aliases(&found)[0], &found);
                prop_assert!(country_of(&found).is_some());
            }
            for alias in aliases(text) {
                prop_assert_eq!(aliases(&alias), aliases(text));
            }
            if let Ok(found) = email(text) {
                prop_assert_eq!(email(&found), Ok(found.clone()));
            }
        }
    }

    #[test]
    fn an_accepted_address_has_one_at_and_a_dotted_domain(text in "[a-zA-Z.@+ñ,<\\-]{1,12}@[a-zA-Z.ñ\\[\\]0-9@-]{1,20}") {
        if let Ok(found) = email(&text) {
            let (_, domain) = found.split_once('@').unwrap();
            prop_assert!(found.is_ascii() && domain.contains('.') && !domain.contains('@') && !found.contains(".."));
            prop_assert_eq!(email(&found), Ok(found.clone()));
        }
    }
}
