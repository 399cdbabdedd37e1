//! What a column can hold: the four kinds of value that both engines store alike.

use std::borrow::Cow;
use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};

/// A value bound to a statement or read from a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// 64 bits, signed: `BIGINT`, `INTEGER`. PostgreSQL's booleans are read as 0 and 1.
    Int(i64),
    /// UTF-8: `TEXT`.
    Text(Cow<'a, str>),
    /// `BYTEA`, `BLOB`.
    Bytes(Cow<'a, [u8]>),
}

macro_rules! value_from {
    ($($from:ty, $x:ident => $value:expr;)*) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from($x: $from) -> Self { $value }
        }
    )*};
}

value_from! {
    i64, x => Value::Int(x);
    i32, x => Value::Int(x.into());
    u32, x => Value::Int(x.into());
    u16, x => Value::Int(x.into());
    u8, x => Value::Int(x.into());
    &'a str, x => Value::Text(Cow::Borrowed(x));
    &'a String, x => Value::Text(Cow::Borrowed(x));
    String, x => Value::Text(Cow::Owned(x));
    &'a [u8], x => Value::Bytes(Cow::Borrowed(x));
    &'a Vec<u8>, x => Value::Bytes(Cow::Borrowed(x));
    Vec<u8>, x => Value::Bytes(Cow::Owned(x));
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Value::Bytes(Cow::Borrowed(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Value<'_> {
    fn from(bytes: [u8; N]) -> Self {
        Value::Bytes(Cow::Owned(bytes.to_vec()))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// A type that a column can be read into. Domain types implement it to parse what they hold; the error is the reason in words.
pub trait FromValue: Sized {
    /// Takes the value apart; the error says what was expected.
    fn from_value(value: Value<'static>) -> Result<Self, String>;
}

impl FromValue for i64 {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        match value {
            Value::Int(x) => Ok(x),
            other => Err(format!("expected an integer, found {}", other.kind())),
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        i64::from_value(value)?.try_into().map_err(|_| "expected an integer of 32 bits".to_owned())
    }
}

impl FromValue for String {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        match value {
            Value::Text(x) => Ok(x.into_owned()),
            other => Err(format!("expected text, found {}", other.kind())),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        match value {
            Value::Bytes(x) => Ok(x.into_owned()),
            other => Err(format!("expected bytes, found {}", other.kind())),
        }
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let bytes = Vec::<u8>::from_value(value)?;
        bytes.try_into().map_err(|bytes: Vec<u8>| format!("expected {N} bytes, found {}", bytes.len()))
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl Value<'_> {
    /// The kind of value in words, never the value itself: it may be one that logs must not hold.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "NULL",
            Value::Int(_) => "an integer",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(x) if *kind == Type::INT8 => x.to_sql(kind, out),
            Value::Int(x) if *kind == Type::INT4 => i32::try_from(*x)?.to_sql(kind, out),
            Value::Int(x) if *kind == Type::INT2 => i16::try_from(*x)?.to_sql(kind, out),
            Value::Text(x) if <&str as ToSql>::accepts(kind) => x.as_ref().to_sql(kind, out),
            Value::Bytes(x) if *kind == Type::BYTEA => x.as_ref().to_sql(kind, out),
            other => Err(format!("{} was bound where the statement wants {kind}", other.kind()).into()),
        }
    }

    // The kinds are matched above, where the value is known and the message can say what was bound.
    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'static> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Value::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(kind, raw)?.into()),
            Type::INT2 => Value::Int(i16::from_sql(kind, raw)?.into()),
            Type::BOOL => Value::Int(bool::from_sql(kind, raw)?.into()),
            Type::BYTEA => Value::Bytes(Cow::Owned(raw.to_vec())),
            _ if <&str as FromSql>::accepts(kind) => Value::Text(Cow::Owned(<&str>::from_sql(kind, raw)?.to_owned())),
            _ => return Err(format!("the facade does not read {kind}: CAST it to BIGINT, TEXT or BYTEA").into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(x) => ValueRef::Integer(*x),
            Value::Text(x) => ValueRef::Text(x.as_bytes()),
            Value::Bytes(x) => ValueRef::Blob(x),
        }))
    }
}

impl rusqlite::types::FromSql for Value<'static> {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        use rusqlite::types::ValueRef;
        Ok(match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(x) => Value::Int(x),
            ValueRef::Text(_) => Value::Text(Cow::Owned(value.as_str()?.to_owned())),
            ValueRef::Blob(x) => Value::Bytes(Cow::Owned(x.to_vec())),
            ValueRef::Real(_) => return Err(rusqlite::types::FromSqlError::InvalidType),
        })
    }
}
