//! Signatures, judged by a verifier that shares no code with the signer; the keys are the tests' own.

use std::borrow::Borrow;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use mail_auth::common::cache::NoCache;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MX, MessageAuthenticator, Parameters, ResolverCache, Txt};
use plugin_api::{Attachment, Message};
use serde_json::{Value, json};

use crate::sink::{Act, Sink};
use crate::support::{host, message, open, try_open};

const RSA: &str = include_str!("keys/rsa-pkcs8.pem");

fn settings(port: u16, key: &str) -> Value {
    json!({"port": port, "security": "none", "dkim": {"domain": "example.test", "selector": "gw2026", "privateKey": key}})
}

/// What name servers would say of `gw2026._domainkey.example.test`, and of nothing else.
struct Published(&'static str);

impl ResolverCache<String, Txt> for Published {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        String: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let known = "gw2026._domainkey.example.test.".to_owned();
        (known.borrow() == name).then(|| Txt::DomainKey(Arc::new(DomainKey::parse(self.0.as_bytes()).unwrap())))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        String: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: String, _: Txt, _: Instant) {}
}

const RSA_RECORD: &str = concat!("v=DKIM1; k=rsa; p=", include_str!("keys/rsa.txt"));
const ED25519_RECORD: &str = concat!("v=DKIM1; k=ed25519; p=", include_str!("keys/ed25519.txt"));

type Known<'a, 'm> = Parameters<
    'a,
    &'a AuthenticatedMessage<'m>,
    Published,
    NoCache<String, Arc<Vec<MX>>>,
    NoCache<String, Arc<Vec<Ipv4Addr>>>,
    NoCache<String, Arc<Vec<Ipv6Addr>>>,
    NoCache<IpAddr, Arc<Vec<String>>>,
>;

/// Passes, or why not.
async fn verdict(mail: &str, record: &'static str) -> Result<(), String> {
    let resolver = MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).unwrap();
    let parsed = AuthenticatedMessage::parse(mail.as_bytes()).unwrap();
    let published = Published(record);
    let parameters: Known<'_, '_> = Parameters::new(&parsed).with_txt_cache(&published);
    let outputs = resolver.verify_dkim(parameters).await;
    assert_eq!(outputs.len(), 1, "one signature");
    match outputs[0].result() {
        DkimResult::Pass => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// A message as it arrived, dots undone, signed with `key`.
async fn signed(message: &Message, key: &str) -> String {
    let sink = Sink::plain(&[]).await;
    open(settings(sink.port(), key)).send(message).await.unwrap();
    let mail = sink.mails().remove(0);
    assert!(mail.lines().all(|line| line.len() <= 998));
    mail.split("\r\n").map(|l| l.strip_prefix('.').unwrap_or(l)).collect::<Vec<_>>().join("\r\n")
}

/// With everything that makes canonical forms hard.
fn full() -> Message {
    let mut full = message("0198c0de");
    full.subject = Some("Tu cita es mañana: confirma, por favor, o cámbiala si no puedes venir a esa hora".into());
    full.text = "Hola  Ana \t,\n\n.\n. tu cita   \nes mañana\n\n\n".into();
    full.html = Some("<p>Hola <b>Ana</b></p>\n\n  \n".into());
    full.attachments =
        vec![Attachment { filename: "cita.txt".into(), content_type: "text/plain".into(), content: "a las 10".into() }];
    full.unsubscribe_url = Some("https://gateway.example.test/hooks/email/unsubscribe/abc".into());
    full.headers = vec![("References".into(), "<a@example.test>\t <b@example.test>".into())];
    full
}

#[tokio::test]
async fn a_signature_of_each_kind_of_key_passes() {
    let host = host();
    drop(host);
    for key in [RSA, include_str!("keys/rsa-pkcs1.pem"), &RSA.replace('\n', "\\n")] {
        for message in [full(), message("m1")] {
            assert_eq!(verdict(&signed(&message, key).await, RSA_RECORD).await, Ok(()));
        }
    }
    let mail = signed(&full(), include_str!("keys/ed25519.pem")).await;
    assert!(mail.contains("a=ed25519-sha256"));
    assert_eq!(verdict(&mail, ED25519_RECORD).await, Ok(()));
}

#[tokio::test]
async fn an_empty_text_and_one_of_blank_lines_are_signed() {
    for text in ["", "\n\n\n", " ", "\n \t\nx\n\n \n"] {
        let mut sent = message("m1");
        sent.text = text.into();
        assert_eq!(verdict(&signed(&sent, RSA).await, RSA_RECORD).await, Ok(()), "{text:?}");
    }
}

#[tokio::test]
async fn whatever_a_reader_sees_is_sealed() {
    let mail = signed(&full(), RSA).await;
    let one = |from: &str, to: &str| {
        assert_eq!(mail.matches(from).count(), 1, "{from}");
        mail.replace(from, to)
    };
    let before_date = |header: &str| one("\r\nDate: ", &format!("\r\n{header}\r\nDate: "));
    for changed in [
        one("Message-ID: <0198c0de", "Message-ID: <0198c0df"),
        one("<clinic@example.test>", "<clinik@example.test>"),
        one("<ana@example.com>", "<eva@example.com>"),
        one("unsubscribe/abc", "unsubscribe/abd"),
        one("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", ""),
        one("multipart/mixed", "multipart/related"),
        one("References: <a@", "References: <c@"),
        one("<b>Ana</b>", "<b>Eva</b>"),
        mail.replace("Date: ", "Date:  Mon, "),
        // A second one of a kind, which some readers show instead of the first.
        before_date("From: Bank <bank@example.org>"),
        format!("From: Bank <bank@example.org>\r\n{mail}"),
        before_date("Subject: otra cosa"),
        before_date("Reply-To: eva@example.org"),
        before_date("Cc: eva@example.org"),
        before_date("To: eva@example.org"),
    ] {
        assert!(verdict(&changed, RSA_RECORD).await.is_err(), "still passes:\n{changed}");
    }
}

#[tokio::test]
async fn what_relays_do_to_a_mail_does_no_harm() {
    let mail = signed(&full(), RSA).await;
    let folded =
        mail.replace("List-Unsubscribe: <", "List-Unsubscribe:\r\n\t  <").replace("Message-ID:", "MESSAGE-ID: ");
    let traced =
        format!("Received: from a by b; Tue, 28 Jul 2026 15:00:01 +0000\r\nReturn-Path: <x@y.example>\r\n{mail}");
    for changed in [folded, traced, format!("{mail}\r\n\r\n"), mail.replace("--\r\n", "--  \r\n")] {
        assert_ne!(changed, mail);
        assert_eq!(verdict(&changed, RSA_RECORD).await, Ok(()));
    }
}

#[tokio::test]
async fn every_attempt_sends_the_same_bytes() {
    for key in [RSA, include_str!("keys/ed25519.pem")] {
        let sink = Sink::plain(&[(".", Act::Close)]).await;
        let channel = open(settings(sink.port(), key));
        assert!(channel.send(&full()).await.is_err());
        let again = Message { attempt: 2, ..full() };
        // Another process, after a restart.
        open(settings(sink.port(), key)).send(&again).await.unwrap();
        let mails = sink.mails();
        assert_eq!(mails.len(), 2);
        assert_eq!(mails[0], mails[1]);
        assert!(mails[0].contains("; t=1785250800;") && mails[0].contains("Date: Tue, 28 Jul 2026 15:00:00 +0000"));
    }
}

#[tokio::test]
async fn an_unfit_key_is_refused_when_the_account_is_opened() {
    let refused = |settings: Value| {
        let error = try_open(plugin_email::plugin().as_ref(), &host(), settings).err().unwrap();
        assert!(!error.detail.contains("MII"), "gives the key away: {error}");
        (error.setting, error.code)
    };
    let with = |name: &str, value: &str| {
        let mut all = settings(587, RSA);
        all["dkim"][name.trim_start_matches("dkim.")] = value.into();
        all
    };
    let unfit = |key: &str| refused(with("dkim.privateKey", key));
    let malformed = |setting: &str| (setting.to_owned(), "malformed");
    assert_eq!(unfit("not a key"), malformed("dkim.privateKey"));
    assert_eq!(unfit(include_str!("keys/rsa-1024.pem")), malformed("dkim.privateKey"));
    assert_eq!(unfit(&RSA[..RSA.len() / 2]), malformed("dkim.privateKey"));
    assert_eq!(unfit(&RSA.replace("PRIVATE", "PUBLIC")), malformed("dkim.privateKey"));
    for domain in ["127.0.0.1", "example", "a b.example", "exa;mple.test"] {
        assert_eq!(refused(with("dkim.domain", domain)), malformed("dkim.domain"), "{domain}");
    }
    for selector in ["a b", "a;d=evil.example", "a..b", &"x".repeat(64)] {
        assert_eq!(refused(with("dkim.selector", selector)), malformed("dkim.selector"), "{selector}");
    }
    for left_out in ["dkim.domain", "dkim.selector", "dkim.privateKey"] {
        assert_eq!(refused(with(left_out, "")), (left_out.to_owned(), "required"));
    }
}

#[tokio::test]
async fn check_says_which_key_signs() {
    let sink = Sink::plain(&[]).await;
    let says = open(settings(sink.port(), RSA)).check().await.unwrap();
    assert!(says.ends_with("; signed with gw2026._domainkey.example.test"), "{says}");
}
