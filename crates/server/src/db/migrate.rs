//! The schema and its versions: the same migrations for both engines, applied in order, never edited afterwards.

use refinery::{Migration, Runner};
use tokio_postgres::SimpleQueryMessage;

use super::error::DbError;
use super::url::Target;
use super::{Db, Schema, postgres, sqlite};

pub use distribute::Distribution;
pub(super) use distribute::distribute;
pub(super) use partition::partition;
pub use transfer::{Compared, Move, MoveError, Pass, Progress};

mod distribute;
mod families;
mod partition;
mod rows;
mod source;
mod target;
mod transfer;

mod for_sqlite {
    refinery::embed_migrations!("src/migrations/sqlite");
}

mod for_postgres {
    refinery::embed_migrations!("src/migrations/postgres");
}

mod gateway_for_sqlite {
    refinery::embed_migrations!("src/gateway/migrations/sqlite");
}

mod gateway_for_postgres {
    refinery::embed_migrations!("src/gateway/migrations/postgres");
}

/// The migrations of a schema, for the engine of a database.
fn runner_of(db: &Db) -> Runner {
    match (db.settings().schema, db.target()) {
        (Schema::Authority, Target::Sqlite(_)) => for_sqlite::migrations::runner(),
        (Schema::Authority, Target::Postgres(_)) => for_postgres::migrations::runner(),
        (Schema::Gateway, Target::Sqlite(_)) => gateway_for_sqlite::migrations::runner(),
        (Schema::Gateway, Target::Postgres(_)) => gateway_for_postgres::migrations::runner(),
    }
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
    let runner = runner_of(db);
    let version = match db.target() {
        Target::Sqlite(path) => {
            let path = path.clone();
            let runner = runner_of(db);
            blocking(move || {
                let mut connection = sqlite::open_writer(&path)?;
                // refinery fails where its own table is missing, and an empty database has none.
                let begun =
                    connection.table_exists(None, "refinery_schema_history").map_err(|error| DbError::Migration(error.to_string()))?;
                if !begun {
                    return Ok(0);
                }
                let applied = runner.get_applied_migrations(&mut connection).map_err(explain)?;
                Ok(applied.iter().map(version_of).max().unwrap_or(0))
            })
            .await?
        }
        Target::Postgres(target) => {
            let client = postgres::connect(&target.primary(), db.settings()).await?;
            version_on_postgres(&client).await.map_err(|error| DbError::Migration(error.to_string()))?
        }
    };
    Ok(compare(&runner, version))
}

/// Without prepared statements, so that a pooler that hands every transaction another connection does no harm.
async fn version_on_postgres(client: &tokio_postgres::Client) -> Result<i64, tokio_postgres::Error> {
    let number = async |sql| {
        let answers = client.simple_query(sql).await?;
        Ok(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        }))
    };
    match number("SELECT count(*) FROM pg_class WHERE oid = to_regclass('refinery_schema_history')").await? {
        Some(1) => Ok(number("SELECT max(version) FROM refinery_schema_history").await?.unwrap_or(0)),
        _ => Ok(0),
    }
}

/// Applies what is missing, each migration in its own transaction. Safe to call from several processes at once.
pub(super) async fn migrate(db: &Db) -> Result<MigrationStatus, DbError> {
    let before = status(db).await?;
    if before.database > before.program {
        return before.check().map(|()| before);
    }
    match db.target() {
        Target::Sqlite(path) => {
            let (path, runner) = (path.clone(), runner_of(db));
            blocking(move || {
                let mut connection = sqlite::open_writer(&path)?;
                runner.run(&mut connection).map(drop).map_err(explain)
            })
            .await?;
        }
        Target::Postgres(target) => {
            let mut client = postgres::connect(&target.primary(), db.settings()).await?;
            // Two servers that start together must not both create a table. The number only has to be nobody else's.
            client.batch_execute("SELECT pg_advisory_lock(4849190327)").await.map_err(cannot)?;
            runner_of(db).run_async(&mut client).await.map(drop).map_err(explain)?;
            client.batch_execute("SELECT pg_advisory_unlock(4849190327)").await.map_err(cannot)?;
        }
    }
    status(db).await
}

fn version_of(migration: &Migration) -> i64 {
    i64::from(migration.version())
}

fn compare(runner: &Runner, database: i64) -> MigrationStatus {
    let mut pending: Vec<&Migration> = runner.get_migrations().iter().filter(|migration| version_of(migration) > database).collect();
    pending.sort_by_key(|migration| migration.version());
    MigrationStatus {
        database,
        program: runner.get_migrations().iter().map(version_of).max().unwrap_or(0),
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

/// A failure of PostgreSQL while its schema is changed, in the database's own words.
fn cannot(error: tokio_postgres::Error) -> DbError {
    let message = error.as_db_error().map_or_else(
        || error.to_string(),
        |db| match db.detail() {
            Some(detail) => format!("{}: {detail}", db.message()),
            None => db.message().to_owned(),
        },
    );
    DbError::Migration(message)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, DbError> + Send + 'static) -> Result<T, DbError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(DbError::Migration(error.to_string())))
}
