//! The account's hook: a mail server passes on what came back, as it came. Who may is whoever knows the secret.

use plugin_api::{Callback, Received, Refused};

use crate::account::Account;
use crate::report;

/// The most of a mail that is read: a report stands before what it returns.
const LONGEST: usize = 1024 * 1024;

/// More parts and mails within mails than any report has; what reads them goes down one call for each.
const MOST_PARTS: usize = 50;

pub(crate) fn receive(account: &Account, callback: &Callback) -> Result<Received, Refused> {
    let Some(proof) = &account.hook else {
        return Err(Refused::Unsupported("set hookSecret on the account to take in bounces".into()));
    };
    let given = callback.header("authorization").and_then(|value| value.split_once(' '));
    let bearer = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, secret)| secret.trim());
    if !bearer.is_some_and(|secret| proof.is_secret(secret)) {
        return Err(Refused::Unverified("send the account's hookSecret as Authorization: Bearer".into()));
    }
    let kind = callback.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("message/rfc822") {
        return Err(Refused::Malformed("send the mail as it came, with Content-Type: message/rfc822".into()));
    }
    let mail = &callback.body[..callback.body.len().min(LONGEST)];
    if parts(mail) > MOST_PARTS {
        return Err(Refused::Malformed(format!("the mail has more than {MOST_PARTS} parts")));
    }
    report::read(account, proof, mail)
}

/// At least as many as a parser will find: each is announced by one of these words.
fn parts(mail: &[u8]) -> usize {
    let announces = |rest: &[u8]| {
        [&b"multipart"[..], b"message"].iter().any(|w| rest.get(..w.len()).is_some_and(|r| r.eq_ignore_ascii_case(w)))
            && rest.iter().take(12).any(|b| *b == b'/')
    };
    (0..mail.len()).filter(|at| matches!(mail[*at], b'm' | b'M') && announces(&mail[*at..])).count()
}
