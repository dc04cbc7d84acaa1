//! What arrives, read back by a parser that is not the one that wrote it.

use mailparse::{MailHeaderMap, ParsedMail, parse_mail};
use plugin_api::{Action, Attachment, Message};
use serde_json::json;

use crate::sink::{Act, Sink};
use crate::support::{message, open, open_plain, send};

/// Sends one message and returns it as it arrived, dots undone.
async fn arrived(message: Message) -> String {
    let sink = Sink::plain(&[]).await;
    open(json!({"port": sink.port(), "security": "none", "replyTo": "recepcion@clínica.example"}))
        .send(&message)
        .await
        .unwrap();
    let mail = sink.mails().remove(0);
    assert!(mail.is_ascii() && mail.lines().all(|l| l.len() <= 998));
    assert_eq!(mail.matches('\n').count(), mail.matches("\r\n").count(), "a bare LF");
    assert_eq!(mail.matches('\r').count(), mail.matches("\r\n").count(), "a bare CR");
    mail.split("\r\n").map(|l| l.strip_prefix('.').unwrap_or(l)).collect::<Vec<_>>().join("\r\n")
}

fn header(mail: &ParsedMail<'_>, name: &str) -> String {
    let values = mail.headers.get_all_values(name);
    assert_eq!(values.len(), 1, "{name} must be there once: {values:?}");
    values[0].clone()
}

fn kinds(mail: &ParsedMail<'_>) -> Vec<String> {
    mail.subparts.iter().map(|p| p.ctype.mimetype.clone()).collect()
}

#[tokio::test]
async fn the_headers_are_complete_and_come_once() {
    let raw = arrived(message("0198c0de")).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    assert_eq!(header(&mail, "From"), "Clínica Norte <clinic@example.test>");
    assert_eq!(header(&mail, "To"), "Ana López <ana@example.com>");
    assert_eq!(header(&mail, "Reply-To"), "recepcion@xn--clnica-4va.example");
    assert_eq!(header(&mail, "Subject"), "Tu cita es mañana");
    assert_eq!(header(&mail, "Message-ID"), "<0198c0de@example.test>");
    assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(&mail, "MIME-Version"), "1.0");
    assert!(mailparse::dateparse(&header(&mail, "Date")).unwrap() > 0);
    assert_eq!(mail.ctype.mimetype, "text/plain");
    assert_eq!(header(&mail, "Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(mail.get_body().unwrap().trim_end(), "Hola Ana, tu cita es mañana a las 10:00.");
}

#[tokio::test]
async fn the_message_id_is_the_same_on_every_attempt() {
    let sink = Sink::plain(&[(".", Act::Close)]).await;
    let channel = open_plain(sink.port());
    assert!(send(&channel, "0198c0de").await.is_err());
    let mut again = message("0198c0de");
    again.attempt = 2;
    channel.send(&again).await.unwrap();
    let ids: Vec<_> =
        sink.mails().iter().map(|raw| header(&parse_mail(raw.as_bytes()).unwrap(), "Message-ID")).collect();
    assert_eq!(ids, ["<0198c0de@example.test>", "<0198c0de@example.test>"]);
}

#[tokio::test]
async fn names_and_subjects_of_any_script_survive() {
    for text in
        ["Ñandú, \"el rápido\" \\o/", "Кайо; Пони <x@y>", "予約のお知らせ 🌸", "=?utf-8?q?=0AX?=", "a,b@c.example"]
    {
        let mut sent = message("m1");
        sent.recipient.name = Some(text.into());
        sent.subject = Some(format!("{text} {text} {text} {text} {text}"));
        let raw = arrived(sent.clone()).await;
        let mail = parse_mail(raw.as_bytes()).unwrap();
        if !text.starts_with("=?") {
            assert_eq!(header(&mail, "Subject"), sent.subject.unwrap());
        }
        let to = mail.headers.get_first_header("To").unwrap();
        let to = mailparse::addrparse_header(to).unwrap().extract_single_info().unwrap();
        assert_eq!(to.addr, "ana@example.com");
        if !text.starts_with("=?") {
            assert_eq!(to.display_name.as_deref(), Some(text));
        }
    }
}

#[tokio::test]
async fn text_and_html_are_alternatives_the_plainest_first() {
    let mut sent = message("m1");
    sent.html = Some("<p>Hola <b>Ana</b>, ¿mañana?</p>".into());
    let raw = arrived(sent).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    assert_eq!(mail.ctype.mimetype, "multipart/alternative");
    assert_eq!(kinds(&mail), ["text/plain", "text/html"]);
    assert_eq!(mail.subparts[1].get_body().unwrap().trim_end(), "<p>Hola <b>Ana</b>, ¿mañana?</p>");
    header(&mail, "Content-Type");
}

#[tokio::test]
async fn attachments_come_around_the_alternatives_byte_for_byte() {
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let mut sent = message("m1");
    sent.html = Some("<p>Hola</p>".into());
    let file = |filename: &str, content_type: &str, content: &[u8]| Attachment {
        filename: filename.into(),
        content_type: content_type.into(),
        content: content.to_vec().into(),
    };
    sent.attachments = vec![
        file("cita mañana.ics", "text/calendar; method=REQUEST", b"BEGIN:VCALENDAR\nEND:VCALENDAR\n"),
        file("blob", "no media type", &bytes),
    ];
    let raw = arrived(sent).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    assert_eq!(mail.ctype.mimetype, "multipart/mixed");
    assert_eq!(kinds(&mail), ["multipart/alternative", "text/calendar", "application/octet-stream"]);
    assert_eq!(kinds(&mail.subparts[0]), ["text/plain", "text/html"]);
    let calendar = &mail.subparts[1];
    assert_eq!(calendar.get_content_disposition().params["filename"], "cita mañana.ics");
    assert_eq!(calendar.ctype.params["method"], "REQUEST");
    assert_eq!(calendar.get_body_raw().unwrap(), b"BEGIN:VCALENDAR\nEND:VCALENDAR\n");
    assert_eq!(mail.subparts[2].get_body_raw().unwrap(), bytes);
}

#[tokio::test]
async fn actions_are_a_numbered_list_and_only_https_values_are_links() {
    let action = |title: &str, value: &str| Action { title: title.into(), value: value.into() };
    let mut sent = message("m1");
    sent.text = "¿Vienes?".into();
    sent.html = Some("<html><body><p>Hola</p></body></html>".into());
    sent.actions = vec![
        action("Sí & pronto", "https://example.test/c?a=1&b=\"2\""),
        action("<No>", "cancel"),
        action("Mal", "javascript:alert(1)"),
    ];
    let raw = arrived(sent).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    let text = mail.subparts[0].get_body().unwrap().replace("\r\n", "\n");
    let list = "1. Sí & pronto: https://example.test/c?a=1&b=\"2\"\n2. <No>\n3. Mal";
    assert_eq!(text.trim_end(), format!("¿Vienes?\n\n{list}"));
    let html = mail.subparts[1].get_body().unwrap();
    let link = "<a href=\"https://example.test/c?a=1&amp;b=&quot;2&quot;\">Sí &amp; pronto</a>";
    let list = format!("<ol><li>{link}</li><li>&lt;No&gt;</li><li>Mal</li></ol>");
    assert_eq!(html.trim_end(), format!("<html><body><p>Hola</p>{list}</body></html>"));
}

#[tokio::test]
async fn custom_headers_are_carried() {
    let mut sent = message("m1");
    let unsubscribe = format!("<https://example.test/u/{}>, <mailto:u@example.test>", "x".repeat(200));
    sent.headers = vec![
        ("List-Unsubscribe".into(), unsubscribe.clone()),
        ("List-Unsubscribe-Post".into(), "List-Unsubscribe=One-Click".into()),
        ("X-Note".into(), "señal".into()),
        ("reply-to".into(), "desk@example.test".into()),
    ];
    let raw = arrived(sent).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    assert_eq!(header(&mail, "List-Unsubscribe"), unsubscribe);
    assert_eq!(header(&mail, "List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    assert_eq!(header(&mail, "X-Note"), "señal");
    assert_eq!(header(&mail, "Reply-To"), "desk@example.test");
}

#[tokio::test]
async fn no_text_can_end_the_message_early() {
    let mut sent = message("m1");
    sent.text = "a\r\n.\r\nMAIL FROM:<evil@x.example>\n.\nb\r.\r\0c".into();
    let raw = arrived(sent).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    let body = mail.get_body().unwrap().replace("\r\n", "\n");
    assert_eq!(body.trim_end(), "a\n.\nMAIL FROM:<evil@x.example>\n.\nb\n.\nc");
}

#[tokio::test]
async fn very_long_lines_are_wrapped_and_a_word_no_header_can_hold_is_refused() {
    let mut sent = message("m1");
    sent.text = "x".repeat(5000);
    sent.subject = Some("palabra ".repeat(300).trim_end().into());
    let raw = arrived(sent).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    assert_eq!(mail.get_body().unwrap().trim_end(), "x".repeat(5000));
    let sink = Sink::plain(&[]).await;
    let mut word = message("m1");
    word.subject = Some("x".repeat(2000));
    assert_eq!(open_plain(sink.port()).send(&word).await.unwrap_err().reason, "line_too_long");
}

#[tokio::test]
async fn international_domains_go_out_in_punycode() {
    let sink = Sink::plain(&[]).await;
    let mut sent = message("m1");
    sent.recipient.email = Some("ana@correo.español.example".into());
    open_plain(sink.port()).send(&sent).await.unwrap();
    assert_eq!(sink.count("RCPT TO:<ana@correo.xn--espaol-zwa.example>"), 1);
    assert!(sink.mails()[0].contains("<ana@correo.xn--espaol-zwa.example>"));
}

#[tokio::test]
async fn the_way_out_of_a_list_is_one_click_where_it_is_safe() {
    let mut sent = message("m1");
    let link = format!("https://gateway.example.test/hooks/email/unsubscribe/{}", "x".repeat(180));
    sent.unsubscribe_url = Some(link.clone());
    let raw = arrived(sent.clone()).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    assert_eq!(header(&mail, "List-Unsubscribe"), format!("<{link}>"));
    assert_eq!(header(&mail, "List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    sent.unsubscribe_url = Some("http://localhost:8080/u/x".into());
    let raw = arrived(sent.clone()).await;
    let mail = parse_mail(raw.as_bytes()).unwrap();
    assert_eq!(header(&mail, "List-Unsubscribe"), "<http://localhost:8080/u/x>");
    assert!(!raw.contains("List-Unsubscribe-Post"));
    for (url, reason) in
        [("https://x.test/\r\nBcc: a@b.c", "control_characters"), ("https://x.test/>", "header_not_allowed")]
    {
        let sink = Sink::plain(&[]).await;
        sent.unsubscribe_url = Some(url.into());
        assert_eq!(open_plain(sink.port()).send(&sent).await.unwrap_err().reason, reason);
    }
    // The gateway's own link and a caller's cannot both be meant.
    sent.unsubscribe_url = Some(link);
    sent.headers = vec![("list-unsubscribe".into(), "<https://other.example>".into())];
    let sink = Sink::plain(&[]).await;
    assert_eq!(open_plain(sink.port()).send(&sent).await.unwrap_err().reason, "header_not_allowed");
}
