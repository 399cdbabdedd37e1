//! The schema and its versions: the same migrations for both engines, applied in order, never edited afterwards.

use refinery::{Migration, Runner};

use super::error::DbError;
use super::url::Target;
use super::{Db, postgres, sqlite};

mod for_sqlite {
    refinery::embed_migrations!("src/migrations/sqlite");
}

mod for_postgres {
    refinery::embed_migrations!("src/migrations/postgres");
}

/// Where the schema stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Version of the database; 0 when it is empty.
    pub database: i64,
    /// Newest version that this program knows.
    pub program: i64,
    /// Names of the migrations that are still to be applied, in order: `V2__media`.
    pub pending: Vec<String>,
}

impl MigrationStatus {
    /// Whether this program can work with the database.
    ///
    /// # Errors
    /// `SchemaNewer` or `SchemaOlder`.
    pub fn check(&self) -> Result<(), DbError> {
        let Self { database, program, .. } = *self;
        match database.cmp(&program) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(DbError::SchemaNewer { database, program }),
            std::cmp::Ordering::Less => Err(DbError::SchemaOlder { database, program }),
        }
    }
}

/// Says what stands in the database and what in the program.
pub(super) async fn status(db: &Db) -> Result<MigrationStatus, DbError> {
    let (runner, applied) = match db.target() {
        Target::Sqlite(path) => {
            let path = path.clone();
            let applied = blocking(move || {
                let mut connection = sqlite::open_writer(&path)?;
                // refinery fails where its own table is missing, and an empty database has none.
                let begun =
                    connection.table_exists(None, "refinery_schema_history").map_err(|error| DbError::Migration(error.to_string()))?;
                if !begun {
                    return Ok(Vec::new());
                }
                for_sqlite::migrations::runner().get_applied_migrations(&mut connection).map_err(explain)
            })
            .await?;
            (for_sqlite::migrations::runner(), applied)
        }
        Target::Postgres(target) => {
            let mut client = postgres::connect(target, db.settings()).await?;
            let runner = for_postgres::migrations::runner();
            let begun = client
                .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
                .await
                .map_err(|error| DbError::Migration(error.to_string()))?;
            let applied = match begun.get(0) {
                true => runner.get_applied_migrations_async(&mut client).await.map_err(explain)?,
                false => Vec::new(),
            };
            (runner, applied)
        }
    };
    Ok(compare(&runner, &applied))
}

/// Applies what is missing, each migration in its own transaction. Safe to call from several processes at once.
pub(super) async fn migrate(db: &Db) -> Result<MigrationStatus, DbError> {
    let before = status(db).await?;
    if before.database > before.program {
        return before.check().map(|()| before);
    }
    match db.target() {
        Target::Sqlite(path) => {
            let path = path.clone();
            blocking(move || {
                let mut connection = sqlite::open_writer(&path)?;
                for_sqlite::migrations::runner().run(&mut connection).map(drop).map_err(explain)
            })
            .await?;
        }
        Target::Postgres(target) => {
            let mut client = postgres::connect(target, db.settings()).await?;
            let cannot = |error: tokio_postgres::Error| DbError::Migration(error.to_string());
            // Two servers that start together must not both create a table. The number only has to be nobody else's.
            client.batch_execute("SELECT pg_advisory_lock(4849190327)").await.map_err(cannot)?;
            for_postgres::migrations::runner().run_async(&mut client).await.map(drop).map_err(explain)?;
            client.batch_execute("SELECT pg_advisory_unlock(4849190327)").await.map_err(cannot)?;
        }
    }
    status(db).await
}

fn compare(runner: &Runner, applied: &[Migration]) -> MigrationStatus {
    let version = |migration: &Migration| i64::from(migration.version());
    let database = applied.iter().map(version).max().unwrap_or(0);
    let mut pending: Vec<&Migration> = runner.get_migrations().iter().filter(|migration| version(migration) > database).collect();
    pending.sort_by_key(|migration| migration.version());
    MigrationStatus {
        database,
        program: runner.get_migrations().iter().map(version).max().unwrap_or(0),
        pending: pending.into_iter().map(ToString::to_string).collect(),
    }
}

/// The whole chain of causes: the database's own words are at its end.
fn explain(error: refinery::Error) -> DbError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    DbError::Migration(message)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, DbError> + Send + 'static) -> Result<T, DbError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(DbError::Migration(error.to_string())))
}
