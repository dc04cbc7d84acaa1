//! `whatsapp.template.json`: the approved form of a template (see [`ApprovedForm`]), a JSON document each of whose texts
//! is a Handlebars template by itself, so that no value can change the document's shape.

use std::borrow::Cow;
use std::sync::OnceLock;

use handlebars::Context;
use plugin_api::ApprovedForm;
use serde_json::{Map, Value};

use super::engine::{self, Failed};
use super::{CHAT, LONGEST_SOURCE};

/// The name of its files, without language and `.json`.
pub(super) const KIND: &str = "whatsapp.template";

#[derive(Debug)]
pub(super) struct Form {
    pub locale: String,
    source: Cow<'static, str>,
    compiled: OnceLock<Result<Node, String>>,
}

#[derive(Debug)]
enum Node {
    Text(Box<handlebars::Template>),
    List(Vec<Self>),
    Fields(Vec<(String, Self)>),
    Plain(Value),
}

impl Form {
    pub fn new(locale: &str, source: Cow<'static, str>) -> Self {
        Self { locale: locale.to_owned(), source, compiled: OnceLock::new() }
    }

    pub fn check(&self) -> Result<(), String> {
        self.compiled().map(|_| ())
    }

    pub fn render(&self, data: &Value) -> Result<ApprovedForm, String> {
        let context = Context::from(data.clone());
        let filled = self.compiled()?.render(&context)?;
        serde_json::from_value(filled).map_err(|e| e.to_string())
    }

    fn compiled(&self) -> Result<&Node, String> {
        self.compiled.get_or_init(|| compile(&self.source)).as_ref().map_err(Clone::clone)
    }
}

fn compile(source: &str) -> Result<Node, String> {
    if source.len() > LONGEST_SOURCE {
        return Err(format!("longer than {LONGEST_SOURCE} bytes"));
    }
    let document: Value = serde_json::from_str(source).map_err(|e| e.to_string())?;
    // Its shape is checked once, with the texts as they are.
    serde_json::from_value::<ApprovedForm>(document.clone()).map_err(|e| e.to_string())?;
    Node::of(document)
}

impl Node {
    fn of(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Box::new(
                handlebars::Template::compile(&text).map_err(|e| format!("{text:?}: {}", e.reason()))?,
            )),
            Value::Array(items) => Self::List(items.into_iter().map(Self::of).collect::<Result<_, _>>()?),
            Value::Object(fields) => Self::Fields(
                fields.into_iter().map(|(name, value)| Ok((name, Self::of(value)?))).collect::<Result<_, String>>()?,
            ),
            plain => Self::Plain(plain),
        })
    }

    fn render(&self, context: &Context) -> Result<Value, String> {
        Ok(match self {
            Self::Text(text) => Value::String(engine::render(text, false, context, CHAT).map_err(|e| match e {
                Failed::TooLong => format!("a value is longer than {CHAT} bytes"),
                Failed::Render(e) => e.reason().to_string(),
            })?),
            Self::List(items) => Value::Array(items.iter().map(|i| i.render(context)).collect::<Result<_, _>>()?),
            Self::Fields(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), value.render(context)?)))
                    .collect::<Result<Map<_, _>, String>>()?,
            ),
            Self::Plain(value) => value.clone(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(source: &'static str) -> Form {
        Form::new("es", Cow::Borrowed(source))
    }

    #[test]
    fn every_text_is_filled_in_and_no_value_changes_the_shape() {
        let form = form(
            r#"{"name": "reminder", "language": "es_MX", "body": [{"text": "{{clientName}}"}, {"text": "a las {{time}}"}],
                "header": {"image": "https://x.example/{{id}}.png"},
                "buttons": [{"index": 0, "value": {"payload": "confirm:{{id}}"}}]}"#,
        );
        let data = json!({"clientName": "Ana \"},{\"text\":\"x", "time": "10:00", "id": 7});
        let filled = form.render(&data).unwrap();
        assert_eq!((filled.name.as_str(), filled.language.as_str()), ("reminder", "es_MX"));
        assert_eq!(
            filled.body.iter().map(|v| v.text.as_str()).collect::<Vec<_>>(),
            ["Ana \"},{\"text\":\"x", "a las 10:00"]
        );
        assert_eq!(
            serde_json::to_value(&filled.buttons).unwrap(),
            json!([{"index": 0, "value": {"payload": "confirm:7"}}])
        );
    }

    #[test]
    fn a_missing_value_and_a_wrong_shape_are_said() {
        assert!(form(r#"{"name": "r", "body": [{"text": "{{x}}"}]}"#).render(&json!({})).unwrap_err().contains('x'));
        assert!(form(r#"{"name": "r", "bodies": []}"#).check().unwrap_err().contains("bodies"));
        assert!(form(r#"{"name": "{{#if}"}"#).check().is_err());
    }
}
