//! B33 to B42: phones, mail addresses, names and headers.

use super::*;

async fn refuses_phones(door: &Door, phones: &[&str], code: &str) {
    for phone in phones {
        door.refuses(json!({"to": {"phone": phone}}), "validation", "/to/phone", code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b33_a_national_number_needs_a_country() {
    let door = Door::open().await;
    // A country without a numbering plan stands for none.
    door.shop.change(json!({"country": "AQ"})).await;
    refuses_phones(&door, &["3331234567"], "phone").await;
    door.shop.change(json!({"country": "MX"})).await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b34_two_spellings_of_one_number_are_one_person() {
    let door = Door::open().await;
    for phone in ["+52 1 33 3123 4567", "+523331234567", "(33) 3123-4567"] {
        let body = with(json!({"to": {"phone": phone}, "dedupeKey": "once"}));
        let answer = door.notify(&body).await.expect(202);
        assert_eq!(answer["notifications"][0]["recipient"]["phone"], "+523331234567");
    }
    door.app.deliver_due().await;
    assert_eq!(door.shop.captured().await.len(), 1);
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b35_numbers_have_a_shape() {
    let door = Door::open().await;
    let phones = ["+1", "+0000000000", "+1234567890123456", "++523331234567", "", "+", "+52 33"];
    refuses_phones(&door, &phones, "phone").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b36_letters_and_extensions_are_no_part_of_a_number() {
    let door = Door::open().await;
    for phone in ["+52-333-CALL-NOW", "tel:+523331234567;ext=9", "+52 33 3123 4567 ext 9", "3331234567x9"] {
        let detail = door.refuses(json!({"to": {"phone": phone}}), "validation", "/to/phone", "phone").await;
        assert!(detail.contains("letters or extension"), "{phone}: {detail}");
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b37_digits_are_ascii_and_nothing_hides_between_them() {
    let door = Door::open().await;
    let phones =
        ["٣٣٣١٢٣٤٥٦٧", "３３３１２３４５６７", "333\u{200b}1234567", "333\u{202e}1234567", "+52\u{a0}3331234567"];
    refuses_phones(&door, &phones, "phone").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b38_numbers_nobody_should_message_are_refused() {
    let door = Door::open().await;
    refuses_phones(&door, &["+19005551234", "911", "066"], "phone_not_allowed").await;
    door.shop.change(json!({"allowedCountries": ["MX"]})).await;
    refuses_phones(&door, &["+34612345678", "+12125551234"], "phone_not_allowed").await;
    door.still_works().await;
}

async fn refuses_mails(door: &Door, mails: &[&str]) {
    for mail in mails {
        let body = json!({"channel": "email", "to": {"email": mail}});
        door.refuses(body, "validation", "/to/email", "email").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b39_one_mail_address_is_one_address() {
    let door = Door::open().await;
    refuses_mails(
        &door,
        &["a@x.example\r\nBcc: e@x.example", "a@x.example, b@x.example", "a@x.example\0", "<a@x.example>"],
    )
    .await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b40_mail_addresses_have_a_shape() {
    let door = Door::open().await;
    let long_local = format!("{}@x.example", "a".repeat(65));
    let long = format!("a@{}.example", vec!["b".repeat(60); 5].join("."));
    let mails = ["a..b@x.example", "@x.example", "a@x", "a@[127.0.0.1]", "a@", "", ".a@x.example", &long_local, &long];
    refuses_mails(&door, &mails).await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_names_and_subjects_stay_on_one_line() {
    let door = Door::open().await;
    for evil in ["Ana\r\nBcc: e@x.example", "Ana\nX", "Ana\rX", "Ana\0"] {
        let to = json!({"phone": "3312345678", "name": evil});
        door.refuses(json!({"to": to}), "validation", "/to/name", "control_characters").await;
        let mut body = without("message");
        body["content"] = json!({"subject": evil, "text": "Hola"});
        door.notify(&body).await.has_fault("validation", "/content/subject", "control_characters");
        let to = json!({"phone": "3312345678", "externalId": evil});
        door.refuses(json!({"to": to}), "validation", "/to/externalId", "control_characters").await;
        for id in ["appointmentId", "dedupeKey"] {
            door.refuses(json!({id: evil}), "validation", &format!("/{id}"), "control_characters").await;
        }
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_a_subject_that_breaks_when_it_is_rendered_ends_as_failed() {
    let door = Door::open().await;
    let body = json!({
        "type": "appointment_reminder", "channel": "email", "to": {"email": "ana@x.example"},
        "data": {"appointmentDate": "mañana\r\nBcc: e@x.example"},
    });
    let id = door.shop.send(&body).await;
    door.app.deliver_due().await;
    let found = door.shop.find(&id).await;
    assert_eq!((found["status"].as_str(), found["reason"].as_str()), (Some("failed"), Some("control_characters")));
    assert!(door.shop.captured().await.is_empty());
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b42_only_harmless_headers_may_be_added() {
    let door = Door::open().await;
    for name in ["X-A\r\nBcc", "Bcc", "Received", "DKIM-Signature", "From", ""] {
        let mut body = without("message");
        body["channel"] = json!("email");
        body["to"] = json!({"email": "ana@x.example"});
        body["content"] = json!({"subject": "Hola", "text": "Hola", "headers": {name: "x"}});
        door.notify(&body).await.has_fault("validation", &format!("/content/headers/{name}"), "header_not_allowed");
        body["content"]["headers"] = json!({"X-Priority": "1\r\nBcc: e@x.example"});
        door.notify(&body).await.has_fault("validation", "/content/headers/X-Priority", "control_characters");
        body["content"]["headers"] = json!({"x-priority": "1"});
        door.notify(&body).await.expect(202);
    }
    door.still_works().await;
}
