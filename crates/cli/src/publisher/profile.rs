//! What a publisher's, a shop's and a repair centre's tools remember between commands: which authority, which token, which publisher, and the signing key.

use std::path::Path;

use counterfoil_format::holder::{HolderKeys, HolderKind, MAX_FILE};
use counterfoil_format::secret::SystemRandom;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::failure::Failure;
use crate::files;

const PROFILE: &str = "publisher.toml";
/// What a shop's tools remember, in a file of their own: one home may be a publisher's and a shop's.
pub const SHOP: &str = "shop.toml";
/// A repair centre's, likewise.
pub const REPAIR: &str = "repair.toml";
const KEY: &str = "publisher.key";
const LIMIT: u64 = 64 * 1024;
const LOGIN_AGAIN: &str = "Run `counterfoil publisher login` again.";

/// `publisher.toml`, `shop.toml` or `repair.toml`, private to its owner.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Address of the authority.
    pub server: String,
    /// A bearer token of role publisher, shop, repair, support or operator.
    pub token: String,
    /// Which publisher the tools act for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// Further certificate authorities to trust, a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<std::path::PathBuf>,
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

impl Profile {
    /// The token, for the authority that it was stored with and for no other.
    ///
    /// # Errors
    /// `other_server`.
    pub fn token_for(&self, server: &str) -> Result<String, Failure> {
        let bare = |server: &str| server.trim_end_matches('/').to_owned();
        match bare(server) == bare(&self.server) {
            true => Ok(self.token.clone()),
            false => Err(Failure::operation(
                "other_server",
                format!("the token that is known is for {}, and is not sent to {server}", self.server),
            )
            .hint("Give the token that is for this one: `--token-file FILE` where the command takes it, or COUNTERFOIL_TOKEN.")),
        }
    }

    /// The publisher's in `home`, if there is one.
    pub fn load(home: &Path) -> Result<Option<Self>, Failure> {
        Self::load_from(home, PROFILE)
    }

    /// The one of that name.
    pub fn load_from(home: &Path, name: &str) -> Result<Option<Self>, Failure> {
        let path = home.join(name);
        let Some(bytes) = files::read_private(&path, LIMIT)?.map(Zeroizing::new) else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).ok();
        text.and_then(|text| toml::from_str(text).ok()).map(Some).ok_or_else(|| {
            // What the parser says would repeat the line, and the line may be the token.
            let hint = if name == PROFILE { LOGIN_AGAIN } else { "Delete the file, and give `--server` and `--token-file` again." };
            Failure::operation("profile_invalid", format!("{} is not a profile", path.display())).hint(hint)
        })
    }

    /// Writes the publisher's into `home`.
    pub fn save(&self, home: &Path) -> Result<(), Failure> {
        self.save_to(home, PROFILE)
    }

    /// Writes it under that name.
    pub fn save_to(&self, home: &Path, name: &str) -> Result<(), Failure> {
        files::create_directory(home)?;
        let text = Zeroizing::new(toml::to_string(self).expect("a profile is plain text fields"));
        files::replace(&home.join(name), text.as_bytes(), 0o600)
    }
}

/// The signing key in `home`, made there if there is none. It stays on this machine; the authority gets the public half.
pub fn signing_key(home: &Path) -> Result<(HolderKeys, bool), Failure> {
    if let Some(keys) = existing_signing_key(home)? {
        return Ok((keys, false));
    }
    let keys = HolderKeys::generate(HolderKind::Publisher, &mut SystemRandom);
    files::create_private(&home.join(KEY), &keys.to_json())?;
    Ok((keys, true))
}

/// The signing key in `home`, which must be there.
pub fn required_signing_key(home: &Path) -> Result<HolderKeys, Failure> {
    existing_signing_key(home)?.ok_or_else(|| {
        Failure::operation("no_signing_key", format!("there is no signing key at {}", home.join(KEY).display()))
            .hint("Run `counterfoil publisher login --publisher ID --name NAME`, or put the publisher's key file there.")
    })
}

fn existing_signing_key(home: &Path) -> Result<Option<HolderKeys>, Failure> {
    let path = home.join(KEY);
    let Some(bytes) = files::read_private(&path, MAX_FILE as u64)?.map(Zeroizing::new) else { return Ok(None) };
    match HolderKeys::parse(&bytes) {
        Ok(keys) if keys.kind == HolderKind::Publisher => Ok(Some(keys)),
        Ok(keys) => Err(Failure::operation("key_file_invalid", format!("{} is the key file of a {}", path.display(), keys.kind))),
        Err(error) => Err(Failure::operation("key_file_invalid", format!("{}: {error}", path.display()))
            .hint("Restore the file from a copy. Releases signed by another key are refused by terminals.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_private_and_read_back() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(Profile::load(home.path()).expect("no error").is_none());
        let profile = Profile { server: "http://127.0.0.1:1".into(), token: "cft_x".into(), publisher: Some("p".into()), ca: None };
        profile.save(home.path()).expect("saved");
        let loaded = Profile::load(home.path()).expect("readable").expect("there");
        assert_eq!((loaded.token.as_str(), loaded.publisher.as_deref()), ("cft_x", Some("p")));
        std::fs::write(home.path().join(PROFILE), "token = cft_secret_without_quotes").expect("overwritten");
        let failure = Profile::load(home.path()).map(|_| ()).expect_err("not TOML");
        assert!(!failure.message.contains("cft_secret"), "{}", failure.message);
    }

    #[test]
    fn a_token_is_for_the_authority_that_it_was_stored_with() {
        let profile = Profile { server: "https://a.example".into(), token: "cft_x".into(), publisher: None, ca: None };
        for same in ["https://a.example", "https://a.example/"] {
            assert_eq!(profile.token_for(same).expect("the same"), "cft_x");
        }
        for other in ["http://a.example", "https://a.example:444", "https://a.example.org", "https://b.example", ""] {
            assert_eq!(profile.token_for(other).expect_err("another").code, "other_server", "{other}");
        }
    }

    #[test]
    fn the_signing_key_is_made_once() {
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(required_signing_key(home.path()).map(|_| ()).expect_err("none yet").code, "no_signing_key");
        let (first, made) = signing_key(home.path()).expect("made");
        let (second, again) = signing_key(home.path()).expect("read");
        assert_eq!((made, again), (true, false));
        assert_eq!(first.public(), second.public());
    }
}
