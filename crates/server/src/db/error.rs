//! Everything that can go wrong between an action and its rows.

/// Why a transaction did not happen, or may not have happened.
///
/// `Overloaded` and `Unavailable` are for the caller to try again later, with the same request ID: an `Unavailable` write may have been
/// committed after all. Everything else means that nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// The queue of waiting transactions is full; nothing was tried.
    #[error("too many transactions are waiting for the database")]
    Overloaded,
    /// The database could not be reached, or could not finish, in the time allowed. The outcome is unknown.
    #[error("the database did not answer in time: {0}")]
    Unavailable(String),
    /// Another writer was first. The facade runs the action again from the start before anybody sees this.
    #[error("{0} was changed by somebody else meanwhile")]
    Conflict(&'static str),
    /// A primary key, unique constraint, foreign key, check or NOT NULL does not hold.
    #[error("a constraint of the database does not hold: {0}")]
    Constraint(String),
    /// The connection or the disk failed; the facade reconnects and runs the action again before anybody sees this.
    #[error("the database failed: {0}")]
    Lost(String),
    /// The database does not accept a statement or a value; a bug of this program.
    #[error("the database refuses `{sql}`: {message}")]
    Statement {
        /// The statement, without its values.
        sql: &'static str,
        /// What the database says.
        message: String,
    },
    /// `one()` found no row.
    #[error("no row where there must be one: `{0}`")]
    NoRow(&'static str),
    /// `one()` or `opt()` found several rows.
    #[error("several rows where there may be one: `{0}`")]
    ManyRows(&'static str),
    /// A column does not hold what the program reads from it.
    #[error("column {column} of `{sql}`: {reason}")]
    Column {
        /// The statement, without its values.
        sql: &'static str,
        /// Number of the column, from 1.
        column: usize,
        /// What was wrong with it.
        reason: String,
    },
    /// The action waited for something other than the database; a bug of this program.
    #[error("transaction {0:?} waited for something other than the database")]
    Stalled(&'static str),
    /// The action panicked; what it had written is rolled back.
    #[error("transaction {0:?} panicked")]
    Panicked(&'static str),
    /// The address of the database cannot be used.
    #[error("database address: {0}")]
    Url(String),
    /// The database was made by a newer version of this program.
    #[error("the database has schema {database}, this program knows {program}: it was written by a newer version")]
    SchemaNewer {
        /// Version found.
        database: i64,
        /// Newest version this program knows.
        program: i64,
    },
    /// The database must be migrated before it can be used.
    #[error("the database has schema {database}, this program needs {program}: run `counterfoild migrate`")]
    SchemaOlder {
        /// Version found; 0 when the database is empty.
        database: i64,
        /// Version needed.
        program: i64,
    },
    /// The database is closed for writes while it is moved elsewhere; nothing was tried.
    #[error("the database is being moved to {0}")]
    Moving(String),
    /// The database was moved elsewhere; nothing was tried.
    #[error("the database was moved to {0}")]
    Moved(String),
    /// Rows of another database are being copied here, and not all have arrived.
    #[error("the database holds only a part of {0}, which is being moved here")]
    HalfMoved(String),
    /// A migration failed, or one that was applied was edited afterwards.
    #[error("migration: {0}")]
    Migration(String),
}

impl DbError {
    /// Whether the same action, run again from the start, may well succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Conflict(_))
    }

    /// Whether the caller should repeat the request later, unchanged (429 and 503 over HTTP).
    pub fn try_later(&self) -> bool {
        matches!(self, Self::Overloaded | Self::Unavailable(_) | Self::Moving(_) | Self::Moved(_))
    }

    /// What the caller is told when time is up for running an action again.
    pub(crate) fn given_up(self) -> Self {
        if self.is_transient() { Self::Unavailable(self.to_string()) } else { self }
    }
}
