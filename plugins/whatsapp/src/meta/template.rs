//! An approved form as Meta's `template`. A part without variables has no component.

use plugin_api::{ApprovedForm, FormButton, FormButtonValue, FormHeader, FormValue, SendError};
use serde_json::{Value, json};

use crate::form::{unusable, value};

/// Characters a quick reply's payload may have, and a coupon's code.
const PAYLOAD: usize = 128;
const CODE: usize = 15;

pub(crate) fn content(form: &ApprovedForm) -> Result<Value, SendError> {
    if form.name.is_empty() || form.language.is_empty() {
        return Err(unusable("needs a name and a language, as Meta shows them"));
    }
    let mut components = Vec::new();
    if let Some(header) = &form.header {
        components.push(json!({"type": "header", "parameters": [header_parameter(header)]}));
    }
    if !form.body.is_empty() {
        let parameters: Vec<_> = form.body.iter().map(text).collect();
        components.push(json!({"type": "body", "parameters": parameters}));
    }
    for button in &form.buttons {
        components.push(button_component(button)?);
    }
    let mut content = json!({"name": form.name, "language": {"code": form.language}});
    if !components.is_empty() {
        content["components"] = components.into();
    }
    Ok(content)
}

fn header_parameter(header: &FormHeader) -> Value {
    match header {
        FormHeader::Text(v) => text(v),
        FormHeader::Image(link) => json!({"type": "image", "image": {"link": link}}),
        FormHeader::Video(link) => json!({"type": "video", "video": {"link": link}}),
        FormHeader::Document(link) => json!({"type": "document", "document": {"link": link}}),
    }
}

fn text(v: &FormValue) -> Value {
    let mut parameter = json!({"type": "text", "text": value(&v.text)});
    if let Some(name) = &v.name {
        parameter["parameter_name"] = name.as_str().into();
    }
    parameter
}

fn button_component(button: &FormButton) -> Result<Value, SendError> {
    if button.index > 9 {
        return Err(unusable("has a button beyond the tenth; count them from 0"));
    }
    let (kind, parameter) = match &button.value {
        FormButtonValue::Payload(text) if text.chars().nth(PAYLOAD).is_some() => {
            return Err(unusable("has a button whose payload is longer than 128 characters"));
        }
        FormButtonValue::Code(text) if text.chars().nth(CODE).is_some() => {
            return Err(unusable("has a coupon code of more than 15 characters"));
        }
        FormButtonValue::Payload(text) => ("quick_reply", json!({"type": "payload", "payload": text})),
        FormButtonValue::UrlSuffix(text) => ("url", json!({"type": "text", "text": text})),
        FormButtonValue::Code(text) => ("copy_code", json!({"type": "coupon_code", "coupon_code": text})),
    };
    Ok(json!({"type": "button", "sub_type": kind, "index": button.index.to_string(), "parameters": [parameter]}))
}
