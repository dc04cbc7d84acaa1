//! Puts the layers on each other and finds every fault: unknown keys by comparing with the compiled-in file, which
//! names them all; bad values by trying each one alone over the defaults, so that no fault hides another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use toml::de::DeTable;
use toml::{Spanned, Table, Value};

use super::describe::{Effective, Origin};
use super::{Config, ConfigErrors, ConfigFault, DEFAULTS};
use crate::suggest::nearest;

const PREFIX: &str = "RECADO_";

/// Stands for every channel: the keys are the same.
const ANY_CHANNEL: &str = "channels.sms";

/// Never shown, and never quoted in a fault.
pub(super) const SECRETS: [&str; 3] = ["auth.operator_key", "auth.jwt_secret", "auth.cron_secret"];

/// May come from a file named by a `..._FILE` variable: the secrets, and the URL that may hold a password.
const FROM_FILE: [&str; 4] = [SECRETS[0], SECRETS[1], SECRETS[2], "store.url"];

pub(super) static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| Value::Table(DEFAULTS.parse().expect("config.toml is compiled in and read by a test")));

/// One value that a layer sets.
pub(super) struct Leaf {
    pub key: String,
    pub value: Value,
    pub origin: Origin,
}

/// What the schema says about a dotted key.
enum Known {
    Section,
    /// With its default, which shows the type.
    Value(&'static Value),
    No,
}

pub(super) fn merge(
    file: Option<(&Path, &str)>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigErrors> {
    let mut faults = vec![];
    let mut leaves = vec![];
    if let Some((name, text)) = file {
        read_file(name, text, &mut leaves, &mut faults);
    }
    read_env(env, &mut leaves, &mut faults);

    let defaults = Figment::from(Toml::string(DEFAULTS));
    for leaf in &leaves {
        let alone = defaults.clone().merge(Serialized::global(&leaf.key, &leaf.value));
        if let Err(e) = alone.extract::<Config>() {
            faults.push(fault(leaf.origin.to_string(), &leaf.key, describe_kind(&leaf.key, &e.kind)));
        }
    }
    if !faults.is_empty() {
        return Err(ConfigErrors(faults));
    }

    let merged = leaves.iter().fold(defaults, |layers, leaf| layers.merge(Serialized::global(&leaf.key, &leaf.value)));
    let mut config: Config = merged
        .extract()
        .map_err(|e| ConfigErrors(vec![fault("config".into(), &e.path.join("."), e.kind.to_string())]))?;
    config.file = file.map(|(name, _)| name.to_owned());
    config.effective = Effective::new(leaves);
    check_together(&config)?;
    Ok(config)
}

/// What only two values together can have wrong.
fn check_together(config: &Config) -> Result<(), ConfigErrors> {
    let delivery = &config.delivery;
    if delivery.lease > delivery.call_timeout {
        return Ok(());
    }
    let set = |key| config.effective.origin(key).filter(|origin| *origin != &Origin::Default);
    let place = set("delivery.lease").or_else(|| set("delivery.call_timeout")).map(ToString::to_string);
    let detail = "must be longer than delivery.call_timeout, or a second node repeats calls that still run";
    Err(ConfigErrors(vec![fault(place.unwrap_or_default(), "delivery.lease", detail.into())]))
}

fn fault(place: String, key: &str, detail: String) -> ConfigFault {
    ConfigFault { place, key: key.to_owned(), detail }
}

fn describe_kind(key: &str, kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.clone(),
        _ if FROM_FILE.contains(&key) => "must be a text in quotes".into(),
        Kind::InvalidType(found, expected) => format!("is {found}, must be {}", plain(expected)),
        other => other.to_string(),
    }
}

/// serde's words for what it wanted, as an operator would say them.
fn plain(expected: &str) -> &str {
    match expected {
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "a sequence" => "a list",
        other => other,
    }
}

fn known(key: &str) -> Known {
    // Any name may be a channel: script plugins bring their own.
    let path = match key.strip_prefix("channels.").map(|rest| rest.split_once('.')) {
        Some(Some((_, field))) => format!("{ANY_CHANNEL}.{field}"),
        Some(None) => ANY_CHANNEL.to_owned(),
        None => key.to_owned(),
    };
    match path.split('.').try_fold(&*SCHEMA, |at, part| at.get(part)) {
        Some(Value::Table(_)) => Known::Section,
        Some(value) => Known::Value(value),
        None => Known::No,
    }
}

/// Calls `visit` with each dotted key, sections before what is in them.
fn walk(table: &Table, prefix: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (name, value) in table {
        let key = join(prefix, name);
        visit(&key, value);
        if let (Value::Table(inner), Known::Section) = (value, known(&key)) {
            walk(inner, &key, visit);
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn unknown(key: &str) -> String {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let siblings = names_in(if section.starts_with("channels.") { ANY_CHANNEL } else { section });
    if let Some(near) = nearest(name, siblings.iter().copied()) {
        return format!("unknown key (did you mean \"{near}\"?)");
    }
    let elsewhere = names_in("").into_iter().find(|section| names_in(section).contains(&name));
    match elsewhere {
        Some(section) => format!("unknown key (did you mean \"{section}.{name}\"?)"),
        None if siblings.is_empty() => format!("unknown key (there is no section [{section}])"),
        None => format!("unknown key (there are: {})", siblings.join(", ")),
    }
}

/// The names directly in a section, or the sections for `""`.
fn names_in(section: &str) -> Vec<&'static str> {
    let path = section.split('.').filter(|part| !part.is_empty());
    let table = path.into_iter().try_fold(&*SCHEMA, |at, part| at.get(part)).and_then(Value::as_table);
    table.map(|table| table.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn read_file(name: &Path, text: &str, leaves: &mut Vec<Leaf>, faults: &mut Vec<ConfigFault>) {
    let place = |offset: usize| format!("{}:{}", name.display(), line_of(text, offset));
    let (spanned, errors) = DeTable::parse_recoverable(text);
    let table = match text.parse::<Table>() {
        Ok(table) if errors.is_empty() => table,
        result => {
            let mut errors = errors;
            if errors.is_empty() {
                errors.extend(result.err());
            }
            let offset = |e: &toml::de::Error| e.span().map_or(0, |span| span.start);
            faults.extend(errors.iter().map(|e| fault(place(offset(e)), "", format!("not TOML: {}", e.message()))));
            return;
        }
    };
    let mut offsets = BTreeMap::new();
    key_offsets(spanned.get_ref(), "", &mut offsets);
    let place = |key: &str| place(offsets.get(key).copied().unwrap_or_default());

    walk(&table, "", &mut |key, value| {
        let channel = key.strip_prefix("channels.").filter(|rest| !rest.contains('.'));
        match known(key) {
            Known::No => faults.push(fault(place(key), key, unknown(key))),
            Known::Section if !value.is_table() => {
                faults.push(fault(place(key), key, format!("is a section: write [{key}]")));
            }
            Known::Section => {
                if channel.is_some_and(|name| !is_channel_name(name)) {
                    faults.push(fault(place(key), key, "a channel's name has only a-z, 0-9, - and _".into()));
                }
            }
            Known::Value(_) => {
                leaves.push(Leaf { key: key.to_owned(), value: value.clone(), origin: Origin::File(place(key)) });
            }
        }
    });
}

fn is_channel_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn key_offsets(table: &DeTable<'_>, prefix: &str, offsets: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let key = join(prefix, name.get_ref());
        if let Some(inner) = value.get_ref().as_table() {
            key_offsets(inner, &key, offsets);
        }
        offsets.insert(key, Spanned::span(name).start);
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

fn read_env(env: impl IntoIterator<Item = (String, String)>, leaves: &mut Vec<Leaf>, faults: &mut Vec<ConfigFault>) {
    // Sorted, so that faults come in the same order every time.
    let variables: BTreeMap<String, String> =
        env.into_iter().filter(|(name, _)| name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains("__"))).collect();
    for (name, raw) in &variables {
        let key = dotted(name);
        match known(&key) {
            Known::Value(default) => {
                let value = typed(raw, default);
                leaves.push(Leaf { key, value, origin: Origin::Variable(name.clone()) });
            }
            Known::Section => faults.push(fault(name.clone(), &key, "is a section: set one of its keys".into())),
            Known::No => match key.strip_suffix("_file").filter(|base| FROM_FILE.contains(base)) {
                None => faults.push(fault(name.clone(), &key, unknown(&key))),
                Some(base) if variables.keys().any(|other| dotted(other) == base) => {
                    faults.push(fault(
                        name.clone(),
                        base,
                        "is also set by its own variable: keep one of the two".into(),
                    ));
                }
                Some(base) => match std::fs::read_to_string(raw) {
                    Err(e) => faults.push(fault(name.clone(), base, format!("{raw} cannot be read: {e}"))),
                    Ok(text) => leaves.push(Leaf {
                        key: base.to_owned(),
                        // Editors and `echo` end a file with a newline that is no part of the secret.
                        value: Value::String(text.trim_end_matches(['\r', '\n']).to_owned()),
                        origin: Origin::Variable(name.clone()),
                    }),
                },
            },
        }
    }
}

fn dotted(variable: &str) -> String {
    variable.strip_prefix(PREFIX).unwrap_or(variable).to_lowercase().replace("__", ".")
}

/// A variable is text; the default shows what it stands for. So a key of digits stays a text, `["127.0.0.0/8"]` and
/// `127.0.0.0/8,10.0.0.0/8` are lists, and what does not fit stays text and becomes a fault.
fn typed(raw: &str, default: &Value) -> Value {
    let text = || Value::String(raw.to_owned());
    match default {
        Value::Boolean(_) => raw.trim().parse().map_or_else(|_| text(), Value::Boolean),
        Value::Integer(_) => raw.trim().parse().map_or_else(|_| text(), Value::Integer),
        Value::Array(_) => match format!("list = {raw}").parse::<Table>().map(|mut table| table.remove("list")) {
            Ok(Some(list @ Value::Array(_))) => list,
            _ => raw
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(Value::from)
                .collect::<Vec<_>>()
                .into(),
        },
        _ => text(),
    }
}
