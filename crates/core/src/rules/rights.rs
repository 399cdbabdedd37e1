//! What media allow (B2): how it is changed, and what needs which right.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Code, Refusal, Rights, Timestamp};

/// A change of rights: what is named is so from then on, and all else stays. `null` takes away what may be absent (as RFC 7396 has it).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RightsChange {
    /// [`Rights::copies`]. Fewer than were claimed take none of those back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<u32>,
    /// [`Rights::download`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<bool>,
    /// [`Rights::upload`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<bool>,
    /// [`Rights::upload_mib`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    pub upload_mib: Option<Option<u32>>,
    /// [`Rights::upload_readable`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_readable: Option<bool>,
    /// [`Rights::update`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<bool>,
    /// [`Rights::play`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub play: Option<bool>,
    /// [`Rights::transfer`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<bool>,
    /// [`Rights::expires_at`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    pub expires_at: Option<Option<Timestamp>>,
    /// [`Rights::attributes`], one by one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Option<String>>,
}

/// What is named, be it `null`.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl RightsChange {
    /// Whether nothing at all is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What the rights are after it.
    #[must_use]
    pub fn of(&self, rights: &Rights) -> Rights {
        let mut attributes = rights.attributes.clone();
        for (name, value) in &self.attributes {
            match value {
                Some(value) => attributes.insert(name.clone(), value.clone()),
                None => attributes.remove(name),
            };
        }
        Rights {
            copies: self.copies.unwrap_or(rights.copies),
            download: self.download.unwrap_or(rights.download),
            upload: self.upload.unwrap_or(rights.upload),
            upload_mib: self.upload_mib.unwrap_or(rights.upload_mib),
            upload_readable: self.upload_readable.unwrap_or(rights.upload_readable),
            update: self.update.unwrap_or(rights.update),
            play: self.play.unwrap_or(rights.play),
            transfer: self.transfer.unwrap_or(rights.transfer),
            expires_at: self.expires_at.unwrap_or(rights.expires_at),
            attributes,
        }
    }
}

/// What brings a copy, or what lies on the medium, to a later release over the network: the right to it, and the right to fetch it.
///
/// # Errors
/// [`Code::RightMissing`].
pub fn plan(rights: &Rights) -> Result<(), Refusal> {
    match (rights.update, rights.download) {
        (false, _) => Err(Refusal::with(Code::RightMissing, "update")),
        (true, false) => Err(Refusal::with(Code::RightMissing, "download")),
        (true, true) => Ok(()),
    }
}

/// What gives keys to a library: it is there to be played from.
///
/// # Errors
/// [`Code::RightMissing`].
pub fn library(rights: &Rights) -> Result<(), Refusal> {
    if rights.play { Ok(()) } else { Err(Refusal::with(Code::RightMissing, "play")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(json: &str) -> RightsChange {
        serde_json::from_str(json).expect("a change")
    }

    #[test]
    fn b2_only_what_is_named_changes() {
        let attributes = [("edition", "gold"), ("region", "eu")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let before = Rights { copies: 3, upload_mib: Some(5), expires_at: Some(Timestamp(9)), attributes, ..Rights::default() };
        assert_eq!(change("{}").of(&before), before);
        assert!(change("{}").is_empty() && !change(r#"{"expires_at": null}"#).is_empty() && !change(r#"{"play": false}"#).is_empty());
        let after =
            change(r#"{"copies": 2, "upload_mib": null, "expires_at": null, "attributes": {"region": null, "shop": "a"}}"#).of(&before);
        let attributes = [("edition", "gold"), ("shop", "a")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(after, Rights { copies: 2, upload_mib: None, expires_at: None, attributes, ..before });
    }

    #[test]
    fn b2_every_right_can_be_changed_and_no_other_word_is_taken() {
        let all = r#"{"copies": 2, "download": false, "upload": true, "upload_mib": 7, "upload_readable": true, "update": false, "play": false,
                      "transfer": false, "expires_at": 5, "attributes": {"a": "b"}}"#;
        let after = change(all).of(&Rights::default());
        assert_eq!(serde_json::from_str::<Rights>(all).expect("rights"), after);
        assert_eq!(
            serde_json::from_str::<RightsChange>(&serde_json::to_string(&change(all)).expect("JSON")).expect("a change"),
            change(all)
        );
        assert!(serde_json::from_str::<RightsChange>(r#"{"copys": 2}"#).is_err());
    }

    #[test]
    fn b2_later_releases_need_update_and_download_and_a_library_play() {
        let refused = |decided: Result<(), Refusal>| decided.err().map(|refusal| (refusal.code, refusal.detail.unwrap_or_default()));
        let with = |json: &str| change(json).of(&Rights::default());
        assert_eq!(refused(plan(&with("{}"))), None);
        assert_eq!(refused(plan(&with(r#"{"update": false}"#))), Some((Code::RightMissing, "update".to_owned())));
        assert_eq!(refused(plan(&with(r#"{"download": false}"#))), Some((Code::RightMissing, "download".to_owned())));
        assert_eq!(refused(library(&with(r#"{"download": false, "update": false}"#))), None);
        assert_eq!(refused(library(&with(r#"{"play": false}"#))), Some((Code::RightMissing, "play".to_owned())));
    }
}
