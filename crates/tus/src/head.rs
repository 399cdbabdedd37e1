//! Answers: status and headers, with what the protocol wants in each.

use std::time::SystemTime;

use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{Algorithm, Error, Extension, Metadata, Server, VERSION, header};

/// An answer without a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State<'a> {
    /// Bytes that are there.
    pub offset: u64,
    /// Bytes that there will be.
    pub length: u64,
    /// What the client said of it.
    pub metadata: Option<&'a Metadata>,
    /// When it ends, where it does.
    pub expires: Option<SystemTime>,
}

impl Head {
    fn new(status: StatusCode) -> Self {
        let headers = HeaderMap::from_iter([(header::RESUMABLE, HeaderValue::from_static(VERSION))]);
        Self { status, headers }
    }

    fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    fn expiring(self, server: &Server, expires: Option<SystemTime>) -> Self {
        match expires {
            Some(at) if server.offers(Extension::Expiration) => self.with(header::EXPIRES, visible(&httpdate::fmt_http_date(at))),
            _ => self,
        }
    }
}

impl Server {
    /// What this server can do: 204.
    pub fn options(&self) -> Head {
        let mut head = Head::new(StatusCode::NO_CONTENT).with(header::SERVER_VERSION, HeaderValue::from_static(VERSION));
        if !self.extensions.is_empty() {
            head = head.with(header::EXTENSION, visible(&joined(self.extensions.iter().map(|extension| extension.as_str()))));
        }
        if let Some(max) = self.max_size {
            head = head.with(header::MAX_SIZE, max);
        }
        if self.offers(Extension::Checksum) {
            head = head.with(header::CHECKSUM_ALGORITHM, visible(&joined(Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()))));
        }
        head
    }

    /// An upload was made: 201. `location` is its URL; `None` where that is no header's value.
    pub fn created(&self, location: &str, expires: Option<SystemTime>) -> Option<Head> {
        let location = HeaderValue::from_str(location).ok()?;
        Some(Head::new(StatusCode::CREATED).with(LOCATION, location).expiring(self, expires))
    }

    /// How far an upload is: 200.
    pub fn state(&self, state: &State<'_>) -> Head {
        let mut head = Head::new(StatusCode::OK)
            .with(header::OFFSET, state.offset)
            .with(header::LENGTH, state.length)
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(metadata) = state.metadata.filter(|metadata| !metadata.is_empty()) {
            head = head.with(header::METADATA, visible(&metadata.to_header()));
        }
        head.expiring(self, state.expires)
    }

    /// A body was taken, and the upload has `offset` bytes now: 204.
    pub fn accepted(&self, offset: u64, expires: Option<SystemTime>) -> Head {
        Head::new(StatusCode::NO_CONTENT).with(header::OFFSET, offset).expiring(self, expires)
    }

    /// An upload was taken away: 204.
    pub fn removed(&self) -> Head {
        Head::new(StatusCode::NO_CONTENT)
    }

    /// A request is not carried out. The headers belong to any answer, so a caller may add a body that explains it.
    pub fn refused(&self, error: &Error) -> Head {
        let head = Head::new(error.status()).with(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match error {
            Error::Version => head.with(header::SERVER_VERSION, HeaderValue::from_static(VERSION)),
            Error::Offset { have } => head.with(header::OFFSET, *have),
            _ => head,
        }
    }
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}

fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("made of visible ASCII characters and spaces")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SERVER: Server = Server { max_size: Some(1_073_741_824), extensions: &[Extension::Creation, Extension::Expiration] };

    fn lines(head: &Head) -> Vec<String> {
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("visible"))).collect()
    }

    #[test]
    fn options_say_what_the_specifications_example_says() {
        let head = SERVER.options();
        assert_eq!(head.status, 204);
        let expected = ["tus-resumable: 1.0.0", "tus-version: 1.0.0", "tus-extension: creation,expiration", "tus-max-size: 1073741824"];
        assert_eq!(lines(&head), expected);
        let checking = Server { extensions: &[Extension::Checksum], ..SERVER };
        assert_eq!(checking.options().headers[header::CHECKSUM_ALGORITHM], "sha1,sha256");
        let core = Server { max_size: None, extensions: &[] };
        assert_eq!(lines(&core.options()), ["tus-resumable: 1.0.0", "tus-version: 1.0.0"]);
    }

    #[test]
    fn a_state_is_not_kept_by_caches_and_repeats_the_metadata() {
        let metadata = Metadata::parse("filename AA==").expect("reads");
        let head = SERVER.state(&State { offset: 70, length: 100, metadata: Some(&metadata), expires: None });
        assert_eq!(head.status, 200);
        assert_eq!(
            lines(&head),
            [
                "tus-resumable: 1.0.0",
                "upload-offset: 70",
                "upload-length: 100",
                "cache-control: no-store",
                "upload-metadata: filename AA=="
            ]
        );
    }

    #[test]
    fn an_accepted_body_tells_offset_and_end() {
        // 25 June 2014, 16:00:00 UTC, as in the specification.
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_403_712_000);
        let head = SERVER.accepted(100, Some(end));
        assert_eq!(head.status, 204);
        assert_eq!(lines(&head), ["tus-resumable: 1.0.0", "upload-offset: 100", "upload-expires: Wed, 25 Jun 2014 16:00:00 GMT"]);
    }

    #[test]
    fn refusals_say_what_helps() {
        let head = SERVER.refused(&Error::Version);
        assert_eq!((head.status.as_u16(), &head.headers[header::SERVER_VERSION]), (412, &HeaderValue::from_static("1.0.0")));
        let head = SERVER.refused(&Error::Offset { have: 70 });
        assert_eq!((head.status.as_u16(), &head.headers[header::OFFSET]), (409, &HeaderValue::from_static("70")));
        assert_eq!(SERVER.refused(&Error::ChecksumMismatch).status.as_u16(), 460);
        assert_eq!(SERVER.refused(&Error::TooLarge { max: 1 }).status.as_u16(), 413);
        for error in [Error::Unknown, Error::Gone, Error::Method] {
            assert_eq!(SERVER.refused(&error).headers[header::RESUMABLE], "1.0.0");
        }
    }

    #[test]
    fn a_location_that_is_no_header_is_none() {
        assert_eq!(SERVER.created("https://a.example/f\r\nx: y", None), None);
        let head = SERVER.created("https://a.example/f", None).expect("a header");
        assert_eq!((head.status.as_u16(), &head.headers[LOCATION]), (201, &HeaderValue::from_static("https://a.example/f")));
    }
}
