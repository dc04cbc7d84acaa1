//! Reports about mail we sent: bounces (RFC 3464, 6522) and complaints (ARF, RFC 5965).

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use mail_parser::{HeaderName, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use plugin_api::{Event, Hint, OptOut, Received, Refused, State, Status};

use crate::account::Account;
use crate::mail;
use crate::proof::{self, Proof};
use crate::reply::{Reply, Stage};

/// Headers that may show to which address of ours a bounce came.
const ARRIVED_AT: [&str; 5] = ["To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To"];

/// What a mail that came back tells. No events: it is no report, not about a mail of this account, or nothing follows.
pub(crate) fn read(account: &Account, proof: &Proof, raw: &[u8]) -> Result<Received, Refused> {
    let malformed = || Refused::Malformed("what was sent is not a mail".into());
    let mail = MessageParser::default().parse(raw).ok_or_else(malformed)?;
    if mail.headers().is_empty() {
        return Err(malformed());
    }
    if !is(mail.root_part(), "multipart", &["report"]) {
        return Ok(Received::default());
    }
    // Of the report itself only; a mail that it returns may be one, too.
    let part = |kind: &str, names: &[&str]| mail.parts.iter().find(|p| is(p, kind, names));
    let returned = part("message", &["rfc822", "global", "rfc822-headers", "global-headers"]);
    let returned = returned.or_else(|| part("text", &["rfc822-headers"])).and_then(Returned::of);
    if let Some(status) = part("message", &["delivery-status", "global-delivery-status"]) {
        let bounce = bounce(account, proof, &mail, &groups(status.contents()), returned.as_ref());
        return Ok(Received::events(bounce.into_iter().collect()));
    }
    if let Some(feedback) = part("message", &["feedback-report"]) {
        let complaint = complaint(proof, &groups(feedback.contents()), returned.as_ref());
        return Ok(Received::events(complaint.into_iter().collect()));
    }
    Ok(Received::default().unread(Some("a report that is neither a bounce nor a complaint")))
}

fn bounce(
    account: &Account,
    proof: &Proof,
    mail: &Message<'_>,
    groups: &[Fields],
    returned: Option<&Returned>,
) -> Option<Event> {
    let id = match envelope_id(account, proof, mail, returned) {
        // A mark that is not ours: somebody made this up.
        Some(Err(())) => return None,
        Some(Ok(id)) => id,
        None => own_id(account, returned?.message_id.as_deref()?)?,
    };
    // One mail of ours is for one person; several lines mean that their address stood for several.
    let action = |fields: &&Fields| fields.get("action").map(|a| a.trim().to_ascii_lowercase());
    let find = |wanted: &[&str]| groups.iter().find(|f| action(f).is_some_and(|a| wanted.contains(&a.as_str())));
    let state = match (find(&["failed"]), find(&["delivered"]), find(&["relayed", "expanded"])) {
        (Some(failed), ..) => failure(failed),
        (None, Some(_), _) => State::Delivered,
        (None, None, Some(_)) => State::Sent,
        // Still being tried, or nothing we know.
        (None, None, None) => return None,
    };
    let at = mail.date().and_then(|date| u64::try_from(date.to_timestamp()).ok());
    Some(Event::Status(Status {
        message_id: format!("<{id}@{}>", account.from.email.domain()),
        reference: mail::unspelt(&id),
        state,
        at: at.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
    }))
}

/// The id that the envelope sender carried: in the address this came to, or in the returned mail.
fn envelope_id(
    account: &Account,
    proof: &Proof,
    mail: &Message<'_>,
    returned: Option<&Returned>,
) -> Option<Result<String, ()>> {
    let bounce = account.bounce.as_ref()?;
    let here = ARRIVED_AT.iter().filter_map(|name| mail.header_raw(*name)).collect::<Vec<_>>();
    let there = returned.and_then(|r| r.return_path.as_deref());
    here.into_iter().chain(there).flat_map(addresses).find_map(|(local, domain)| {
        let ours = domain.eq_ignore_ascii_case(bounce.domain());
        // Spelt in lower case by `id_in`; the escapes are read either way, and ids are lower case.
        if ours { proof.id_in(bounce.user(), local) } else { None }
    })
}

/// What looks like an address in a header's value, as local part and domain.
fn addresses(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let words = value.split(|c: char| c.is_whitespace() || "<>,;\"()".contains(c));
    words.filter_map(|word| word.rsplit_once('@')).take(10)
}

/// The id in a `Message-ID` that this account made. Those of the core cannot be guessed, so whoever names one has seen
/// the mail.
fn own_id(account: &Account, message_id: &str) -> Option<String> {
    let (id, domain) = message_id.trim().trim_matches(['<', '>']).rsplit_once('@')?;
    let fine = (1..=200).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    (fine && domain.eq_ignore_ascii_case(account.from.email.domain())).then(|| id.to_owned())
}

/// The final word about a recipient. The receiving server's own reply says more than a status of the reporter's that
/// says nothing (Exim's is always 5.0.0).
fn failure(fields: &Fields) -> State {
    let status = fields.get("status").and_then(enhanced);
    let diagnostic = fields.get("diagnostic-code").and_then(said);
    let reply = match (status, diagnostic) {
        (None | Some([_, 0, 0]), Some(reply)) => reply,
        (Some([class, subject, detail]), _) => {
            Reply { code: class * 100 + 50, text: format!("{class}.{subject}.{detail}") }
        }
        (None, None) => Reply { code: 550, text: String::new() },
    };
    let code = reply.enhanced().map_or_else(|| reply.code.to_string(), |[a, b, c]| format!("{a}.{b}.{c}"));
    let detail = format!("the mail came back: {code}");
    if reply.code / 100 != 5 {
        return State::Failed { reason: "delivery_expired".into(), detail, hint: None };
    }
    let judged = reply.refusal(Stage::Rcpt);
    State::Failed { reason: judged.reason, detail, hint: judged.hint.filter(|h| *h == Hint::SuppressAddress) }
}

/// `smtp; 550-5.1.1 no such user`, of one or more lines put together.
fn said(diagnostic: &str) -> Option<Reply> {
    let (kind, text) = diagnostic.split_once(';')?;
    let text = text.trim_start();
    let (code, rest) = text.split_at_checked(3)?;
    let smtp = kind.trim().eq_ignore_ascii_case("smtp") && code.bytes().all(|b| b.is_ascii_digit());
    let code = code.parse().ok().filter(|code| smtp && (400..600).contains(code))?;
    Some(Reply { code, text: rest.trim_start_matches([' ', '-']).to_owned() })
}

/// `5.1.1`, and whatever comment follows.
fn enhanced(status: &str) -> Option<[u16; 3]> {
    let mut parts = status.split_whitespace().next()?.split('.').map(|p| p.parse::<u16>().ok().filter(|n| *n < 1000));
    let code = [parts.next()??, parts.next()??, parts.next()??];
    matches!(code[0], 2 | 4 | 5).then_some(code)
}

fn complaint(proof: &Proof, groups: &[Fields], returned: Option<&Returned>) -> Option<Event> {
    let kind = groups.iter().find_map(|f| f.get("feedback-type"))?.trim().to_ascii_lowercase();
    let (reason, marketing_only) = match kind.as_str() {
        "abuse" | "fraud" => ("complaint", false),
        "opt-out" | "opt-out-list" => ("unsubscribed", true),
        // "not-spam" praises, "auth-failure" is about signatures, the rest is not about a person's wish.
        _ => return None,
    };
    // Reporters black out addresses; ours is in a mark of our own, or this is about somebody else's mail.
    let address = proof.recipient_in(returned?.recipient.as_deref()?)?;
    Some(Event::OptOut(OptOut { address, reason: Cow::Borrowed(reason), marketing_only }))
}

/// What we need of the mail that a report returns, whole or only its headers.
struct Returned {
    message_id: Option<String>,
    return_path: Option<String>,
    recipient: Option<String>,
}

impl Returned {
    fn of(part: &MessagePart<'_>) -> Option<Self> {
        if let PartType::Message(inner) = &part.body {
            return Some(Self::from(inner));
        }
        MessageParser::default().parse_headers(part.contents()).map(|inner| Self::from(&inner))
    }

    fn from(mail: &Message<'_>) -> Self {
        let raw = |name| mail.header_raw(name).map(str::to_owned);
        Self {
            message_id: raw(HeaderName::MessageId),
            return_path: raw(HeaderName::ReturnPath),
            recipient: raw(HeaderName::Other(proof::RECIPIENT.into())),
        }
    }
}

fn is(part: &MessagePart<'_>, kind: &str, names: &[&str]) -> bool {
    part.content_type().is_some_and(|t| {
        t.ctype().eq_ignore_ascii_case(kind)
            && t.subtype().is_some_and(|s| names.iter().any(|name| s.eq_ignore_ascii_case(name)))
    })
}

/// One block of `Name: value` lines.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The most blocks that are looked at.
const MOST_GROUPS: usize = 100;

/// Blocks parted by empty lines, their folded lines joined.
fn groups(content: &[u8]) -> Vec<Fields> {
    let text = String::from_utf8_lossy(content);
    let mut groups = vec![Fields::default()];
    for line in text.lines() {
        let last = groups.last_mut();
        let fields = last.map(|group| &mut group.0);
        match (line.trim_end(), fields) {
            ("", Some(fields)) if !fields.is_empty() => {
                if groups.len() == MOST_GROUPS {
                    break;
                }
                groups.push(Fields::default());
            }
            (line, Some(fields)) if line.starts_with([' ', '\t']) => {
                if let Some((_, value)) = fields.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim_start());
                }
            }
            (line, Some(fields)) => {
                if let Some((name, value)) = line.split_once(':') {
                    fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                }
            }
            (_, None) => {}
        }
    }
    groups
}
