//! Reads the beginning of answers that were cut. The client stops at 64 KiB, and a faithful customer's twenty
//! conversations or a WhatsApp inbox with its synced templates can be longer; what is needed stands first in both.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The items of the array under `key`, as far as they came, and whether all of them did.
pub(crate) fn items<T: DeserializeOwned>(body: &[u8], key: &str) -> (Vec<T>, bool) {
    let mut list = List { items: Vec::new(), whole: false };
    // An error means that the answer ended or turned bad; `list` holds what came before.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(ListAt { key, list: &mut list });
    (list.items, list.whole)
}

/// The named members of an object, as far as they came.
pub(crate) fn members(body: &[u8], names: &[&str]) -> Map<String, Value> {
    let mut found = Map::new();
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Members { names, found: &mut found });
    found
}

struct List<T> {
    items: Vec<T>,
    whole: bool,
}

struct ListAt<'a, T> {
    key: &'a str,
    list: &'a mut List<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for ListAt<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == self.key {
                map.next_value_seed(&mut *self.list)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for &mut List<T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for &mut List<T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            self.items.push(item);
        }
        self.whole = true;
        Ok(())
    }
}

struct Members<'a> {
    names: &'a [&'a str],
    found: &'a mut Map<String, Value>,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if self.names.contains(&name.as_str()) {
                self.found.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"meta":{"a":[1]},"payload":[10,20,30],"rest":null}"#;

    #[test]
    fn a_whole_list_is_known_to_be_whole() {
        assert_eq!(items::<u8>(BODY.as_bytes(), "payload"), (vec![10, 20, 30], true));
        assert_eq!(items::<u8>(br#"{"payload":[]}"#, "payload"), (vec![], true));
    }

    #[test]
    fn a_cut_list_gives_what_came() {
        let cut = &BODY[..BODY.find("30").expect("it is there")];
        assert_eq!(items::<u8>(cut.as_bytes(), "payload"), (vec![10, 20], false));
    }

    #[test]
    fn rubbish_is_an_unfinished_nothing() {
        for body in ["", "<html>", "[]", "{}", "null", r#"{"payload":{}}"#] {
            assert_eq!(items::<u8>(body.as_bytes(), "payload"), (vec![], false), "{body}");
            assert!(members(body.as_bytes(), &["id"]).is_empty());
        }
    }

    #[test]
    fn members_before_the_cut_are_found() {
        let found = members(br#"{"id":7,"x":{"id":8},"name":"Centro","templates":[{"#, &["id", "name"]);
        assert_eq!(Value::Object(found), serde_json::json!({"id": 7, "name": "Centro"}));
    }
}
