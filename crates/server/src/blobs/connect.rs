//! From the address and the settings of an object store to the store: nothing is asked of it before the first object is.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::signer::Url;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreScheme, RetryConfig};

use super::remote::Remote;
use crate::config::ConfigError;

/// A connection is there in so much time, or not at all.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a store may say nothing: while it reads a part of 8 MiB, and between two pieces of what it sends.
const SILENCE: Duration = Duration::from_secs(30);
/// Repetitions of a request, how far apart they begin and end, and after how long no more is begun.
const AGAIN: (usize, Duration, Duration, Duration) = (3, Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10));

/// The store at `url`. `options` go before the environment, and the environment before what is set here.
pub(super) fn connect(url: &str, options: &BTreeMap<String, String>) -> Result<Remote, ConfigError> {
    let wrong = |reason: String| ConfigError::Value { key: "contents.url", reason };
    let parsed: Url = url.parse().map_err(|error| wrong(format!("{url}: {error}")))?;
    let (scheme, prefix) = ObjectStoreScheme::parse(&parsed).map_err(|error| wrong(error.to_string()))?;

    macro_rules! built {
        ($builder:ty, $key:ty, $environment:expr) => {{
            let mut builder = <$builder>::new().with_url(url).with_client_options(client()).with_retry(again());
            for (name, value) in std::env::vars().filter(|(name, _)| $environment.iter().any(|prefix: &&str| name.starts_with(prefix))) {
                if let Ok(key) = name.to_ascii_lowercase().parse::<$key>() {
                    builder = builder.with_config(key, value);
                }
            }
            for (name, value) in options {
                let key = name
                    .to_ascii_lowercase()
                    .parse::<$key>()
                    .map_err(|error| ConfigError::Value { key: "contents.options", reason: error.to_string() })?;
                builder = builder.with_config(key, value);
            }
            Remote::new(builder.build().map_err(|error| wrong(error.to_string()))?, prefix, url)
        }};
    }

    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => built!(AmazonS3Builder, AmazonS3ConfigKey, ["AWS_"]),
        ObjectStoreScheme::GoogleCloudStorage => built!(GoogleCloudStorageBuilder, GoogleConfigKey, ["GOOGLE_", "SERVICE_ACCOUNT"]),
        ObjectStoreScheme::MicrosoftAzure => built!(MicrosoftAzureBuilder, AzureConfigKey, ["AZURE_", "MSI_ENDPOINT"]),
        _ => return Err(wrong(format!("{url} is no store for contents: s3://, gs://, az:// or file:///"))),
    })
}

/// Without a limit for a whole request: content takes as long as it takes.
fn client() -> ClientOptions {
    ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT).with_read_timeout(SILENCE)
}

fn again() -> RetryConfig {
    let (max_retries, init_backoff, max_backoff, retry_timeout) = AGAIN;
    RetryConfig { backoff: BackoffConfig { init_backoff, max_backoff, base: 2.0 }, max_retries, retry_timeout }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_store_is_refused_with_its_name() {
        let secret = BTreeMap::from([("aws_secret_key".to_owned(), "hunter2".to_owned())]);
        for (url, options, named) in [
            ("ftp://x/y", &BTreeMap::new(), "ftp://x/y"),
            ("memory:///", &BTreeMap::new(), "memory:///"),
            ("https://example.org/x", &BTreeMap::new(), "example.org"),
            ("bucket", &BTreeMap::new(), "bucket"),
            ("s3://bucket", &secret, "aws_secret_key"),
        ] {
            let error = connect(url, options).map(|_| ()).expect_err(url).to_string();
            assert!(error.contains(named) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn every_kind_of_store_is_made_without_asking_it() {
        let region = BTreeMap::from([("aws_region".to_owned(), "eu-central-1".to_owned())]);
        let account = BTreeMap::from([("azure_storage_account_name".to_owned(), "example".to_owned())]);
        for (url, options, prefix) in
            [("s3://bucket/a/b", region, "a/b"), ("gs://bucket/", BTreeMap::new(), ""), ("az://container/a", account, "a")]
        {
            assert_eq!(connect(url, &options).expect(url).prefix.as_ref(), prefix, "{url}");
        }
    }
}
