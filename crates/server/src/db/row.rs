//! Rows, read column by column from left to right.

use super::error::DbError;
use super::value::{FromValue, Value};

/// One row of an answer.
#[derive(Debug)]
pub struct Row {
    values: std::vec::IntoIter<Value<'static>>,
    sql: &'static str,
    column: usize,
}

impl Row {
    pub(crate) fn new(values: Vec<Value<'static>>, sql: &'static str) -> Self {
        Self { values: values.into_iter(), sql, column: 0 }
    }

    /// Reads the next column.
    ///
    /// # Errors
    /// `DbError::Column` when the row has no more columns, or this one does not hold a `T`.
    pub fn column<T: FromValue>(&mut self) -> Result<T, DbError> {
        self.column += 1;
        let value = self.values.next().ok_or_else(|| self.complain("the row has fewer columns"))?;
        T::from_value(value).map_err(|reason| self.complain(reason))
    }

    /// All columns that are left, as they are.
    pub(crate) fn rest(&mut self) -> Vec<Value<'static>> {
        let values: Vec<_> = self.values.by_ref().collect();
        self.column += values.len();
        values
    }

    /// Reads the whole row; columns that nobody reads are an error, because statement and type have drifted apart.
    pub(crate) fn read<R: FromRow>(mut self) -> Result<R, DbError> {
        let read = R::from_row(&mut self)?;
        if self.values.len() > 0 {
            self.column += 1;
            return Err(self.complain("nobody reads it"));
        }
        Ok(read)
    }

    fn complain(&self, reason: impl Into<String>) -> DbError {
        DbError::Column { sql: self.sql, column: self.column, reason: reason.into() }
    }
}

/// A type that a row can be read into: tuples of up to twelve columns, `()` for none, or a struct:
///
/// ```
/// use counterfoil_server::db::{DbError, FromRow, Row};
/// struct Holder { id: String, since: i64 }
/// impl FromRow for Holder {
///     fn from_row(row: &mut Row) -> Result<Self, DbError> {
///         Ok(Self { id: row.column()?, since: row.column()? })
///     }
/// }
/// ```
pub trait FromRow: Sized {
    /// Reads the columns in the order of the statement.
    ///
    /// # Errors
    /// `DbError::Column` when a column does not hold what is read from it.
    fn from_row(row: &mut Row) -> Result<Self, DbError>;
}

macro_rules! from_row_for_tuples {
    ($(($($T:ident)*))*) => {$(
        impl<$($T: FromValue),*> FromRow for ($($T,)*) {
            #[allow(clippy::unused_unit, unused_variables, reason = "the empty tuple reads nothing")]
            fn from_row(row: &mut Row) -> Result<Self, DbError> {
                Ok(($(row.column::<$T>()?,)*))
            }
        }
    )*};
}

from_row_for_tuples! {
    () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
    (A B C D E F G H I) (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L)
}
