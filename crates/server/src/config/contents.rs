//! `[contents]`: where sealed objects lie, and how they reach whoever asks for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::ConfigError;

/// `[contents]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contents {
    /// Directory of the contents store, where there is no `url`.
    pub dir: PathBuf,
    /// `s3://bucket/prefix`, `gs://…`, `az://container/…`, `file:///…`; goes before `dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Settings of that store, by the names that the `object_store` crate gives them; they go before the environment.
    pub options: StoreOptions,
    /// More of them, TOML, mode 0600: for secrets. They go before `options`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options_file: Option<PathBuf>,
    /// Where a GET of an object is sent.
    pub redirect: Redirect,
    /// What stands before `/{object}` in addresses of the CDN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdn_url: Option<String>,
    /// Keys of the CDN's addresses, 64 hexadecimal digits a line, mode 0600. The first signs, all of them verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key_file: Option<PathBuf>,
    /// How long a signed address is good, in seconds.
    pub signed_seconds: u64,
    /// Hand out objects only to addresses signed with one of those keys.
    pub require_signature: bool,
}

/// Where a GET of an object is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirect {
    /// Nowhere: this process sends the bytes.
    #[default]
    None,
    /// To the store, by an address that the store's own signature makes good for a while.
    Store,
    /// To a CDN, by an address signed with a key that CDN and authority share.
    Cdn,
}

/// Settings of an object store. What may be secret is not shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct StoreOptions(pub BTreeMap<String, String>);

impl Default for Contents {
    fn default() -> Self {
        Self {
            dir: "contents".into(),
            url: None,
            options: StoreOptions::default(),
            options_file: None,
            redirect: Redirect::None,
            cdn_url: None,
            signing_key_file: None,
            signed_seconds: 600,
            require_signature: false,
        }
    }
}

impl Contents {
    /// The settings of the store: the file's go before those of the configuration.
    ///
    /// # Errors
    /// When the file is open to others, or is not TOML of text, numbers and booleans.
    pub fn all_options(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut all = self.options.0.clone();
        let Some(path) = &self.options_file else { return Ok(all) };
        let wrong = |reason: String| ConfigError::Value { key: "contents.options_file", reason: format!("{}: {reason}", path.display()) };
        let text = read_private(path).map_err(wrong)?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        for (name, value) in table {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                _ => return Err(wrong(format!("{name} is neither text nor a number nor true or false"))),
            };
            all.insert(name, value);
        }
        Ok(all)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        let cdn = self.redirect == Redirect::Cdn;
        if self.redirect == Redirect::Store && self.url.as_deref().is_none_or(|url| url.starts_with("file:")) {
            return wrong(
                "contents.redirect",
                "a directory has no addresses of its own to send anybody to: `url` must name an object store",
            );
        }
        if cdn && self.cdn_url.is_none() {
            return wrong("contents.cdn_url", "`redirect = \"cdn\"` needs it");
        }
        if (cdn || self.require_signature) && self.signing_key_file.is_none() {
            return wrong("contents.signing_key_file", "signed addresses need it");
        }
        if self.cdn_url.as_deref().is_some_and(|url| !(url.starts_with("https://") || url.starts_with("http://")) || url.ends_with('/')) {
            return wrong("contents.cdn_url", "it begins with https:// or http:// and does not end with /");
        }
        if !(30..=7 * 24 * 60 * 60).contains(&self.signed_seconds) {
            return wrong("contents.signed_seconds", "from 30 seconds to 7 days, the longest that S3 takes");
        }
        Ok(())
    }

    pub(super) fn relative_to(&mut self, directory: &Path) {
        self.dir = directory.join(&self.dir);
        for path in [&mut self.options_file, &mut self.signing_key_file].into_iter().flatten() {
            *path = directory.join(&*path);
        }
    }
}

/// A file with a secret in it, which nobody else may read.
pub(crate) fn read_private(path: &Path) -> Result<zeroize::Zeroizing<String>, String> {
    match crate::keys::root::too_open(path) {
        Ok(true) => Err("others can read it; chmod 600".to_owned()),
        Ok(false) => std::fs::read_to_string(path).map(zeroize::Zeroizing::new).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

impl StoreOptions {
    /// Names with their values, those that may be secret left out. Which are harmless is listed, since nobody can list all that are not.
    fn shown(&self) -> BTreeMap<&str, &str> {
        const HARMLESS: [&str; 8] =
            ["region", "endpoint", "endpoint_url", "bucket", "bucket_name", "allow_http", "timeout", "account_name"];
        let harmless = |name: &str| {
            let name = name.to_ascii_lowercase();
            let bare = ["aws_", "azure_storage_", "azure_", "google_"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
            HARMLESS.contains(&bare)
        };
        self.0.iter().map(|(name, value)| (name.as_str(), if harmless(name) { value.as_str() } else { "(not shown)" })).collect()
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shown().fmt(f)
    }
}

impl Serialize for StoreOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::config::Config;

    fn parsed(text: &str) -> Result<Contents, ConfigError> {
        Config::parse(&format!("[contents]\n{text}"), std::collections::HashMap::new()).map(|config| config.contents)
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (text, named) in [
            ("redirect = \"store\"", "contents.redirect"),
            ("redirect = \"store\"\nurl = \"file:///srv\"", "contents.redirect"),
            ("redirect = \"cdn\"\nsigning_key_file = \"k\"", "contents.cdn_url"),
            ("redirect = \"cdn\"\ncdn_url = \"https://x\"", "contents.signing_key_file"),
            ("cdn_url = \"https://x/\"", "contents.cdn_url"),
            ("cdn_url = \"x\"", "contents.cdn_url"),
            ("require_signature = true", "contents.signing_key_file"),
            ("signed_seconds = 1", "contents.signed_seconds"),
            ("signed_seconds = 604801", "contents.signed_seconds"),
            ("redirect = \"elsewhere\"", "elsewhere"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
        parsed("redirect = \"store\"\nurl = \"s3://bucket\"").unwrap();
        parsed("redirect = \"cdn\"\ncdn_url = \"https://x/contents\"\nsigning_key_file = \"k\"").unwrap();
    }

    #[test]
    fn options_come_from_file_and_configuration_and_show_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("options.toml");
        crate::keys::root::write_private(&file, "aws_secret_access_key = \"hunter2\"\nallow_http = true\ntimeout = 5\n").unwrap();
        let text = format!(
            "url = \"s3://b\"\noptions_file = {:?}\n[contents.options]\naws_region = \"mars\"\naws_session_token = \"hunter3\"\ntimeout = \"1s\"",
            file
        );
        let contents = parsed(&text).unwrap();
        let all = contents.all_options().unwrap();
        assert_eq!(all["aws_secret_access_key"], "hunter2");
        assert_eq!((all["aws_region"].as_str(), all["allow_http"].as_str(), all["timeout"].as_str()), ("mars", "true", "5"));
        let shown = format!("{contents:?} {}", toml::to_string(&contents).unwrap());
        assert!(shown.contains("mars") && !shown.contains("hunter"), "{shown}");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(contents.all_options().unwrap_err().to_string().contains("chmod 600"));
    }
}
