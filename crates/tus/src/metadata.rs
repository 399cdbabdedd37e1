//! What a client says of an upload when it makes it.

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// The most that is taken, in bytes of the header.
const MAX: usize = 4096;

/// Keys and values, in the client's order. Values are arbitrary bytes: whoever shows or stores one checks it first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, Vec<u8>)>);

impl Metadata {
    /// From the header's value; `None` where it is not of its form.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX {
            return None;
        }
        let mut pairs: Vec<(String, Vec<u8>)> = vec![];
        for pair in text.split(',') {
            let pair = pair.trim_matches(' ');
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) || pairs.iter().any(|(known, _)| known == key) {
                return None;
            }
            pairs.push((key.to_owned(), BASE64_STANDARD.decode(value).ok()?));
        }
        Some(Self(pairs))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_slice())
    }

    /// The value of a key where it is UTF-8.
    pub fn text(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.get(key)?).ok()
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a header's value.
    pub fn to_header(&self) -> String {
        let pair = |(key, value): &(String, Vec<u8>)| match value.as_slice() {
            [] => key.clone(),
            value => format!("{key} {}", BASE64_STANDARD.encode(value)),
        };
        self.0.iter().map(pair).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_specifications_example_is_read() {
        let metadata = Metadata::parse("filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential").expect("as in the specification");
        assert_eq!(metadata.text("filename"), Some("world_domination_plan.pdf"));
        assert_eq!(metadata.get("is_confidential"), Some(&b""[..]));
        assert_eq!(metadata.get("else"), None);
        assert_eq!(metadata.to_header(), "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential");
    }

    #[test]
    fn other_forms_are_none() {
        let long = format!("a {}", "AAAA".repeat(MAX / 4));
        for text in ["", ",", "a,", "a,a", "a AA==,a AA==", "a A", "a ==", "a b c", "ä AA==", "a AA-_", long.as_str()] {
            assert_eq!(Metadata::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::btree_map("[!-+\\--~]{1,10}", any::<Vec<u8>>(), 1..5)) {
            let metadata = Metadata(pairs.into_iter().collect());
            let header = metadata.to_header();
            prop_assume!(header.len() <= MAX);
            prop_assert_eq!(Metadata::parse(&header), Some(metadata));
        }

        #[test]
        fn whatever_is_read_is_written_so_that_it_reads_the_same(text in "[ -~]{0,80}") {
            if let Some(metadata) = Metadata::parse(&text) {
                prop_assert_eq!(Metadata::parse(&metadata.to_header()), Some(metadata));
            }
        }
    }
}
