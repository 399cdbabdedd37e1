//! From a request's method and headers to what it asks for.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method};

use crate::{BODY_TYPE, Checksum, Error, Extension, Metadata, Server, VERSION, header};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What the server can do.
    Options,
    /// A new upload.
    Create(Create),
    /// How far an upload is.
    Head,
    /// To take the body.
    Patch(Patch),
    /// To take the upload away.
    Delete,
}

/// A new upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// All its bytes.
    pub length: u64,
    /// What the client says of it.
    pub metadata: Metadata,
}

/// A body for an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Where it belongs.
    pub offset: u64,
    /// Its length in bytes, where it is known.
    pub body: Option<u64>,
    /// What it is to hash to.
    pub checksum: Option<Checksum>,
}

impl Patch {
    /// How many bytes of the body may be taken by an upload that has `received` of `length` bytes.
    ///
    /// # Errors
    /// `Offset` where the body belongs elsewhere; `TooLarge` where it says itself that it is longer than what is missing.
    pub fn room(&self, received: u64, length: u64) -> Result<u64, Error> {
        if self.offset != received {
            return Err(Error::Offset { have: received });
        }
        let room = length.saturating_sub(received);
        if self.body.is_some_and(|body| body > room) {
            return Err(Error::TooLarge { max: length });
        }
        Ok(room)
    }
}

impl Server {
    /// Reads a request without its body. `X-HTTP-Method-Override` goes before the method.
    ///
    /// # Errors
    /// What is wrong with it; [`Server::refused`] makes the answer.
    pub fn read(&self, method: &Method, headers: &HeaderMap) -> Result<Request, Error> {
        let overridden = match single(headers, &header::METHOD_OVERRIDE)? {
            Some(name) => Some(Method::from_bytes(name.as_bytes()).map_err(|_| Error::Invalid(header::METHOD_OVERRIDE))?),
            None => None,
        };
        let method = overridden.as_ref().unwrap_or(method);
        if *method == Method::OPTIONS {
            return Ok(Request::Options);
        }
        if single(headers, &header::RESUMABLE)?.is_none_or(|version| version != VERSION) {
            return Err(Error::Version);
        }
        match *method {
            Method::HEAD => Ok(Request::Head),
            Method::PATCH => self.patch(headers).map(Request::Patch),
            Method::POST if self.offers(Extension::Creation) => self.create(headers).map(Request::Create),
            Method::DELETE if self.offers(Extension::Termination) => Ok(Request::Delete),
            _ => Err(Error::Method),
        }
    }

    fn create(&self, headers: &HeaderMap) -> Result<Create, Error> {
        if headers.contains_key(header::DEFER_LENGTH) {
            return Err(Error::NotOffered("lengths that follow later"));
        }
        let length = number(headers, &header::LENGTH)?.ok_or(Error::Missing(header::LENGTH))?;
        if let Some(max) = self.max_size.filter(|max| length > *max) {
            return Err(Error::TooLarge { max });
        }
        let metadata = match single(headers, &header::METADATA)? {
            Some(text) => Metadata::parse(text).ok_or(Error::Invalid(header::METADATA))?,
            None => Metadata::default(),
        };
        Ok(Create { length, metadata })
    }

    fn patch(&self, headers: &HeaderMap) -> Result<Patch, Error> {
        let typed = single(headers, &CONTENT_TYPE)?.is_some_and(|found| found.eq_ignore_ascii_case(BODY_TYPE));
        if !typed {
            return Err(Error::ContentType);
        }
        let offset = number(headers, &header::OFFSET)?.ok_or(Error::Missing(header::OFFSET))?;
        let checksum = match single(headers, &header::CHECKSUM)? {
            None => None,
            Some(_) if !self.offers(Extension::Checksum) => return Err(Error::NotOffered("checksums")),
            Some(text) => Some(Checksum::parse(text).ok_or(Error::Invalid(header::CHECKSUM))?),
        };
        Ok(Patch { offset, body: number(headers, &CONTENT_LENGTH)?, checksum })
    }
}

/// The value of a header that may be there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Error::Invalid(name.clone())),
        (Some(_), Some(_)) => Err(Error::Invalid(name.clone())),
    }
}

/// A non-negative integer: digits, nothing else.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Error> {
    let Some(text) = single(headers, name)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Some).ok_or_else(|| Error::Invalid(name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const ALL: Server = Server {
        max_size: Some(1000),
        extensions: &[Extension::Creation, Extension::Termination, Extension::Expiration, Extension::Checksum],
    };
    const CORE: Server = Server { max_size: None, extensions: &[] };

    fn read(server: Server, method: &str, lines: &[(&str, &str)]) -> Result<Request, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), HeaderValue::from_str(value).expect("a value"));
        }
        server.read(&method.parse().expect("a method"), &headers)
    }

    const TUS: (&str, &str) = ("Tus-Resumable", "1.0.0");
    const TYPE: (&str, &str) = ("Content-Type", BODY_TYPE);

    #[test]
    fn the_specifications_examples_are_read() {
        assert_eq!(read(ALL, "HEAD", &[TUS]), Ok(Request::Head));
        assert_eq!(
            read(ALL, "PATCH", &[TYPE, ("Content-Length", "30"), ("Upload-Offset", "70"), TUS]),
            Ok(Request::Patch(Patch { offset: 70, body: Some(30), checksum: None }))
        );
        assert_eq!(read(ALL, "OPTIONS", &[]), Ok(Request::Options));
        assert_eq!(read(ALL, "DELETE", &[TUS]), Ok(Request::Delete));
        let metadata = "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential";
        let created = read(ALL, "POST", &[("Content-Length", "0"), ("Upload-Length", "100"), TUS, ("Upload-Metadata", metadata)]);
        assert_eq!(created, Ok(Request::Create(Create { length: 100, metadata: Metadata::parse(metadata).expect("reads") })));
    }

    #[test]
    fn versions_are_asked_for_first_and_ignored_for_options() {
        assert_eq!(read(ALL, "OPTIONS", &[("Tus-Resumable", "0.2.2")]), Ok(Request::Options));
        for method in ["HEAD", "PATCH", "POST", "DELETE", "GET"] {
            assert_eq!(read(ALL, method, &[]), Err(Error::Version), "{method}");
            assert_eq!(read(ALL, method, &[("Tus-Resumable", "0.2.2")]), Err(Error::Version), "{method}");
        }
        assert_eq!(Error::Version.status(), 412);
    }

    #[test]
    fn what_is_not_offered_is_no_method() {
        assert_eq!(read(CORE, "POST", &[TUS, ("Upload-Length", "1")]), Err(Error::Method));
        assert_eq!(read(CORE, "DELETE", &[TUS]), Err(Error::Method));
        assert_eq!(read(CORE, "GET", &[TUS]), Err(Error::Method));
        let checksum = ("Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=");
        assert_eq!(read(CORE, "PATCH", &[TUS, TYPE, ("Upload-Offset", "0"), checksum]), Err(Error::NotOffered("checksums")));
    }

    #[test]
    fn a_method_may_be_said_in_a_header() {
        assert_eq!(read(ALL, "POST", &[TUS, ("X-HTTP-Method-Override", "DELETE")]), Ok(Request::Delete));
        assert_eq!(read(ALL, "POST", &[TUS, ("X-HTTP-Method-Override", "")]), Err(Error::Invalid(header::METHOD_OVERRIDE)));
    }

    #[test]
    fn lengths_are_bounded_and_must_be_there() {
        assert_eq!(read(ALL, "POST", &[TUS]), Err(Error::Missing(header::LENGTH)));
        assert_eq!(read(ALL, "POST", &[TUS, ("Upload-Length", "1001")]), Err(Error::TooLarge { max: 1000 }));
        assert!(read(ALL, "POST", &[TUS, ("Upload-Length", "1000")]).is_ok());
        let deferred = read(ALL, "POST", &[TUS, ("Upload-Defer-Length", "1")]);
        assert_eq!(deferred.map_err(|error| error.status().as_u16()), Err(400));
    }

    #[test]
    fn numbers_are_digits_said_once() {
        for text in ["", " ", "-1", "+1", "1.0", "0x1", "1e3", "18446744073709551616", "१"] {
            let value = HeaderValue::from_bytes(text.as_bytes()).expect("a value");
            let headers = HeaderMap::from_iter([(header::OFFSET, value)]);
            assert_eq!(number(&headers, &header::OFFSET), Err(Error::Invalid(header::OFFSET)), "{text:?}");
        }
        let twice = read(ALL, "PATCH", &[TUS, TYPE, ("Upload-Offset", "1"), ("Upload-Offset", "1")]);
        assert_eq!(twice, Err(Error::Invalid(header::OFFSET)));
    }

    #[test]
    fn a_body_of_another_type_is_not_taken() {
        assert_eq!(read(ALL, "PATCH", &[TUS, ("Upload-Offset", "0")]), Err(Error::ContentType));
        let json = ("Content-Type", "application/json");
        assert_eq!(read(ALL, "PATCH", &[TUS, json, ("Upload-Offset", "0")]), Err(Error::ContentType));
        assert_eq!(Error::ContentType.status(), 415);
    }

    #[test]
    fn a_body_goes_where_the_upload_ends_and_no_further() {
        let patch = |offset, body| Patch { offset, body, checksum: None };
        assert_eq!(patch(70, Some(30)).room(70, 100), Ok(30));
        assert_eq!(patch(70, None).room(70, 100), Ok(30));
        assert_eq!(patch(70, Some(31)).room(70, 100), Err(Error::TooLarge { max: 100 }));
        assert_eq!(patch(69, Some(1)).room(70, 100), Err(Error::Offset { have: 70 }));
        assert_eq!(patch(71, Some(1)).room(70, 100), Err(Error::Offset { have: 70 }));
        assert_eq!(patch(100, Some(0)).room(100, 100), Ok(0));
    }

    proptest! {
        /// Whatever stands in the headers: no panic, and a body is taken only with a version, a type and an offset of digits.
        #[test]
        fn headers_of_any_content_are_read_or_refused(
            method in prop::sample::select(vec!["HEAD", "PATCH", "POST", "DELETE", "OPTIONS", "GET"]),
            lines in proptest::collection::vec((
                prop::sample::select(vec![header::RESUMABLE, header::OFFSET, header::LENGTH, header::METADATA, header::CHECKSUM,
                    header::DEFER_LENGTH, header::METHOD_OVERRIDE, CONTENT_TYPE, CONTENT_LENGTH]),
                prop_oneof![
                    proptest::collection::vec(prop_oneof![32_u8..127, 128_u8..=255], 0..40),
                    prop::sample::select(vec!["1.0.0", "0", "7", BODY_TYPE, "PATCH", "1", "a AA=="]).prop_map(|text| text.as_bytes().to_vec()),
                ]), 0..8),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &lines {
                headers.append(name.clone(), HeaderValue::from_bytes(value).expect("no control characters"));
            }
            match ALL.read(&method.parse().expect("a method"), &headers) {
                Ok(Request::Patch(patch)) => {
                    let text = |name| headers.get(name).map(HeaderValue::as_bytes);
                    prop_assert_eq!(text(header::RESUMABLE), Some(&b"1.0.0"[..]));
                    prop_assert!(text(CONTENT_TYPE).is_some_and(|found| found.eq_ignore_ascii_case(BODY_TYPE.as_bytes())));
                    let offset = String::from_utf8(text(header::OFFSET).expect("is there").to_vec()).expect("digits");
                    prop_assert!(offset.bytes().all(|byte| byte.is_ascii_digit()));
                    prop_assert_eq!(offset.parse(), Ok(patch.offset));
                }
                Ok(Request::Create(create)) => prop_assert!(create.length <= 1000),
                Ok(_) => {}
                Err(error) => prop_assert!((400..500).contains(&error.status().as_u16())),
            }
        }
    }
}
