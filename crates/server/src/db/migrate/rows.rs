//! Tables and rows as both engines hold them: what is copied from one to the other, and what tells whether it is the same.

use aws_lc_rs::digest;

use super::super::value::Value;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
    Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Place in the primary key, from 0.
    pub(super) key: Option<usize>,
}

/// A table whose rows are moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

pub(super) type Values = Vec<Value<'static>>;

/// From where to where in the order of the primary key: after the first, up to and with the second; nothing is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range<'a> {
    pub(super) after: Option<&'a [Value<'static>]>,
    pub(super) upto: Option<&'a [Value<'static>]>,
}

/// What a page of rows comes to; PostgreSQL computes the same of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageDigest {
    pub(super) rows: i64,
    pub(super) sha256: [u8; 32],
}

/// Rows of one database about this move alone; they are neither copied nor compared.
pub(super) const NOT_MOVED: &str = "name NOT IN ('moving_to', 'moved_to', 'moving_from')";

impl Table {
    /// Names of all columns, for SELECT and INSERT.
    pub(super) fn list(&self) -> String {
        self.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    /// The columns of the primary key, in its order.
    pub(super) fn key(&self) -> Vec<&Column> {
        let mut key: Vec<&Column> = self.columns.iter().filter(|column| column.key.is_some()).collect();
        key.sort_by_key(|column| column.key);
        key
    }

    pub(super) fn key_list(&self) -> String {
        self.key().iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn key_of(&self, row: &[Value<'static>]) -> Values {
        let mut key: Vec<_> =
            self.columns.iter().zip(row).filter_map(|(column, value)| column.key.map(|place| (place, value.clone()))).collect();
        key.sort_by_key(|(place, _)| *place);
        key.into_iter().map(|(_, value)| value).collect()
    }

    /// A condition with its values: the rows of a range that are moved at all. Both engines understand it.
    pub(super) fn condition(&self, range: Range<'_>) -> (String, Values) {
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        for (bound, compared) in [(range.after, ">"), (range.upto, "<=")] {
            if let Some(bound) = bound {
                let places: Vec<_> = (values.len() + 1..).take(bound.len()).map(|place| format!("${place}")).collect();
                parts.push(format!("({}) {compared} ({})", self.key_list(), places.join(", ")));
                values.extend(bound.iter().cloned());
            }
        }
        if self.name == "setting" {
            parts.push(NOT_MOVED.to_owned());
        }
        (if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }, values)
    }
}

/// A name as both engines take it, also where it is one of their words.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A row as bytes, from which it can be told apart from every other.
pub(super) fn canonical(row: &[Value<'_>], out: &mut Vec<u8>) {
    let mut sized = |tag: u8, bytes: &[u8]| {
        out.push(tag);
        // A value of more than 2 GiB fits neither engine.
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    for value in row {
        match value {
            Value::Null => sized(0, &[]),
            Value::Int(number) => sized(1, &number.to_be_bytes()),
            Value::Text(text) => sized(2, text.as_bytes()),
            Value::Bytes(bytes) => sized(3, bytes),
        }
    }
}

/// The same in the words of PostgreSQL.
pub(super) fn canonical_sql(table: &Table) -> String {
    let part = |column: &Column| {
        let name = quoted(&column.name);
        let (tag, bytes) = match column.kind {
            Kind::Int => (1, format!("int8send({name})")),
            Kind::Text => (2, format!("convert_to({name}, 'UTF8')")),
            Kind::Bytes => (3, name),
        };
        format!("coalesce('\\x0{tag}'::bytea || int4send(octet_length({bytes})) || {bytes}, '\\x0000000000'::bytea)")
    };
    table.columns.iter().map(part).collect::<Vec<_>>().join(" || ")
}

impl PageDigest {
    pub(super) fn of(rows: &[Values]) -> Self {
        let mut bytes = Vec::new();
        rows.iter().for_each(|row| canonical(row, &mut bytes));
        let digest = digest::digest(&digest::SHA256, &bytes);
        let sha256 = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        // A page is a few thousand rows.
        Self { rows: rows.len() as i64, sha256 }
    }
}

/// How two keys lie to each other in the order of both engines: numbers by size, text and bytes byte by byte.
pub(super) fn compare(a: &[Value<'_>], b: &[Value<'_>]) -> std::cmp::Ordering {
    let one = |pair: (&Value<'_>, &Value<'_>)| match pair {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        _ => std::cmp::Ordering::Equal,
    };
    a.iter().zip(b).map(one).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

/// Rows and digest of a whole table, taken row by row in the order of its key.
#[derive(Clone, Default)]
pub(super) struct Running {
    rows: u64,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Running {
    pub(super) fn add(&mut self, row: &[Value<'_>]) {
        self.buffer.clear();
        canonical(row, &mut self.buffer);
        self.hasher.update(&self.buffer);
        self.rows += 1;
    }

    pub(super) fn finish(&self) -> (u64, String) {
        (self.rows, self.hasher.finalize().to_hex().to_string())
    }
}
