//! Numbers, money, plurals and lists as a reader writes them.

use fixed_decimal::{Decimal, SignedRoundingMode, UnsignedRoundingMode};
use icu_decimal::DecimalFormatter;
use icu_list::ListFormatter;
use icu_list::options::{ListFormatterOptions, ListLength};
use icu_plurals::{PluralCategory, PluralRules};
use serde_json::Value;

use super::{Setting, plain_spaces};

/// `{{number n}}`, `{{number n 2}}`: with so many decimals.
pub(super) fn number(setting: &Setting, value: &Value, decimals: Option<u64>) -> Result<String, String> {
    write(setting, decimal(value)?, decimals)
}

fn write(setting: &Setting, mut n: Decimal, decimals: Option<u64>) -> Result<String, String> {
    if let Some(decimals) = decimals {
        let decimals = decimals.min(12) as i16;
        // As tills do: half a cent is one.
        n.round_with_mode(-decimals, SignedRoundingMode::Unsigned(UnsignedRoundingMode::HalfExpand));
        n.pad_end(-decimals);
    }
    let formatter = DecimalFormatter::try_new(setting.icu().into(), Default::default()).map_err(|e| e.to_string())?;
    Ok(plain_spaces(formatter.format(&n).to_string()))
}

fn decimal(value: &Value) -> Result<Decimal, String> {
    let text = match value {
        // Written out: an exponent of a few letters would be a number of thousands of digits.
        Value::Number(n) => n.as_i64().map_or_else(|| n.as_f64().unwrap_or_default().to_string(), |n| n.to_string()),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let plain = text.len() <= 40 && text.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
    text.parse().ok().filter(|_| plain).ok_or_else(|| {
        let given: String = text.chars().take(40).collect();
        format!("{given:?} is no number, or too large a one")
    })
}

/// Countries, the currency they count in, how they write it, and whether a space follows.
const LOCAL: &[(&str, &str, &str, bool)] = &[
    ("AR", "ARS", "$", true),
    ("BO", "BOB", "Bs", true),
    ("CL", "CLP", "$", false),
    ("CO", "COP", "$", true),
    ("CR", "CRC", "₡", false),
    ("DO", "DOP", "RD$", false),
    ("EC", "USD", "$", false),
    ("GB", "GBP", "£", false),
    ("GT", "GTQ", "Q", true),
    ("HN", "HNL", "L", true),
    ("MX", "MXN", "$", false),
    ("NI", "NIO", "C$", false),
    ("PA", "PAB", "B/.", true),
    ("PE", "PEN", "S/", true),
    ("PR", "USD", "$", false),
    ("PY", "PYG", "Gs.", true),
    ("SV", "USD", "$", false),
    ("US", "USD", "$", false),
    ("UY", "UYU", "$", true),
    ("VE", "VES", "Bs.S", false),
];

/// Decimals of the currencies that have not two (ISO 4217). Colombian pesos have two on paper, and nobody writes them.
fn decimals(code: &str) -> u64 {
    match code {
        "BIF" | "CLP" | "COP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// `{{currency amount "MXN"}}`; without a code, the money of the reader's country or the branch's.
pub(super) fn currency(setting: &Setting, value: &Value, code: Option<&str>) -> Result<String, String> {
    let amount = decimal(value)?;
    let region = setting.region();
    let local = |country: &str| LOCAL.iter().find(|(of, ..)| *of == country);
    let code = match code {
        Some(code) if code.len() == 3 && code.bytes().all(|b| b.is_ascii_alphabetic()) => code.to_ascii_uppercase(),
        Some(code) => {
            let given: String = code.chars().take(20).collect();
            return Err(format!("{given:?} is no currency; write its three letters, e.g. MXN"));
        }
        None if region == "ES" => "EUR".to_owned(),
        None => match local(region).or_else(|| local(setting.country())) {
            Some((_, code, ..)) => (*code).to_owned(),
            None => return Err("name the currency, e.g. \"MXN\"".to_owned()),
        },
    };
    let negative = decimal(value).is_ok_and(|n| n.to_string().starts_with('-'));
    let written = write(setting, amount, Some(decimals(&code)))?;
    let digits = written.trim_start_matches(['-', '−']);
    let sign = if negative { "-" } else { "" };
    let (symbol, spaced) = match local(region) {
        Some((_, own, symbol, spaced)) if *own == code => (*symbol, *spaced),
        _ => match (setting.language(), region, code.as_str()) {
            (_, _, "EUR") if setting.language() == "en" || matches!(region, "ES" | "") => ("€", false),
            ("en", _, "GBP") => ("£", false),
            ("en", _, "MXN") => ("MX$", false),
            ("en", "", "USD") => ("$", false),
            ("en", _, "USD") | ("es", "ES" | "", "USD") => ("US$", false),
            ("es", "AR" | "CO", "USD") => ("US$", true),
            _ => (code.as_str(), true),
        },
    };
    // Spain, and Spanish of nowhere in particular, write it behind the amount.
    if setting.language() == "es" && matches!(region, "ES" | "") {
        return Ok(format!("{sign}{digits} {symbol}"));
    }
    Ok(format!("{sign}{symbol}{}{digits}", if spaced { " " } else { "" }))
}

/// `{{plural n "cita" "citas"}}`, or by category: `{{plural n one="cita" other="citas" zero="ninguna"}}`.
pub(super) fn plural<'v>(
    setting: &Setting,
    value: &Value,
    forms: &[&'v Value],
    named: impl Fn(&str) -> Option<&'v Value>,
) -> Result<Value, String> {
    let n = decimal(value)?;
    let rules = PluralRules::try_new(setting.icu().into(), Default::default()).map_err(|e| e.to_string())?;
    let category = match rules.category_for(&n) {
        PluralCategory::Zero => "zero",
        PluralCategory::One => "one",
        PluralCategory::Two => "two",
        PluralCategory::Few => "few",
        PluralCategory::Many => "many",
        PluralCategory::Other => "other",
    };
    let none = n.to_string() == "0";
    let by_name = none.then(|| named("zero")).flatten().or_else(|| named(category)).or_else(|| named("other"));
    let by_place = if category == "one" { forms.first() } else { forms.get(1).or(forms.first()) };
    let found = by_name.or(by_place.copied());
    found.cloned().ok_or_else(|| "give it a word for one and a word for more".to_owned())
}

/// `{{list items}}`: a, b y c; `{{list items "or"}}`: a, b o c.
pub(super) fn list(setting: &Setting, items: &[String], kind: Option<&str>) -> Result<String, String> {
    let options = ListFormatterOptions::default().with_length(ListLength::Wide);
    let prefs = setting.icu().into();
    let formatter = match kind {
        None | Some("and") => ListFormatter::try_new_and(prefs, options),
        Some("or") => ListFormatter::try_new_or(prefs, options),
        Some(other) => return Err(format!("{other:?}: a list is joined by \"and\" or \"or\"")),
    };
    let formatter = formatter.map_err(|e| e.to_string())?;
    Ok(formatter.format(items.iter()).to_string())
}
