//! `application/x-www-form-urlencoded`, which two of the vendors speak in both directions.

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use plugin_api::Callback;
use plugin_api::http::Request;
use url::form_urlencoded::{Serializer, parse};

/// Puts a form into a request.
pub(crate) fn fill<'a>(request: Request<'a>, fields: &[(&str, &str)]) -> Request<'a> {
    let body = Serializer::new(String::new()).extend_pairs(fields).finish();
    request.header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")).body(body)
}

/// The fields of a form's body, decoded, in their order.
pub(crate) fn pairs(body: &[u8]) -> Vec<(String, String)> {
    parse(body).into_owned().collect()
}

/// The first value of a field; one without text counts as none.
pub(crate) fn field<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// Whether a callback's body is JSON by its own account.
pub(crate) fn is_json(callback: &Callback) -> bool {
    media_type(&callback.headers).is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}
