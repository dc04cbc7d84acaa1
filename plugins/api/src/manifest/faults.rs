//! What a `plugin.toml` can get wrong although it parses.

use std::collections::HashSet;

use super::{Manifest, Provider, Setting, SettingKind};
use crate::Settings;

/// Words in a setting's name that mean it should be kept secret.
const SECRET_WORDS: [&str; 5] = ["password", "secret", "token", "apikey", "accesskey"];

/// Every fault at once; none for a sane manifest.
pub fn manifest_faults(manifest: &Manifest) -> Vec<String> {
    let mut faults = Vec::new();
    if !is_name(&manifest.channel) {
        faults.push(format!("channel \"{}\" must be lower-case letters, digits and hyphens", manifest.channel));
    }
    if manifest.title.trim().is_empty() {
        faults.push("title is empty".to_owned());
    }
    let mut names = HashSet::new();
    for provider in &manifest.providers {
        if !names.insert(&provider.name) || !is_name(&provider.name) {
            faults.push(format!("provider \"{}\" is named twice or oddly", provider.name));
        }
        faults.extend(provider_faults(provider).into_iter().map(|fault| format!("{}: {fault}", provider.name)));
    }
    faults
}

fn provider_faults(provider: &Provider) -> Vec<String> {
    let mut faults = Vec::new();
    if provider.limits.concurrency == 0 || provider.limits.rate_per_minute == Some(0) {
        faults.push("limits of 0 would never send anything".to_owned());
    }
    if provider.max_length == Some(0) {
        faults.push("max-length of 0 fits no message".to_owned());
    }
    let mut names = HashSet::new();
    for setting in &provider.settings {
        if !names.insert(&setting.name) {
            faults.push(format!("setting \"{}\" is there twice", setting.name));
        }
        faults.extend(setting_faults(provider, setting));
    }
    faults
}

fn setting_faults(provider: &Provider, setting: &Setting) -> Vec<String> {
    let name = &setting.name;
    let mut faults = Vec::new();
    let is_camel_case = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let (outer, inner) = name.split_once('.').map_or((name.as_str(), None), |(outer, inner)| (outer, Some(inner)));
    if inner.is_some() && provider.settings.iter().any(|s| s.name == outer) {
        faults.push(format!("setting \"{name}\" is inside \"{outer}\", which is a setting of its own"));
    }
    if !is_camel_case(outer) || !inner.is_none_or(is_camel_case) {
        faults.push(format!("setting \"{name}\" must be camelCase"));
    }
    if setting.help.trim().is_empty() {
        faults.push(format!("setting \"{name}\" needs help for people"));
    }
    let looks_secret = SECRET_WORDS.iter().any(|word| name.to_ascii_lowercase().ends_with(word));
    if looks_secret && !matches!(setting.kind, SettingKind::Secret | SettingKind::Boolean) {
        faults.push(format!("setting \"{name}\" sounds secret; its kind must be \"secret\""));
    }
    if let Some(default) = &setting.default {
        let alone = Provider { settings: vec![setting.clone()], ..provider.clone() };
        let settings = Settings::from_iter([(name.clone(), default.clone())]);
        if alone.validate(settings).is_err() {
            faults.push(format!("setting \"{name}\" does not accept its own default"));
        }
    }
    faults
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
