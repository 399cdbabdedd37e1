//! Titles and releases by name.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is not a title or release name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Titles.
    #[error("a title is 1 to 64 of a-z, 0-9 and inner hyphens, such as `sky-raider`")]
    Title,
    /// Release versions.
    #[error("a version is 1 to 64 of letters, digits and `.+-_`, beginning with a letter or digit, such as `1.0.0`")]
    Version,
    /// Channels.
    #[error("a channel is 1 to 32 of a-z, 0-9 and inner hyphens, such as `stable` or `beta`")]
    Channel,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $error:expr, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err($error) }
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Names a title for good: it is part of key derivations, file names and URLs.
    TitleId, NameError::Title, |text| text.len() <= 64 && is_label(text)
);
name!(
    /// Names one release of a title. Compared for equality only: order is what the publisher says, not what the characters suggest.
    ReleaseVersion, NameError::Version, |text| {
        (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_".contains(&b))
    }
);

name!(
    /// Says for whom a release is meant, such as `stable` or `beta`. Who names none gets [`Channel::default`], which is `stable`.
    Channel, NameError::Channel, |text| text.len() <= 32 && is_label(text)
);

impl Default for Channel {
    fn default() -> Self {
        Channel("stable".to_owned())
    }
}

/// Small letters, digits and inner hyphens; at least one.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What kind of thing a title is (C1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A game.
    Game,
    /// Music.
    Music,
    /// A film.
    Movie,
    /// An application.
    #[default]
    App,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Game => "game",
            Kind::Music => "music",
            Kind::Movie => "movie",
            Kind::App => "app",
        })
    }
}

impl FromStr for Kind {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        [Kind::Game, Kind::Music, Kind::Movie, Kind::App]
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or("a kind is game, music, movie or app")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_a_path_or_url_are_refused() {
        for bad in ["", "-a", "a-", "A", "a/b", "..", "a b", "é", &"a".repeat(65)] {
            assert_eq!(bad.parse::<TitleId>(), Err(NameError::Title), "{bad}");
        }
        for bad in ["", ".1", "-1", "1/2", "1 0", &"1".repeat(65)] {
            assert_eq!(bad.parse::<ReleaseVersion>(), Err(NameError::Version), "{bad}");
        }
        for bad in ["", "-a", "a-", "Beta", "a/b", "a b", "é", &"a".repeat(33)] {
            assert_eq!(bad.parse::<Channel>(), Err(NameError::Channel), "{bad}");
        }
        assert_eq!("stable".parse(), Ok(Channel::default()));
        assert!("sky-raider".parse::<TitleId>().is_ok());
        assert!("1.0.0-rc.1+b5".parse::<ReleaseVersion>().is_ok());
        assert!(serde_json::from_str::<TitleId>("\"../x\"").is_err());
    }

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        for kind in [Kind::Game, Kind::Music, Kind::Movie, Kind::App] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).expect("plain enum"), format!("\"{kind}\""));
        }
        assert!("book".parse::<Kind>().is_err());
    }
}
