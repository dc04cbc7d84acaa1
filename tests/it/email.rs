//! What the gateway adds to e-mail: the link out of a mailing list, and whose addresses it sends from.

use std::time::Duration;

use recado::clock::Timestamp;
use serde_json::{Value, json};

use crate::support::{MailServer, Shop, TestApp};

const HALF_HOUR: Duration = Duration::from_mins(30);
const PUBLIC: &[(&str, &str)] = &[("RECADO_SERVER__PUBLIC_URL", "https://recado.example/")];

async fn shop_at(app: &TestApp, server: &MailServer) -> Shop {
    let shop = Shop::bare(app, "Salón <Uno>").await;
    shop.set("email", server.settings("citas@salon.example")).await;
    shop
}

fn promo() -> Value {
    json!({"type": "marketing", "channel": "email", "category": "marketing", "data": {"body": "20% en color"},
        "to": {"email": "ana@x.example", "name": "Ana"}})
}

fn header<'m>(mail: &'m str, name: &str) -> Option<&'m str> {
    let head = mail.split("\n\n").next().unwrap();
    head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
}

/// The path of the link in a mail's header.
fn path(mail: &str) -> &str {
    let link = header(mail, "List-Unsubscribe").unwrap_or_else(|| panic!("no link in {mail}"));
    link.strip_prefix("<https://recado.example").unwrap().strip_suffix('>').unwrap()
}

on_each_store!(one_click_ends_marketing_and_nothing_else, PUBLIC, async |app: TestApp| {
    let server = MailServer::start(0).await;
    let shop = shop_at(&app, &server).await;
    shop.notify(&promo()).await;
    app.deliver_due().await;
    let mail = server.mails().remove(0);
    assert_eq!(header(&mail, "List-Unsubscribe-Post"), Some("List-Unsubscribe=One-Click"));
    let path = path(&mail);
    assert!(
        path.starts_with("/hooks/email/unsubscribe/") && !path.contains(&shop.id) && !path.contains("ana"),
        "{path}"
    );
    let unfolded = mail.replace("=\n", "").replace("=3D", "=");
    assert!(unfolded.matches(path).count() >= 3, "the text and the HTML show the link, too: {unfolded}");

    // Programs look at every link, some of them twice.
    for _ in 0..2 {
        let page = app.nobody().get(path).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let text = page.text();
        assert!(text.contains("<form method=\"post\">") && text.contains("a…@x.example"), "{text}");
        assert!(text.contains("Salón &lt;Uno&gt;") && text.contains("lang=\"es\""), "{text}");
        assert_eq!(
            (page.header("cache-control"), page.header("referrer-policy")),
            (Some("no-store"), Some("no-referrer"))
        );
    }
    assert_eq!(shop.get("/v1/suppressions").await.expect(200)["items"], json!([]));
    let english = app.nobody().get(path).header("accept-language", "fr, en-GB;q=0.8, es;q=0.5").await.text();
    assert!(english.contains("Yes, unsubscribe"), "{english}");

    // The button, the mail program in both of its ways, and again.
    let click = app.nobody().call(axum::http::Method::POST, path);
    let click = click.header("content-type", "application/x-www-form-urlencoded").body("List-Unsubscribe=One-Click");
    let done = click.await;
    assert_eq!(done.status, 200);
    assert!(done.text().contains("Listo") && !done.text().contains("<form"), "{}", done.text());
    for _ in 0..2 {
        assert_eq!(app.nobody().call(axum::http::Method::POST, path).await.status, 200);
    }
    let items = shop.get("/v1/suppressions").await.expect(200)["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 1, "{items}");
    let one = &items[0];
    assert_eq!(
        (&one["address"], &one["category"], &one["reason"]),
        (&json!("ana@x.example"), &json!("marketing"), &json!("unsubscribed"))
    );
    assert_eq!(shop.notify(&promo()).await["notifications"][0]["status"], "suppressed");
    let mut notice = promo();
    notice["category"] = json!("transactional");
    shop.notify(&notice).await;
    app.deliver_due().await;
    assert_eq!(server.mails().len(), 2);
    assert_eq!(header(&server.mails()[1], "List-Unsubscribe"), None, "nothing to leave");
});

on_each_store!(a_link_that_is_not_ours_is_not_found, PUBLIC, async |app: TestApp| {
    let server = MailServer::start(0).await;
    let shop = shop_at(&app, &server).await;
    shop.notify(&promo()).await;
    app.deliver_due().await;
    let mail = server.mails().remove(0);
    let path = path(&mail);
    let (rest, last) = path.split_at(path.len() - 2);
    let other = if last == "AA" { "BB" } else { "AA" };
    for made_up in [rest.to_owned(), format!("{rest}{other}"), "/hooks/email/unsubscribe/x".to_owned()] {
        app.nobody().get(&made_up).await.is_problem(404, "not-found");
        app.nobody().call(axum::http::Method::POST, &made_up).await.is_problem(404, "not-found");
    }
    app.nobody().delete(path).await.is_problem(405, "method-not-allowed");
    assert_eq!(shop.get("/v1/suppressions").await.expect(200)["items"], json!([]));
});

on_each_store!(a_second_attempt_sends_the_same_bytes, PUBLIC, async |app: TestApp| {
    let server = MailServer::start(1).await;
    let shop = shop_at(&app, &server).await;
    let id = shop
        .send(&json!({"type": "note", "channel": "email", "to": {"email": "ana@x.example", "name": "Ana"},
            "content": {"subject": "Hola", "text": "Hola Ana", "html": "<p>Hola Ana</p>", "unsubscribe": true}}))
        .await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "unknown");
    app.advance(HALF_HOUR).await;
    assert_eq!(shop.status(&id).await, "sent");
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1]);
    assert!(path(&mails[0]).len() > 30, "its content asked for the link");
    assert_eq!(header(&mails[0], "Date"), Some("Mon, 02 Mar 2026 15:00:00 +0000"));
});

// The row of e-mail in the table of the unknown outcome; the others stand in `unknown.rs`.
on_each_store!(
    an_unconfirmed_mail_is_sent_again_after_a_quarter_of_an_hour_and_marketing_is_held,
    async |app: TestApp| {
        let server = MailServer::start(1).await;
        let shop = shop_at(&app, &server).await;
        let mut mail = json!({"type": "note", "channel": "email", "message": "Hola", "to": {"email": "ana@x.example"}});
        let id = shop.send(&mail).await;
        app.deliver_due().await;
        let due = Timestamp::parse(shop.find(&id).await["dueAt"].as_str().unwrap()).unwrap();
        assert_eq!(due.since(app.now()), Duration::from_mins(15));
        app.advance(Duration::from_mins(15).saturating_sub(Duration::from_millis(1))).await;
        assert_eq!((shop.status(&id).await.as_str(), server.mails().len()), ("unknown", 1));
        app.advance(Duration::from_millis(1)).await;
        assert_eq!((shop.status(&id).await.as_str(), server.mails().len()), ("sent", 2));
        let ids: Vec<_> = server.mails().iter().map(|m| header(m, "Message-ID").unwrap().to_owned()).collect();
        assert_eq!(ids[0], ids[1]);

        let server = MailServer::start(1).await;
        let shop = shop_at(&app, &server).await;
        mail["category"] = json!("marketing");
        let id = shop.send(&mail).await;
        app.deliver_due().await;
        assert_eq!(shop.find(&id).await["dueAt"], Value::Null);
        app.advance(24 * HALF_HOUR).await;
        assert_eq!((shop.status(&id).await.as_str(), server.mails().len()), ("unknown", 1));
    }
);

on_each_store!(b43_an_account_sends_only_from_addresses_its_tenant_or_branch_may_use, async |app: TestApp| {
    let server = MailServer::start(0).await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    shop.change(json!({"allowedSenders": ["citas@salon.example", "hola@salon.example"]})).await;
    let put = async |path: &str, from: &str| shop.put(path, &server.settings(from)).await;
    let detail = put("/v1/channels/email", "bank@bank.example").await.has_fault(
        "validation",
        "/settings/from",
        "sender_not_allowed",
    );
    assert!(detail.contains("citas@salon.example"), "the error says which are: {detail}");
    put("/v1/channels/email", "Citas@Salon.example").await.expect(200);
    let account = json!({"accounts": [{"name": "a", "provider": "smtp",
        "settings": server.settings("x@salon.example")["settings"]}]});
    let said = shop.put("/v1/channels/email", &account).await;
    said.has_fault("validation", "/accounts/0/settings/from", "sender_not_allowed");

    // A branch has senders of its own, and an account of its own to use them.
    let branch = shop.branch(json!({"allowedSenders": ["centro@salon.example"]})).await;
    let at_branch = format!("/v1/channels/email?branchId={branch}");
    put(&at_branch, "citas@salon.example").await.has_fault("validation", "/settings/from", "sender_not_allowed");
    put(&at_branch, "centro@salon.example").await.expect(200);
    let mail = |branch: Option<&str>| json!({"type": "note", "channel": "email", "message": "Hola", "to": {"email": "ana@x.example"}, "branchId": branch});
    shop.send(&mail(Some(&branch))).await;
    shop.send(&mail(None)).await;
    app.deliver_due().await;
    let mut from: Vec<_> = server.mails().iter().map(|m| header(m, "From").unwrap().to_owned()).collect();
    from.sort();
    assert_eq!(from, ["Citas@salon.example", "centro@salon.example"]);

    // The list became shorter after the account was saved.
    shop.change(json!({"allowedSenders": ["hola@salon.example"]})).await;
    let id = shop.send(&mail(None)).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("sender_not_allowed")), "{found}");
    assert_eq!(server.mails().len(), 2);
    // An empty list is none.
    shop.change(json!({"allowedSenders": []})).await;
    let id = shop.send(&mail(None)).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
});

/// Reports as the large senders of them write them, about a message of our own.
const BOUNCE: &str = include_str!("../../plugins/email/tests/it/reports/postfix.eml");
const COMPLAINT: &str = include_str!("../../plugins/email/tests/it/reports/arf.eml");
const HOOK_SECRET: &str = "hook-secret-of-the-tests";

on_each_store!(bounces_and_complaints_come_to_the_hook_and_end_what_they_are_about, PUBLIC, async |app: TestApp| {
    let server = MailServer::start(0).await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    let mut settings = server.settings("citas@salon.example");
    settings["settings"]["hookSecret"] = json!(HOOK_SECRET);
    shop.set("email", settings).await;
    shop.set("sms", json!({"provider": "sandbox"})).await;
    let hook = shop.hook("email").await;
    let hook = hook.strip_prefix("https://recado.example").unwrap();
    let report = |secret: &'static str, mail: String| {
        let call = app.nobody().call(axum::http::Method::POST, hook).header("content-type", "message/rfc822");
        call.header("authorization", format!("Bearer {secret}")).body(mail).into_future()
    };
    let suppressed = async || shop.get("/v1/suppressions").await.expect(200)["items"].clone();

    let id = shop
        .send(&json!({"type": "note", "channels": ["email", "sms"], "message": "Hola",
            "to": {"email": "Ana@x.example", "phone": "3312345678"}}))
        .await;
    app.deliver_due().await;
    assert_eq!((shop.status(&id).await.as_str(), shop.captured().await.len()), ("sent", 0));
    let mail = server.mails().remove(0);
    let bounce = BOUNCE
        .replace("<01930000-0000-7000-8000-000000000001@example.test>", header(&mail, "Message-ID").unwrap())
        .replace("01930000-0000-7000-8000-000000000001", &id);
    assert_eq!(report("another-secret-altogether", bounce.clone()).await.status, 401);
    assert_eq!((shop.status(&id).await.as_str(), suppressed().await), ("sent", json!([])));
    for _ in 0..2 {
        assert_eq!(report(HOOK_SECRET, bounce.clone()).await.status, 200);
        app.deliver_due().await;
    }
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["channel"]), (&json!("sent"), &json!("sms")), "the next channel went on");
    assert_eq!(shop.captured().await.len(), 1);
    let one = &suppressed().await[0];
    assert_eq!((&one["address"], &one["category"]), (&json!("ana@x.example"), &json!("all")));
    assert_eq!((&one["reason"], &one["source"]), (&json!("no_such_user"), &json!("provider")));
    let again = json!({"type": "note", "channel": "email", "message": "Hola", "to": {"email": "ANA@x.example"}});
    assert_eq!(shop.notify(&again).await["notifications"][0]["status"], "suppressed");

    // Who complains gets nothing more either; the mail itself says whose it was.
    let promo = json!({"type": "marketing", "channel": "email", "category": "marketing", "data": {"body": "20%"},
        "to": {"email": "eva@x.example"}});
    let sent = shop.send(&promo).await;
    app.deliver_due().await;
    let mail = server.mails().pop().unwrap();
    let proof = header(&mail, "X-Recado-Recipient").unwrap();
    assert_eq!(report(HOOK_SECRET, COMPLAINT.replace("PROOF", "bm9ib2R5.00")).await.status, 200);
    assert_eq!(suppressed().await.as_array().unwrap().len(), 1, "anybody can write such a report about anybody");
    assert_eq!(report(HOOK_SECRET, COMPLAINT.replace("PROOF", proof)).await.status, 200);
    app.deliver_due().await;
    assert_eq!(shop.status(&sent).await, "sent");
    let all = suppressed().await;
    assert_eq!((&all[1]["address"], &all[1]["reason"]), (&json!("eva@x.example"), &json!("complaint")), "{all}");
    assert_eq!(shop.notify(&promo).await["notifications"][0]["status"], "suppressed");
});
