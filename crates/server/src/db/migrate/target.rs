//! The PostgreSQL database that is moved to: what is there already, what must be written, and what it says has arrived.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use super::super::Settings;
use super::super::error::DbError;
use super::super::moved::MOVING_FROM;
use super::super::url::PostgresTarget;
use super::super::value::Value;
use super::rows::{Kind, PageDigest, Range, Running, Table, Values, canonical_sql, compare, quoted};
use super::transfer::MoveError;

/// Keys deleted at a time.
const DELETIONS: usize = 2000;

pub(super) struct Target {
    client: Client,
    prepared: RefCell<HashMap<String, Statement>>,
}

/// What it took to make a range of rows as they are in the source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mended {
    pub(super) inserted: u64,
    pub(super) changed: u64,
    pub(super) deleted: u64,
    /// Rows that must go, and were left.
    pub(super) left: u64,
}

impl Target {
    pub(super) async fn open(target: &PostgresTarget, settings: &Settings) -> Result<Self, MoveError> {
        let client = super::postgres::connect(&target.primary(), settings).await?;
        // What is committed last reaches the disk, and with it all that was committed before.
        client.batch_execute("SET statement_timeout = 0; SET synchronous_commit = off").await.map_err(explain)?;
        let encoding: String = client.query_one("SHOW server_encoding", &[]).await.map_err(explain)?.get(0);
        if encoding != "UTF8" {
            return Err(MoveError::Unfit(
                format!("its encoding is {encoding}"),
                "Make it anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
            ));
        }
        let row = client.query_one("SELECT pg_try_advisory_lock(4849190328)", &[]).await.map_err(explain)?;
        if !row.get::<_, bool>(0) {
            return Err(MoveError::Unfit("another move to it is under way".to_owned(), "Wait until that one has ended."));
        }
        Ok(Self { client, prepared: RefCell::default() })
    }

    /// Makes sure that nothing but this move has put rows here, and leaves a note whose move it is.
    pub(super) async fn claim(&self, tables: &[Table], from: &str) -> Result<(), MoveError> {
        for table in tables {
            self.same_columns(table).await?;
        }
        let known = self.client.query_opt("SELECT value FROM setting WHERE name = $1", &[&MOVING_FROM]).await.map_err(explain)?;
        match known.map(|row| row.get::<_, String>(0)) {
            Some(other) if other != from => {
                return Err(MoveError::Unfit(
                    format!("it holds half of another database, {other}"),
                    "Go on with that move, or make a new, empty database for this one.",
                ));
            }
            Some(_) => return Ok(()),
            None => {}
        }
        for table in tables {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&table.name));
            if self.client.query_one(&sql, &[]).await.map_err(explain)?.get(0) {
                return Err(MoveError::Unfit(
                    format!("its table {} has rows", table.name),
                    "Make a new, empty database, and move to that.",
                ));
            }
        }
        let sql = "INSERT INTO setting (name, value) VALUES ($1, $2)";
        self.client.execute(sql, &[&MOVING_FROM, &from]).await.map_err(explain)?;
        Ok(())
    }

    async fn same_columns(&self, table: &Table) -> Result<(), MoveError> {
        let sql = "SELECT column_name::text, data_type::text FROM information_schema.columns
            WHERE table_schema = current_schema() AND table_name = $1";
        let rows = self.client.query(sql, &[&table.name]).await.map_err(explain)?;
        let mut there: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let kind = |kind| match kind {
            Kind::Int => "bigint",
            Kind::Text => "text",
            Kind::Bytes => "bytea",
        };
        let mut wanted: Vec<_> = table.columns.iter().map(|column| (column.name.clone(), kind(column.kind).to_owned())).collect();
        there.sort();
        wanted.sort();
        if there == wanted {
            return Ok(());
        }
        Err(MoveError::Unfit(format!("its table {} has other columns", table.name), "Use one version of counterfoild for both databases."))
    }

    /// Takes the note away: from now on servers may use the database.
    pub(super) async fn release(&self, from: &str) -> Result<(), MoveError> {
        self.client.batch_execute("SET synchronous_commit = on").await.map_err(explain)?;
        self.client.execute("DELETE FROM setting WHERE name = $1 AND value = $2", &[&MOVING_FROM, &from]).await.map_err(explain)?;
        Ok(())
    }

    /// Returns when all that was written is on the disk, also on the synchronous standby.
    pub(super) async fn flush(&self, from: &str) -> Result<(), MoveError> {
        self.client.batch_execute("SET synchronous_commit = on").await.map_err(explain)?;
        let sql = "UPDATE setting SET value = $2 WHERE name = $1";
        let noted = self.client.execute(sql, &[&MOVING_FROM, &from]).await.map_err(explain)?;
        self.client.batch_execute("SET synchronous_commit = off").await.map_err(explain)?;
        if noted == 1 {
            Ok(())
        } else {
            Err(MoveError::Unfit("the note of this move is gone".to_owned(), "Make a new, empty database, and move to that."))
        }
    }

    /// What a range of rows comes to, computed over there.
    pub(super) async fn digest(&self, table: &Table, range: Range<'_>) -> Result<PageDigest, MoveError> {
        let (condition, values) = table.condition(range);
        let sql = format!(
            "SELECT count(*), sha256(coalesce(string_agg({}, ''::bytea ORDER BY {}), ''::bytea)) FROM {}{condition}",
            canonical_sql(table),
            table.key_list(),
            quoted(&table.name)
        );
        let statement = self.prepare(sql).await?;
        let row = self.client.query_raw(&statement, values).await.map_err(explain)?.try_collect::<Vec<_>>().await.map_err(explain)?;
        let row = row.first().ok_or_else(|| DbError::Migration("the target counts nothing".to_owned()))?;
        let sha256 = row.get::<_, &[u8]>(1).try_into().map_err(|_| DbError::Migration("SHA-256 has 32 bytes".to_owned()))?;
        Ok(PageDigest { rows: row.get(0), sha256 })
    }

    /// Writes rows of which none is there.
    pub(super) async fn copy(&self, table: &Table, rows: &[Values]) -> Result<(), MoveError> {
        if rows.is_empty() {
            return Ok(());
        }
        let kind = |kind| match kind {
            Kind::Int => Type::INT8,
            Kind::Text => Type::TEXT,
            Kind::Bytes => Type::BYTEA,
        };
        let types: Vec<Type> = table.columns.iter().map(|column| kind(column.kind)).collect();
        let sql = format!("COPY {} ({}) FROM STDIN BINARY", quoted(&table.name), table.list());
        let sink = self.client.copy_in(&sql).await.map_err(explain)?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for row in rows {
            writer.as_mut().write_raw(row.iter()).await.map_err(explain)?;
        }
        writer.finish().await.map_err(explain)?;
        Ok(())
    }

    /// Makes a range as it is in the source. Rows that must go are deleted only when told to: others may still point to them.
    pub(super) async fn mend(&self, table: &Table, range: Range<'_>, rows: &[Values], delete: bool) -> Result<Mended, MoveError> {
        let mut mended = Mended::default();
        loop {
            let difference = self.compare(table, range, rows, delete).await?;
            self.copy(table, &difference.missing).await?;
            self.update(table, &difference.changed).await?;
            mended.inserted += difference.missing.len() as u64;
            mended.changed += difference.changed.len() as u64;
            mended.left = difference.left;
            mended.deleted += self.delete(table, &difference.extra).await?;
            if difference.complete {
                return Ok(mended);
            }
        }
    }

    async fn compare(&self, table: &Table, range: Range<'_>, rows: &[Values], collect: bool) -> Result<Difference, MoveError> {
        let (condition, values) = table.condition(range);
        let sql = format!("SELECT {} FROM {}{condition} ORDER BY {}", table.list(), quoted(&table.name), table.key_list());
        let statement = self.prepare(sql).await?;
        let mut stream = pin!(self.client.query_raw(&statement, values).await.map_err(explain)?);
        let mut difference = Difference::default();
        let mut ours = rows.iter().peekable();
        while let Some(row) = stream.try_next().await.map_err(explain)? {
            let theirs = values_of(&row)?;
            let key = table.key_of(&theirs);
            while let Some(row) = ours.next_if(|row| compare(&table.key_of(row), &key).is_lt()) {
                difference.missing.push(row.clone());
            }
            match ours.next_if(|row| compare(&table.key_of(row), &key).is_eq()) {
                Some(row) if *row != theirs => difference.changed.push(row.clone()),
                Some(_) => {}
                None if collect => difference.extra.push(key),
                None => difference.left += 1,
            }
            if difference.extra.len() >= DELETIONS {
                return Ok(difference);
            }
        }
        difference.missing.extend(ours.cloned());
        difference.complete = true;
        Ok(difference)
    }

    async fn update(&self, table: &Table, rows: &[Values]) -> Result<(), MoveError> {
        let set = |columns: Vec<String>| columns.join(", ");
        let rest: Vec<_> = table.columns.iter().filter(|column| column.key.is_none()).map(|column| quoted(&column.name)).collect();
        let places: Vec<_> = (1..=table.columns.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
            quoted(&table.name),
            table.list(),
            places.join(", "),
            table.key_list(),
            set(rest.iter().map(|name| format!("{name} = excluded.{name}")).collect())
        );
        if rows.is_empty() {
            return Ok(());
        }
        let statement = self.prepare(sql).await?;
        try_join_all(rows.iter().map(|row| self.client.execute_raw(&statement, row))).await.map_err(explain)?;
        Ok(())
    }

    async fn delete(&self, table: &Table, keys: &[Values]) -> Result<u64, MoveError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let guard = table.key().iter().zip(1..).map(|(column, place)| format!("{} = ${place}", quoted(&column.name))).collect::<Vec<_>>();
        let statement = self.prepare(format!("DELETE FROM {} WHERE {}", quoted(&table.name), guard.join(" AND "))).await?;
        let deleted = try_join_all(keys.iter().map(|key| self.client.execute_raw(&statement, key))).await.map_err(explain)?;
        Ok(deleted.into_iter().sum())
    }

    /// Reads a whole table back, row by row.
    pub(super) async fn read_back(&self, table: &Table, running: &mut Running) -> Result<(), MoveError> {
        let (condition, _) = table.condition(Range::default());
        let sql = format!("SELECT {} FROM {}{condition} ORDER BY {}", table.list(), quoted(&table.name), table.key_list());
        let statement = self.prepare(sql).await?;
        let mut stream = pin!(self.client.query_raw(&statement, Values::new()).await.map_err(explain)?);
        while let Some(row) = stream.try_next().await.map_err(explain)? {
            running.add(&values_of(&row)?);
        }
        Ok(())
    }

    async fn prepare(&self, sql: String) -> Result<Statement, MoveError> {
        let known = self.prepared.borrow().get(&sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(&sql).await.map_err(explain)?;
        self.prepared.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }
}

/// How a range differs from the source's.
#[derive(Default)]
struct Difference {
    missing: Vec<Values>,
    changed: Vec<Values>,
    extra: Vec<Values>,
    left: u64,
    complete: bool,
}

fn values_of(row: &tokio_postgres::Row) -> Result<Values, MoveError> {
    (0..row.len()).map(|column| row.try_get::<_, Value<'static>>(column)).collect::<Result<_, _>>().map_err(explain)
}

pub(super) fn explain(error: tokio_postgres::Error) -> MoveError {
    let message = error.as_db_error().map_or_else(
        || std::error::Error::source(&error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
        |db| format!("{} ({})", db.message(), db.code().code()),
    );
    MoveError::Db(DbError::Migration(format!("target: {message}")))
}
