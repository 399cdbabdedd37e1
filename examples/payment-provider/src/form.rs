//! Forms, as `application/x-www-form-urlencoded` has them.

/// Names and values, in order.
pub(crate) type Form = Vec<(String, String)>;

/// Reads one.
pub(crate) fn parse(text: &str) -> Form {
    let url = reqwest::Url::parse(&format!("form:/?{text}"));
    url.map(|url| url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()).unwrap_or_default()
}

/// The first value of a name.
pub(crate) fn get<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// What is in `name[…]`, as an object.
pub(crate) fn nested(form: &Form, name: &str) -> serde_json::Value {
    let inner = |key: &str| Some(key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.to_owned());
    form.iter()
        .filter_map(|(key, value)| Some((inner(key)?, serde_json::Value::from(value.as_str()))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
