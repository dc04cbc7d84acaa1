//! Attachments that are fetched: under the outbound rules, when the mail is made, and again when that fails for now.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plugin_api::conformance::{Behaviour, HttpDouble, Reply};
use plugin_api::net::Names;
use serde_json::{Value, json};

use crate::support::{MailServer, Shop, TestApp};

const HALF_HOUR: Duration = Duration::from_mins(30);

async fn shop_at(app: &TestApp, server: &MailServer) -> Shop {
    let shop = Shop::bare(app, "Salón Uno").await;
    shop.set("email", server.settings("citas@salon.example")).await;
    shop
}

fn mail(url: &str) -> Value {
    json!({"type": "note", "channel": "email", "to": {"email": "ana@x.example"}, "message": "Hola",
        "attachments": [{"filename": "cita.ics", "contentType": "text/calendar", "url": url}]})
}

fn outcomes(found: &Value) -> Vec<&str> {
    found["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect()
}

/// Answers every GET like this until it is told otherwise.
async fn files(status: u16, body: Vec<u8>) -> (HttpDouble, Arc<Mutex<(u16, Vec<u8>)>>) {
    let answer = Arc::new(Mutex::new((status, body)));
    let double = HttpDouble::with(|_| true, {
        let answer = Arc::clone(&answer);
        move |_, _| {
            let (status, body) = answer.lock().unwrap().clone();
            Some(Reply::new(status, body))
        }
    });
    (double.await, answer)
}

on_each_store!(a_file_behind_an_address_arrives_with_the_mail, async |app: TestApp| {
    let server = MailServer::start(0).await;
    let shop = shop_at(&app, &server).await;
    let (files, _) = files(200, b"BEGIN:VCALENDAR".to_vec()).await;
    shop.send(&mail(&files.url("/cita.ics"))).await;
    app.deliver_due().await;
    let mail = server.mails().remove(0);
    assert!(mail.contains("Content-Type: text/calendar") && mail.contains("filename=\"cita.ics\""), "{mail}");
    // As it is, or in base64.
    assert!(mail.contains("BEGIN:VCALENDAR") || mail.contains("QkVHSU46VkNBTEVOREFS"), "{mail}");
    assert_eq!((files.calls(), files.seen()[0].path.as_str()), (1, "/cita.ics"));
});

on_each_store!(what_can_not_be_fetched_now_is_fetched_later_and_the_mail_is_sent_once, async |app: TestApp| {
    let server = MailServer::start(0).await;
    let shop = shop_at(&app, &server).await;
    let (files, answer) = files(503, vec![]).await;
    let broken = [Behaviour::Accept, Behaviour::CutBody, Behaviour::CutHead, Behaviour::Silence];
    files.behave(broken[0]);
    let id = shop.send(&mail(&files.url("/cita.ics"))).await;
    app.deliver_due().await;
    for (n, behaviour) in broken.into_iter().enumerate().skip(1) {
        let found = shop.find(&id).await;
        assert_eq!((&found["status"], outcomes(&found)), (&json!("queued"), vec!["not_sent"; n]), "{found}");
        assert_eq!(found["reason"], "attachment_unreachable", "{found}");
        files.behave(behaviour);
        app.advance(HALF_HOUR).await;
    }
    files.behave(Behaviour::Accept);
    *answer.lock().unwrap() = (200, b"BEGIN:VCALENDAR".to_vec());
    app.advance(HALF_HOUR).await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], outcomes(&found).last()), (&json!("sent"), Some(&"accepted")), "{found}");
    assert_eq!((server.mails().len(), files.calls()), (1, 5));
});

on_each_store!(what_will_never_be_fetched_fails_the_mail_with_its_reason, async |app: TestApp| {
    let server = MailServer::start(0).await;
    let shop = shop_at(&app, &server).await;
    for (status, size, reason) in [
        (404, 0, "attachment_refused"),
        (302, 0, "attachment_refused"),
        (200, 10 * 1024 * 1024 + 1, "attachment_too_large"),
    ] {
        let (files, _) = files(status, vec![b'x'; size]).await;
        let id = shop.send(&mail(&files.url("/cita.ics"))).await;
        app.deliver_due().await;
        let found = shop.find(&id).await;
        assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!(reason)), "{found}");
        assert!(found["timeline"].to_string().contains("the attachment cita.ics"), "{found}");
        assert_eq!(files.calls(), 1);
    }
    assert_eq!(server.mails().len(), 0);
});

#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_is_refused_when_it_is_given_and_when_its_name_turns_to_it() {
    let means: Arc<Mutex<IpAddr>> = Arc::new(Mutex::new(Ipv4Addr::new(93, 184, 216, 34).into()));
    let names = Names::from_fn({
        let means = Arc::clone(&means);
        move |_| vec![*means.lock().unwrap()]
    });
    let app = TestApp::strict(names).await;
    let shop = app.shop().await;
    for (url, code) in [
        ("https://10.0.0.7/x", "address"),
        ("http://files.example/x", "scheme"),
        ("https://u:p@files.example/x", "credentials"),
    ] {
        shop.post("/v1/notify", &mail(url)).await.has_fault("url-not-allowed", "/attachments/0/url", code);
    }
    let id = shop.send(&mail("https://files.example/x")).await;
    *means.lock().unwrap() = Ipv4Addr::LOCALHOST.into();
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], outcomes(&found)), (&json!("queued"), vec!["not_sent"]), "{found}");
    assert!(found["attempts"][0]["error"]["detail"].as_str().unwrap().contains("blocked_address"), "{found}");
    assert!(shop.captured().await.is_empty());
}
