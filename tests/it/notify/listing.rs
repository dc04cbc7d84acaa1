//! Reading the log: filters, pages, one notification whole.

use super::*;

async fn found(shop: &Shop, query: &str) -> Vec<String> {
    let page = shop.get(&format!("/v1/notifications?{query}")).await.expect(200);
    texts(page["items"].as_array().unwrap(), "type")
}

on_each_store!(the_log_is_narrowed_by_each_filter, async |app: TestApp| {
    let shop = app.shop().await;
    let branch = shop.branch(json!({})).await;
    shop.send(&with(json!({"type": "old"}))).await;
    app.advance(HOUR).await;
    let to = json!({"phone": "3312345679", "name": "Núria 100%", "email": "nuria_x@x.example"});
    shop.send(&with(
        json!({"type": "mail", "channel": "email", "to": to, "branchId": branch, "appointmentId": "cita-9"}),
    ))
    .await;
    shop.send(&with(json!({"type": "promo", "category": "marketing"}))).await;
    let failed = shop.send(&with(json!({"type": "bad", "to": {"phone": "+523312340001"}}))).await;
    app.deliver_due().await;
    let cases = [
        ("", vec!["bad", "promo", "mail", "old"]),
        ("status=failed", vec!["bad"]),
        ("status=sent&channel=sms", vec!["promo", "old"]),
        ("channel=email", vec!["mail"]),
        ("type=promo", vec!["promo"]),
        ("category=marketing", vec!["promo"]),
        ("recipient=33%201234%205678", vec!["promo", "old"]),
        ("recipient=%2B523312345679", vec!["mail"]),
        ("recipient=nuria_x@x.example", vec!["mail"]),
        ("recipient=nuria-x@x.example", vec![]),
        ("recipient=rubbish", vec![]),
        (&format!("branchId={branch}"), vec!["mail"]),
        ("appointmentId=cita-9", vec!["mail"]),
        ("contactId=nobody", vec![]),
        ("campaignId=none", vec![]),
        (&format!("logId={failed}"), vec!["bad"]),
        ("from=2026-03-02T15:30:00Z", vec!["bad", "promo", "mail"]),
        ("to=2026-03-02T16:00:00Z", vec!["old"]),
        ("from=2026-03-02T09:30:00-06:00&to=2026-03-02T16:00:00Z", vec![]),
        ("q=100%25", vec!["mail"]),
        ("q=PROMO", vec!["promo"]),
        ("q=_", vec!["mail"]),
        ("q=nobody", vec![]),
    ];
    for (query, wanted) in cases {
        assert_eq!(found(&shop, query).await, wanted, "{query}");
    }
    for (query, pointer, code) in [
        ("status=lost", "/status", "out_of_range"),
        ("category=spam", "/category", "out_of_range"),
        ("from=yesterday", "/from", "timestamp"),
        ("to=2026-03-02", "/to", "timestamp"),
    ] {
        shop.get(&format!("/v1/notifications?{query}")).await.has_fault("validation", pointer, code);
    }
});

on_each_store!(pages_follow_each_other_without_gap_or_repeat, async |app: TestApp| {
    let shop = app.shop().await;
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.push(shop.send(&with(json!({"type": format!("t{n}")}))).await);
    }
    app.deliver_due().await;
    for list in ["notifications", "sandbox/messages"] {
        let (mut seen, mut cursor, mut late) = (Vec::new(), String::new(), false);
        loop {
            let page = shop.get(&format!("/v1/{list}?limit=3{cursor}")).await.expect(200);
            let items = page["items"].as_array().unwrap();
            seen.extend(texts(items, if list == "notifications" { "id" } else { "notificationId" }));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            if list == "notifications" && !late {
                // What arrives meanwhile does not push anything into the next page.
                late = true;
                shop.send(&hello()).await;
                app.deliver_due().await;
            }
        }
        seen.retain(|id| sent.contains(id));
        seen.reverse();
        if list == "notifications" {
            assert_eq!(seen, sent);
        }
        seen.sort();
        assert_eq!(seen, sent);
    }
});

#[tokio::test(flavor = "multi_thread")]
async fn names_outside_ascii_are_found_whatever_their_case() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    shop.send(&with(json!({"to": {"phone": "3312345678", "name": "Núria Ávila"}}))).await;
    app.deliver_due().await;
    assert_eq!(found(&shop, "q=n%C3%BAria").await, ["note"]);
    assert_eq!(found(&shop, "q=avila").await, [""; 0]);
}
