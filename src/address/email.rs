//! One e-mail address, and nothing that a mail program could read as two, as a header or as a literal host.

use super::AddressError;

const LONGEST: usize = 254;
const LONGEST_LOCAL: usize = 64;
const LONGEST_LABEL: usize = 63;

/// The address with its domain in lower case and ASCII form. The local part stays as it was typed.
pub fn email(text: &str) -> Result<String, AddressError> {
    let refuse = |detail: &str| AddressError::new("email", detail);
    let text = text.trim_matches(' ');
    if text.chars().any(super::breaks_a_line) {
        return Err(refuse("an e-mail address has no line breaks or control characters"));
    }
    let Some((local, domain)) = text.split_once('@') else { return Err(refuse("an e-mail address needs an @")) };
    if domain.contains(['@', ',', ';', ' ', '<', '>']) || local.contains([',', ';', ' ', '<', '>']) {
        return Err(refuse("exactly one address, without a name"));
    }
    if local.len() > LONGEST_LOCAL {
        return Err(refuse("the part before the @ is longer than 64 characters"));
    }
    if !local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom)) {
        return Err(refuse("the part before the @ is not valid (letters, digits, single dots, no accents)"));
    }
    let domain =
        ascii(domain).ok_or_else(|| refuse("the part after the @ is not a domain name such as example.com"))?;
    if local.len() + 1 + domain.len() > LONGEST {
        return Err(refuse("longer than 254 characters"));
    }
    Ok(format!("{local}@{domain}"))
}

/// A character of an RFC 5321 atom. Others need SMTPUTF8, which too many receivers lack.
fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

fn ascii(domain: &str) -> Option<String> {
    let plain = domain.is_ascii() && !domain.as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b"xn--"));
    let domain = if plain { domain.to_ascii_lowercase() } else { punycode(domain)? };
    is_public_name(&domain).then_some(domain)
}

fn punycode(domain: &str) -> Option<String> {
    // A URL's host is percent-decoded first, a mail domain is not.
    if domain.contains('%') {
        return None;
    }
    match url::Host::parse(domain).ok()? {
        url::Host::Domain(name) => Some(name),
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => None,
    }
}

fn is_public_name(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let Some((_, last)) = domain.rsplit_once('.') else { return false };
    domain.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}
