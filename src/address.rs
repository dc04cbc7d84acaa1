//! Phones, e-mail addresses, names, languages and zones as people type them, brought to the one spelling that is stored
//! and matched.
//!
//! A phone is accepted when its country exists and the number has that country's shape. Whether the range is in use is
//! not asked: operators open ranges faster than any table follows, and a provider says so anyway.

mod email;
mod plan;

use std::borrow::Cow;

pub use email::email;

/// Why a text is no usable address. `code` is what the API answers, `detail` a sentence for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct AddressError {
    pub code: &'static str,
    pub detail: String,
}

impl AddressError {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    fn phone(detail: impl Into<String>) -> Self {
        Self::new("phone", detail)
    }

    fn not_allowed(detail: impl Into<String>) -> Self {
        Self::new("phone_not_allowed", detail)
    }
}

/// Longest text looked at; a phone with all its brackets and spaces is far shorter.
const LONGEST: usize = 40;
/// E.164: at most 15 digits, country code included.
const MOST_DIGITS: usize = 15;

/// The E.164 form, in the canonical spelling of its country. `default_country` (ISO alpha-2) reads national forms.
pub fn phone(text: &str, default_country: Option<&str>) -> Result<String, AddressError> {
    let typed = Typed::read(text)?;
    if typed.international {
        return international(&typed.digits);
    }
    if (3..=6).contains(&typed.digits.len()) {
        return Err(AddressError::not_allowed("emergency and short numbers cannot be messaged"));
    }
    let Some(country) = default_country.filter(|c| !c.is_empty()) else {
        return Err(AddressError::phone(
            "no country is known for this number: write it as + country code and number, or set the tenant's country",
        ));
    };
    national(&typed.digits, country)
}

/// The country (ISO alpha-2) an E.164 number belongs to; `None` for none that is known.
pub fn country_of(e164: &str) -> Option<String> {
    let (regions, _) = plan::split(e164.strip_prefix('+')?)?;
    let [only] = regions else {
        // Shared codes (+1, +7, +44 ...) are told apart by patterns that only the full metadata has.
        let parsed = phonenumber::parse(None, e164).ok();
        let id = parsed.and_then(|number| number.country().id());
        return Some(id.map_or_else(|| regions[0].id.to_owned(), |id| id.as_ref().to_owned()));
    };
    Some(only.id.to_owned())
}

/// Refuses a number outside a tenant's list of countries; an empty list allows all.
pub fn allowed(e164: &str, countries: &[String]) -> Result<(), AddressError> {
    if countries.is_empty() {
        return Ok(());
    }
    let country = country_of(e164).unwrap_or_else(|| "unknown".to_owned());
    if countries.iter().any(|c| c.eq_ignore_ascii_case(&country)) {
        return Ok(());
    }
    Err(AddressError::not_allowed(format!("numbers of country {country} are not allowed for this tenant")))
}

/// Every spelling under which providers know the person behind an E.164 number, the canonical one first.
pub fn aliases(e164: &str) -> Vec<String> {
    let Some(digits) = e164.strip_prefix('+') else { return vec![e164.to_owned()] };
    let canonical = canonical(digits);
    let mut all = vec![format!("+{canonical}")];
    if let Some(rest) = with_length(&canonical, "52", 10) {
        all.push(format!("+521{rest}"));
    } else if let Some(rest) = with_length(&canonical, "54", 10) {
        all.push(format!("+549{rest}"));
    } else if let Some(rest) = with_length(&canonical, "55", 11)
        && rest.as_bytes()[2] == b'9'
        && had_eight_digits(&rest.as_bytes()[3..])
    {
        all.push(format!("+55{}{}", &rest[..2], &rest[3..]));
    }
    all
}

/// A person's name: one line of at most 200 characters.
pub fn name(text: &str) -> Result<String, AddressError> {
    line(text, "the name", 200)
}

/// A text that must stay on one line (names, subjects): line breaks in it could forge headers.
pub fn line(text: &str, what: &str, longest: usize) -> Result<String, AddressError> {
    let text = text.trim_matches(' ');
    if text.chars().any(breaks_a_line) {
        let detail = format!("{what} must not contain line breaks or other control characters");
        return Err(AddressError::new("control_characters", detail));
    }
    if text.chars().nth(longest).is_some() {
        return Err(AddressError::new("too_long", format!("{what} must not be longer than {longest} characters")));
    }
    Ok(text.to_owned())
}

/// A language and optionally more: `es`, `es-MX`, `zh-Hant-TW`.
pub fn locale(text: &str) -> Result<String, AddressError> {
    let mut parts = text.split('-');
    let language =
        parts.next().is_some_and(|l| (2..=3).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphabetic()));
    if language && parts.all(|p| (2..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric())) {
        return Ok(text.to_owned());
    }
    Err(AddressError::new("locale", "must be a language tag, e.g. es-MX"))
}

/// A zone by its IANA name.
pub fn timezone(text: &str) -> Result<String, AddressError> {
    let known = text.parse::<chrono_tz::Tz>();
    known
        .map(|_| text.to_owned())
        .map_err(|_| AddressError::new("timezone", "must be an IANA zone, e.g. America/Mexico_City"))
}

/// Control characters, and the two Unicode separators that some programs treat as line ends.
pub(crate) fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The digits of a phone as typed, and whether a plus stood before them.
struct Typed {
    digits: String,
    international: bool,
}

impl Typed {
    fn read(text: &str) -> Result<Self, AddressError> {
        let text = text.trim_matches([' ', '\t']);
        if text.len() > LONGEST {
            return Err(AddressError::phone("the number is too long"));
        }
        let (international, rest) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut digits = String::with_capacity(rest.len());
        for c in rest.chars() {
            match c {
                '0'..='9' => digits.push(c),
                ' ' | '-' | '.' | '(' | ')' | '/' => {}
                'a'..='z' | 'A'..='Z' | ';' | ',' | '#' | '*' | '=' | ':' => {
                    return Err(AddressError::phone("letters or extension: give the plain number, digits only"));
                }
                '+' => return Err(AddressError::phone("a plus belongs once, at the front")),
                c if c.is_ascii() => {
                    return Err(AddressError::phone(format!("{c:?} does not belong in a phone number")));
                }
                _ => return Err(AddressError::phone("only the digits 0 to 9 are understood, nothing invisible")),
            }
        }
        if digits.is_empty() {
            return Err(AddressError::phone("no digits in it"));
        }
        Ok(Self { digits, international })
    }
}

fn international(digits: &str) -> Result<String, AddressError> {
    if let Some(found) = fits(&canonical(digits))? {
        return Ok(found);
    }
    if digits.len() > MOST_DIGITS {
        return Err(AddressError::phone("longer than the 15 digits a phone number can have"));
    }
    let Some((regions, _)) = plan::split(digits) else {
        return Err(AddressError::phone("no country has this country code"));
    };
    // Odd but readable spellings, such as +44 (0)7912 or Argentina's 15, are left to the full metadata.
    reparsed(None, &format!("+{digits}"))?
        .ok_or_else(|| AddressError::phone(format!("not a number of country {}", regions[0].id)))
}

fn national(digits: &str, country: &str) -> Result<String, AddressError> {
    let country = country.to_ascii_uppercase();
    let Some(region) = plan::region(&country) else {
        return Err(AddressError::phone(format!("country {country} is not known, use its two letters (MX, ES, US)")));
    };
    let prefixed = !region.prefix.is_empty() && digits.starts_with(region.prefix);
    if !prefixed && region.fits(digits) {
        let full = format!("{}{digits}", region.code);
        if let Some(found) = fits(&canonical(&full))? {
            return Ok(found);
        }
    }
    // What Mexicans dialled before 2019: 01, 044, 045 or 1, then ten digits.
    if region.id == "MX" {
        let old = ["044", "045", "01", "1"].iter().find_map(|prefix| with_length(digits, prefix, 10));
        if let Some(rest) = old
            && let Some(found) = fits(&format!("52{rest}"))?
        {
            return Ok(found);
        }
    }
    let id = region.id.parse().ok();
    reparsed(id, digits)?.ok_or_else(|| AddressError::phone(format!("not a number of country {country}")))
}

/// Reads a spelling our own rules do not know with the whole metadata. Rare, and slow the first time (it is loaded).
fn reparsed(country: Option<phonenumber::country::Id>, text: &str) -> Result<Option<String>, AddressError> {
    let Ok(number) = phonenumber::parse(country, text) else { return Ok(None) };
    let digits = format!("{}{}", number.country().code(), number.national());
    fits(&canonical(&digits))
}

/// `Some` when canonical digits have the shape of a number of their country.
fn fits(digits: &str) -> Result<Option<String>, AddressError> {
    let Some((regions, national)) = plan::split(digits) else { return Ok(None) };
    // "+1 3xx xxxx" is in the plan for a few services that cannot be dialled from outside.
    let short = regions[0].code == 1 && national.len() != 10;
    if digits.len() > MOST_DIGITS || short || !regions.iter().any(|region| region.fits(national)) {
        return Ok(None);
    }
    if regions[0].is_premium(national) {
        return Err(AddressError::not_allowed("premium-rate numbers cannot be messaged"));
    }
    Ok(Some(format!("+{digits}")))
}

/// The one spelling of a person's number in countries that have two.
fn canonical(digits: &str) -> Cow<'_, str> {
    if let Some(rest) = with_length(digits, "521", 10) {
        return Cow::Owned(format!("52{rest}"));
    }
    if let Some(rest) = with_length(digits, "549", 10) {
        return Cow::Owned(format!("54{rest}"));
    }
    if let Some(rest) = with_length(digits, "55", 10)
        && had_eight_digits(&rest.as_bytes()[2..])
    {
        return Cow::Owned(format!("55{}9{}", &rest[..2], &rest[2..]));
    }
    Cow::Borrowed(digits)
}

/// Whether Brazilian subscriber digits are a mobile's from before the ninth digit. Trunked radio (70, 77 to 79) never
/// got one; landlines begin with 2 to 5.
fn had_eight_digits(subscriber: &[u8]) -> bool {
    match subscriber {
        [b'6' | b'8' | b'9', ..] => true,
        [b'7', second, ..] => !matches!(second, b'0' | b'7'..=b'9'),
        _ => false,
    }
}

fn with_length<'a>(digits: &'a str, prefix: &str, length: usize) -> Option<&'a str> {
    digits.strip_prefix(prefix).filter(|rest| rest.len() == length && rest.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
