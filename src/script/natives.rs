//! What scripts can call beside Rhai's own: helpers for requests and signatures, and versions of those of Rhai's
//! functions whose result could be far larger than their arguments.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Map, NativeCallContext, Position,
};
use sha2::{Digest, Sha256};

use super::{run, value};

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// Those that scripts use most; a misspelt one is looked for here.
const COMMON: [&str; 60] = [
    "base64",
    "base64_url",
    "basic_auth",
    "escape_html",
    "from_base64",
    "hmac_sha256",
    "hmac_sha256_base64",
    "join",
    "parse_json",
    "pick",
    "sha256",
    "shorten",
    "to_json",
    "url_encode",
    "abs",
    "all",
    "append",
    "chars",
    "clear",
    "contains",
    "debug",
    "drain",
    "ends_with",
    "filter",
    "find",
    "get",
    "index_of",
    "insert",
    "is_empty",
    "keys",
    "len",
    "make_lower",
    "make_upper",
    "map",
    "max",
    "min",
    "pad",
    "parse_float",
    "parse_int",
    "pop",
    "print",
    "push",
    "reduce",
    "remove",
    "replace",
    "reverse",
    "round",
    "some",
    "sort",
    "split",
    "starts_with",
    "sub_string",
    "to_float",
    "to_int",
    "to_lower",
    "to_string",
    "to_upper",
    "trim",
    "type_of",
    "values",
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMON.into_iter()
}

pub(super) fn register(engine: &mut Engine) {
    size_checked(engine);
    texts(engine);
    hashes(engine);
    data(engine);
}

/// Rhai looks at sizes after a function returned, which is too late for these.
fn size_checked(engine: &mut Engine) {
    type S<'a> = &'a mut ImmutableString;
    engine
        .register_fn("replace", |c: NativeCallContext, s: S, what: &str, by: &str| replace(&c, s, what, by))
        .register_fn("replace", |c: NativeCallContext, s: S, what: &str, by: char| {
            replace(&c, s, what, &by.to_string())
        })
        .register_fn("replace", |c: NativeCallContext, s: S, what: char, by: &str| {
            replace(&c, s, &what.to_string(), by)
        })
        .register_fn("replace", |c: NativeCallContext, s: S, what: char, by: char| {
            replace(&c, s, &what.to_string(), &by.to_string())
        })
        // It would hold a thread. Scripts that call it are refused before; what may get past that ends here.
        .register_fn("sleep", |_: i64| -> Fallible<()> { Err("`sleep` is not available in these scripts".into()) })
        .register_fn("sleep", |_: f64| -> Fallible<()> { Err("`sleep` is not available in these scripts".into()) });
}

fn replace(context: &NativeCallContext, text: &mut ImmutableString, what: &str, by: &str) -> Fallible<()> {
    let found = text.matches(what).count();
    fits(context, text.len() - found * what.len() + found * by.len())?;
    *text = text.replace(what, by).into();
    Ok(())
}

/// No text is made that a script may not have.
fn fits(context: &NativeCallContext, length: usize) -> Fallible<()> {
    if length > context.engine().max_string_size() {
        let error = EvalAltResult::ErrorDataTooLarge("Length of string".into(), Position::NONE);
        return Err(error.into());
    }
    Ok(())
}

fn texts(engine: &mut Engine) {
    engine
        .register_fn("url_encode", |text: &str| made_of(text, url_encode))
        .register_fn("base64", |text: &str| made_of(text, |t| STANDARD.encode(t)))
        .register_fn("base64_url", |text: &str| made_of(text, |t| URL_SAFE_NO_PAD.encode(t)))
        .register_fn("basic_auth", |user: &str, password: &str| {
            made_of(&format!("{user}:{password}"), |t| format!("Basic {}", STANDARD.encode(t)))
        })
        .register_fn("from_base64", |text: &str| {
            let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('='));
            bytes.ok().and_then(|b| String::from_utf8(b).ok()).map_or(Dynamic::UNIT, Dynamic::from)
        })
        .register_fn("escape_html", |context: NativeCallContext, text: &str| -> Fallible<String> {
            let mut escaped = String::with_capacity(text.len());
            for c in text.chars() {
                match c {
                    '&' => escaped.push_str("&amp;"),
                    '<' => escaped.push_str("&lt;"),
                    '>' => escaped.push_str("&gt;"),
                    '"' => escaped.push_str("&quot;"),
                    '\'' => escaped.push_str("&#39;"),
                    c => escaped.push(c),
                }
            }
            fits(&context, escaped.len()).map(|()| escaped)
        })
        .register_fn("shorten", |text: &str, most: i64| shorten(text, most));
}

/// As `make` says; of a text with a secret in it, another placeholder.
fn made_of(text: &str, make: impl Fn(&str) -> String) -> Fallible<String> {
    let made = run::secrets(|secrets| Some(secrets.derive(text, &make))).unwrap_or_else(|| Some(make(text)));
    made.ok_or_else(|| "too many texts are made of secrets".into())
}

fn url_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// At most `most` characters, the last of them an ellipsis where something is left out.
fn shorten(text: &str, most: i64) -> String {
    let most = usize::try_from(most).unwrap_or(0);
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain((most > 0).then_some('…')).collect()
}

fn hashes(engine: &mut Engine) {
    engine
        .register_fn("sha256", |text: &str| made_of(text, |t| hex(&Sha256::digest(t))))
        .register_fn("hmac_sha256", |key: &str, text: &str| hmac(key, text).map(|mac| hex(&mac)))
        .register_fn("hmac_sha256_base64", |key: &str, text: &str| hmac(key, text).map(|mac| STANDARD.encode(mac)));
}

/// Of texts that may hold secrets; the result gives none of them away.
fn hmac(key: &str, text: &str) -> Fallible<Vec<u8>> {
    let reveal = |text: &str| run::secrets(|secrets| Some(secrets.reveal(text))).unwrap_or_else(|| text.to_owned());
    let key = reveal(key);
    // How Standard Webhooks write a key of bytes.
    let key = match key.strip_prefix("whsec_") {
        Some(bytes) => STANDARD_NO_PAD
            .decode(bytes.trim_end_matches('='))
            .map_err(|_| "a key that starts with whsec_ must go on in base64")?,
        None => key.into_bytes(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| "not a usable key")?;
    mac.update(reveal(text).as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn data(engine: &mut Engine) {
    // For maps Rhai has one of its own, which takes Rust's escapes for those of JSON.
    FuncRegistration::new("to_json")
        .with_purity(true)
        .register_into_engine(engine, |context: NativeCallContext, fields: &mut Map| {
            written(&context, value::map_to_text(fields))
        });
    engine
        .register_fn("to_json", |context: NativeCallContext, value: Dynamic| written(&context, value::to_text(&value)))
        .register_fn("parse_json", |text: &str| {
            serde_json::from_str(text).map_or(Dynamic::UNIT, |json| value::to_dynamic(&json))
        })
        .register_fn("pick", |value: Dynamic, path: &str| pick(value, path))
        .register_fn("join", |context: NativeCallContext, items: Array, between: &str| -> Fallible<String> {
            let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
            let gaps = texts.len().saturating_sub(1) * between.len();
            fits(&context, texts.iter().map(String::len).sum::<usize>() + gaps)?;
            Ok(texts.join(between))
        });
}

fn written(context: &NativeCallContext, json: Result<String, String>) -> Fallible<String> {
    let json = json.map_err(|e| format!("to_json takes plain data, but {e}"))?;
    fits(context, json.len()).map(|()| json)
}

/// What lies at `a.b.0.c`, or `()` where anything on the way is missing.
pub(super) fn pick(mut value: Dynamic, path: &str) -> Dynamic {
    for step in path.split('.') {
        value = if value.is_map() {
            value.cast::<rhai::Map>().remove(step).unwrap_or(Dynamic::UNIT)
        } else if value.is_array() {
            let items = value.cast::<Array>();
            step.parse().ok().and_then(|n: usize| items.into_iter().nth(n)).unwrap_or(Dynamic::UNIT)
        } else {
            return Dynamic::UNIT;
        };
    }
    value
}
