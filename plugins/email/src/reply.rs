//! What a mail server says, and what follows from it. Decided by code and enhanced code alone (RFC 5321, 3463): the
//! text is free-form, and may repeat the address, so it is kept from errors.

use plugin_api::{Hint, SendError};

/// The most of one reply that is read; longer ones are nonsense.
const REPLY_LIMIT: usize = 64 * 1024;

/// A whole reply, its lines joined by `\n`.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) text: String,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Malformed;

/// The command a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    Reset,
    Mail,
    Rcpt,
    Data,
    Content,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Greeting => "the connection",
            Self::Ehlo => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Reset => "RSET",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Content => "the message",
        }
    }
}

impl Reply {
    /// The first whole reply of `bytes` and its length, or `None` while it is not all there.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let (mut start, mut text, mut first_code) = (0, String::new(), None);
        while let Some(end) = bytes[start..].iter().position(|b| *b == b'\n').map(|i| start + i) {
            let line = bytes[start..end].strip_suffix(b"\r").unwrap_or(&bytes[start..end]);
            start = end + 1;
            let (code, more, rest) = split(line).ok_or(Malformed)?;
            if *first_code.get_or_insert(code) != code {
                return Err(Malformed);
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&String::from_utf8_lossy(rest));
            if !more {
                return Ok(Some((Self { code, text }, start)));
            }
        }
        if bytes.len() > REPLY_LIMIT { Err(Malformed) } else { Ok(None) }
    }

    pub(crate) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// `5.1.1` of `550 5.1.1 …`; one whose class disagrees with the code is none.
    pub(crate) fn enhanced(&self) -> Option<[u16; 3]> {
        let word = self.text.split([' ', '\n']).next()?;
        let mut parts = word.split('.').map(|p| p.parse::<u16>().ok());
        let found = [parts.next()??, parts.next()??, parts.next()??];
        (parts.next().is_none() && found[0] == self.code / 100).then_some(found)
    }

    /// The outcome of a reply that is not what `stage` hoped for.
    pub(crate) fn refusal(&self, stage: Stage) -> SendError {
        let detail = match self.enhanced() {
            Some([a, b, c]) => format!("the server answered {} {a}.{b}.{c} to {}", self.code, stage.name()),
            None => format!("the server answered {} to {}", self.code, stage.name()),
        };
        match self.code {
            400..=499 => SendError::throttled(None, self.delay_reason(), detail),
            500..=599 => match stage {
                Stage::Greeting | Stage::Ehlo => SendError::not_sent("greeting_refused", detail),
                Stage::StartTls => SendError::not_sent("tls_failed", detail),
                _ => self.rejection(stage, detail),
            },
            _ if stage == Stage::Content => SendError::unknown("broken_answer", detail),
            _ => SendError::not_sent("broken_answer", detail),
        }
    }

    fn delay_reason(&self) -> &'static str {
        match (self.code, self.enhanced()) {
            (421, _) => "server_closing",
            (_, Some([_, 2, 2])) => "mailbox_full",
            (_, Some([_, 7 | 2, 1])) => "greylisted",
            (_, Some([_, 7, _])) => "rate_limited",
            (450, _) => "greylisted",
            (452, _) | (_, Some([_, 3, 1])) => "server_full",
            _ => "try_later",
        }
    }

    fn rejection(&self, stage: Stage, detail: String) -> SendError {
        let suppress = |reason| SendError::rejected(reason, detail.clone()).hint(Hint::SuppressAddress);
        let misconfigured = |reason| SendError::rejected(reason, detail.clone()).hint(Hint::Misconfigured);
        let rejected = |reason| SendError::rejected(reason, detail.clone());
        match (self.code, self.enhanced()) {
            (530 | 534 | 535, _) => misconfigured("auth_failed"),
            (_, _) if stage == Stage::Auth => misconfigured("auth_failed"),
            // Only the answer about the recipient can condemn the address.
            (_, Some([_, 1, 1])) if stage == Stage::Rcpt => suppress("no_such_user"),
            (_, Some([_, 1, 2])) if stage == Stage::Rcpt => suppress("no_such_domain"),
            (_, Some([_, 1, 10])) if stage == Stage::Rcpt => suppress("null_mx"),
            (_, Some([_, 1, 7 | 8])) => misconfigured("sender_refused"),
            (_, Some([_, 1, 3])) => rejected("invalid_address"),
            (_, Some([_, 2, 1])) => rejected("mailbox_disabled"),
            (_, Some([_, 2, 2])) => rejected("mailbox_full"),
            (_, Some([_, 6, _])) => rejected("content_refused"),
            (_, Some([_, 7, _])) => rejected("policy_refused"),
            (552, None) if stage == Stage::Rcpt => rejected("mailbox_full"),
            (_, Some([_, 3, 4])) | (552, None) => rejected("message_too_big"),
            (500..=504, _) => rejected("protocol_error"),
            (550 | 553, _) if stage == Stage::Mail => misconfigured("sender_refused"),
            (_, _) if stage == Stage::Rcpt => rejected("recipient_refused"),
            _ => rejected("refused"),
        }
    }
}

/// `250-text` to code, whether more follows, and text. The code alone is legal too.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = code.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use plugin_api::Failure;

    use super::*;

    fn reply(line: &str) -> Reply {
        Reply::parse(format!("{line}\r\n").as_bytes()).expect("well formed").expect("whole").0
    }

    fn judged(stage: Stage, line: &str) -> (Failure, String, Option<Hint>) {
        let e = reply(line).refusal(stage);
        (e.failure, e.reason.into_owned(), e.hint)
    }

    #[test]
    fn a_reply_is_read_line_by_line_and_only_when_it_is_whole() {
        assert_eq!(Reply::parse(b"250-one\r\n250 two"), Ok(None));
        let (reply, used) = Reply::parse(b"250-one\r\n250 two\r\n354 go").unwrap().unwrap();
        assert_eq!((reply.code, reply.text.as_str(), used), (250, "one\ntwo", 18));
        assert_eq!(Reply::parse(b"250\r\n").unwrap().unwrap().0.code, 250);
    }

    #[test]
    fn what_is_no_reply_is_said_to_be_none() {
        for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], b"25 x\r\n", b"\r\n", b"250-a\r\n354 b\r\n", b"250_a\r\n"] {
            assert_eq!(Reply::parse(bytes), Err(Malformed));
        }
        assert_eq!(Reply::parse(&vec![b'2'; REPLY_LIMIT + 1]), Err(Malformed));
    }

    #[test]
    fn each_code_is_one_decision() {
        use Failure::{NotSent, Rejected, Throttled, Unknown};
        use Hint::{Misconfigured, SuppressAddress};
        let table = [
            (Stage::Greeting, "421 4.3.2 busy", Throttled, "server_closing", None),
            (Stage::Greeting, "554 no mail here", NotSent, "greeting_refused", None),
            (Stage::Auth, "454 4.7.0 later", Throttled, "rate_limited", None),
            (Stage::Auth, "535 5.7.8 bad", Rejected, "auth_failed", Some(Misconfigured)),
            (Stage::Auth, "534 5.7.9 weak", Rejected, "auth_failed", Some(Misconfigured)),
            (Stage::Mail, "530 5.7.0 sign in first", Rejected, "auth_failed", Some(Misconfigured)),
            (Stage::Mail, "553 5.1.8 sender", Rejected, "sender_refused", Some(Misconfigured)),
            (Stage::Mail, "552 5.3.4 big", Rejected, "message_too_big", None),
            (Stage::Rcpt, "450 4.2.1 greylisted", Throttled, "greylisted", None),
            (Stage::Rcpt, "451 4.7.1 greylisted", Throttled, "greylisted", None),
            (Stage::Rcpt, "452 4.3.1 disk", Throttled, "server_full", None),
            (Stage::Rcpt, "550 5.1.1 who", Rejected, "no_such_user", Some(SuppressAddress)),
            (Stage::Rcpt, "550 5.1.2 where", Rejected, "no_such_domain", Some(SuppressAddress)),
            (Stage::Rcpt, "556 5.1.10 null", Rejected, "null_mx", Some(SuppressAddress)),
            (Stage::Rcpt, "550 no", Rejected, "recipient_refused", None),
            (Stage::Rcpt, "550 5.2.1 off", Rejected, "mailbox_disabled", None),
            (Stage::Rcpt, "552 5.2.2 full", Rejected, "mailbox_full", None),
            (Stage::Rcpt, "550 5.7.1 policy", Rejected, "policy_refused", None),
            (Stage::Rcpt, "550 4.1.1 odd", Rejected, "recipient_refused", None),
            (Stage::Content, "550 5.1.1 late", Rejected, "refused", None),
            (Stage::Content, "550 5.7.26 dmarc", Rejected, "policy_refused", None),
            (Stage::Content, "554 5.6.0 bad", Rejected, "content_refused", None),
            (Stage::Content, "451 4.3.0 later", Throttled, "try_later", None),
            (Stage::Content, "354 what", Unknown, "broken_answer", None),
            (Stage::Data, "250 what", NotSent, "broken_answer", None),
        ];
        for (stage, line, failure, reason, hint) in table {
            assert_eq!(judged(stage, line), (failure, reason.to_owned(), hint), "{line}");
        }
    }

    #[test]
    fn an_error_never_repeats_the_servers_text() {
        let e = reply("550 5.1.1 <ana@example.com>: user unknown").refusal(Stage::Rcpt);
        assert_eq!(e.detail, "the server answered 550 5.1.1 to RCPT");
    }
}
