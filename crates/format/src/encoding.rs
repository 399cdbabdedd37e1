//! Base64url without padding, JSON without doubled members, and the framing of what a key or tag is bound to.

use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Base64url without padding (RFC 7515 §2).
pub fn to_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The inverse of [`to_base64url`]. `None` for padding, characters outside the alphabet, and non-zero trailing bits: every
/// value has exactly one spelling.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Parses a JSON object, refusing members that occur twice in one object, at any depth (two readers might each believe another one).
pub fn parse_strict<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    // Serde would take an array of a structure's fields for the structure.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(serde_json::Error::custom("not an object"));
    }
    let mut walker = serde_json::Deserializer::from_slice(json);
    SingleMembers.deserialize(&mut walker)?;
    walker.end()?;
    serde_json::from_slice(json)
}

/// Every part behind its length (32 bits, big-endian): no two different lists of parts give the same bytes.
pub fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        let length = u32::try_from(part.len()).expect("parts are names and IDs, bounded far below 4 GiB");
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(part);
    }
    framed
}

/// Serde form of byte strings as base64url, for `#[serde(with = …)]`.
pub mod base64url {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// As text.
    ///
    /// # Errors
    /// What `to` says.
    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::to_base64url(bytes))
    }

    /// From text in its one spelling.
    ///
    /// # Errors
    /// What `from` says, and that it is no such text.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        super::from_base64url(&text).ok_or_else(|| D::Error::custom("not canonical base64url"))
    }
}

/// Walks any JSON value and keeps nothing but the names of the object that it is in.
struct SingleMembers;

impl<'de> DeserializeSeed<'de> for SingleMembers {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SingleMembers {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            map.next_value_seed(SingleMembers)?;
            if let Some(twice) = seen.replace(name) {
                return Err(A::Error::custom(format_args!("member {twice:?} occurs twice")));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(SingleMembers)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
