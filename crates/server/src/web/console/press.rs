//! `/console/press`: a batch is made, and the identities of its media are taken away as a table, as directories in a ZIP, or as lines.

use std::sync::Mutex;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::{BatchId, Rights, TitleId};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};

use super::rights::{self, Kept};
use super::staff::draw_once;
use super::tasks::{InAddress as _, mendable, read};
use super::{Frame, Section, Sees, Sent, Staff};
use crate::actions::{create_batch, notice, press};
use crate::api::batches::{NewBatch, NewBatchTitle};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::batch::{self, Batch, BatchTitle};
use crate::store::title::{self, Title};
use crate::web::charts::number;
use crate::web::visitor::{Fields, see_other};
use crate::web::{page, page_as};

/// Titles to choose from; whoever has more writes the name.
const SHOWN: i64 = 500;
/// What the API calls a batch.
#[derive(serde::Deserialize)]
struct Made {
    batch: BatchId,
}

#[derive(Template)]
#[template(path = "console/press.html")]
struct PressPage<'a> {
    frame: Frame,
    titles: Vec<Title>,
    typed: &'a Fields,
    kept: Kept,
    error: Option<String>,
    once: String,
}

/// `/console/press`, with `?title=` where a title was chosen already.
///
/// # Errors
/// `not_found` for whoever presses nothing; a failure of the database.
pub async fn form(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let typed = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    show(&app, &staff, &typed, Kept::of(&Rights::default()), None).await
}

async fn show(app: &App, staff: &Staff, typed: &Fields, kept: Kept, error: Option<String>) -> Result<Response, Problem> {
    staff.needs(Sees::Publishers)?;
    let scope = staff.scope();
    let list = async move |tx: &mut Tx| -> Result<Vec<Title>, DbError> { title::list(tx, &scope, "", SHOWN).await };
    let titles = app.db.read_lagging("titles to press", list).await?;
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    page_as(status, &PressPage { frame: Frame::new(app, staff, Section::Batches), titles, typed, kept, error, once: draw_once(&app.rng) })
}

/// Makes the batch, and goes on to its identities.
///
/// # Errors
/// As for [`form`].
pub async fn make(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Publishers)?;
    if sent.fields.text("paid") == "without" {
        return without_identity(&app, &sent).await;
    }
    let made = match order(&sent.fields) {
        Ok(new) => create_batch::run(&app, &sent.by.caller(), &sent.once, new).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(reply) => Ok(see_other(&format!("/console/batches/{}/identities?done=pressed", read::<Made>(&reply)?.batch))),
        Err(problem) => show(&app, &sent.by, &sent.fields, Kept::typed(&sent.fields), Some(mendable(problem)?)).await,
    }
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::with(ApiCode::Unprocessable, what)
}

/// C18: what stands on media without an identity, as a file. There is no batch of those, and nothing to claim.
async fn without_identity(app: &App, sent: &Sent) -> Result<Response, Problem> {
    let made = match titles(&sent.fields) {
        Ok(titles) => notice::run(app, &sent.by.caller(), titles).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(notice) => {
            let bytes = serde_json::to_vec(&notice).map_err(Problem::internal)?;
            let name = "attachment; filename=\"notice.json\"";
            Ok(([(CONTENT_TYPE, "application/json"), (CONTENT_DISPOSITION, name)], bytes).into_response())
        }
        Err(problem) => show(app, &sent.by, &sent.fields, Kept::typed(&sent.fields), Some(mendable(problem)?)).await,
    }
}

/// The titles that the form names. Several are written with commas.
fn titles(fields: &Fields) -> Result<Vec<NewBatchTitle>, Problem> {
    let named = fields.some("other").unwrap_or_else(|| fields.text("title"));
    let mut titles = vec![];
    for name in named.split([',', ' ']).filter(|name| !name.is_empty()) {
        let title: TitleId = name.parse().map_err(|_| wrong(format!("`{name}` is no name of a title")))?;
        let version = match fields.some("version") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| wrong("the release is a version, such as 1.2.0"))?),
        };
        titles.push(NewBatchTitle { title, version });
    }
    Ok(titles)
}

/// What the form says, as the API takes it.
fn order(fields: &Fields) -> Result<NewBatch, Problem> {
    let titles = titles(fields)?;
    let count = fields.text("count").trim().replace([',', ' '], "");
    let count = count.parse().map_err(|_| wrong("the number of media is a whole number from 1 on"))?;
    let name = fields.text("name").trim().to_owned();
    Ok(NewBatch {
        name,
        titles,
        count: Some(count),
        imported: false,
        rights: rights::typed(fields)?.of(&Rights::default()),
        paid_on_copy: fields.text("paid") == "on_copy",
    })
}

#[derive(Template)]
#[template(path = "console/identities.html")]
struct IdentitiesPage {
    frame: Frame,
    batch: Batch,
    /// How many media, for people.
    count: String,
    titles: Vec<BatchTitle>,
}

async fn found(app: &App, staff: &Staff, id: BatchId) -> Result<(Batch, Vec<BatchTitle>), Problem> {
    staff.needs(Sees::Publishers)?;
    let scope = staff.scope();
    app.db
        .read("batch to press", async move |tx: &mut Tx| -> Result<_, Problem> {
            let batch = batch::get(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
            Ok((batch, batch::titles(tx, id).await?))
        })
        .await
}

/// `/console/batches/{batch}/identities`: in which form they are taken.
///
/// # Errors
/// `not_found`.
pub async fn identities(
    State(app): State<App>,
    staff: Staff,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (batch, titles) = found(&app, &staff, BatchId::read(&id)?).await?;
    page(&IdentitiesPage {
        frame: Frame::told(&app, &staff, Section::Batches, query.as_deref()),
        count: number(batch.count),
        batch,
        titles,
    })
}

/// Sends them. They hold claim secrets, so that this is recorded, and no link of another site can ask for it.
///
/// # Errors
/// `not_found`; `unprocessable` for serials that there are not.
pub async fn take(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    let id = BatchId::read(&id)?;
    let (batch, _) = found(&app, &sent.by, id).await?;
    let serial = |name: &str| match sent.fields.some(name) {
        None => Ok(None),
        Some(text) => {
            text.parse::<i64>().ok().filter(|number| *number >= 1).map(Some).ok_or_else(|| wrong("serials are whole numbers from 1 on"))
        }
    };
    let (from, count) = (serial("from")?.unwrap_or(1), serial("count")?);
    let pieces = press::identities(app.clone(), &sent.by.caller(), id, from, count).await?;
    let digits = batch.count.to_string().len().max(4);
    let (kind, ending, body) = match sent.fields.text("as") {
        "zip" => ("application/zip", "zip", Body::from_stream(zipped(pieces, digits))),
        "lines" => ("application/x-ndjson", "jsonl", Body::from_stream(pieces)),
        _ => (crate::csv::MEDIA_TYPE, "csv", Body::from_stream(table(pieces))),
    };
    let name = format!("attachment; filename=\"{id}.{ending}\"");
    Ok(([(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, name)], body).into_response())
}

/// What is read of an identity area besides its bytes.
struct Line {
    serial: u64,
    medium: String,
    text: String,
}

/// The lines of a piece, with what their identities say. They are our own, so that nothing is verified here.
fn lines(piece: &[u8]) -> Result<Vec<Line>, Problem> {
    use counterfoil_core::wire::{IdentityArea, IdentityClaims};
    let read = |line: &[u8]| -> Result<Line, Problem> {
        let area: IdentityArea = serde_json::from_slice(line).map_err(Problem::internal)?;
        let claims = counterfoil_format::jws::unverified_payload(&area.identity);
        let claims: Option<IdentityClaims> = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let claims = claims.ok_or_else(|| Problem::internal("an identity that was just signed cannot be read"))?;
        let text = String::from_utf8(line.to_vec()).map_err(Problem::internal)?;
        Ok(Line { serial: claims.serial, medium: claims.medium_id.to_string(), text })
    };
    piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(read).collect()
}

/// A table: serial, medium ID, and what `identity.json` holds.
fn table(pieces: impl Stream<Item = Result<Bytes, Problem>> + Send + 'static) -> impl Stream<Item = Result<Bytes, Problem>> {
    let heading = stream::once(async { Ok(Bytes::from_static(b"serial,medium_id,identity\r\n")) });
    heading.chain(pieces.and_then(async |piece| {
        let mut table = crate::csv::Table::default();
        for Line { serial, medium, text } in lines(&piece)? {
            table.row([serial.to_string().into(), crate::csv::text(&medium), crate::csv::text(&text)])?;
        }
        table.finish()
    }))
}

/// A directory for each medium, as a terminal reads it: `0001/identity.json`. Beside them `media.csv`, which says which is which.
fn zipped(
    pieces: impl Stream<Item = Result<Bytes, Problem>> + Send + 'static,
    digits: usize,
) -> impl Stream<Item = Result<Bytes, Problem>> {
    let archive = Mutex::new(Archive::default());
    let closed = stream::once(async { Ok(None) });
    pieces.map_ok(Some).chain(closed).and_then(move |piece| {
        let bytes = match archive.lock() {
            Ok(mut archive) => match piece {
                Some(piece) => archive.add(&piece, digits),
                None => archive.end(),
            },
            Err(_) => Err(Problem::internal("an archive was left half written")),
        };
        std::future::ready(bytes)
    })
}

/// A ZIP that is read while it is written.
struct Archive {
    zip: Option<zip::ZipWriter<zip::write::StreamWriter<Pipe>>>,
    pipe: Pipe,
    list: crate::csv::Table,
}

/// Bytes that were written and not read yet.
#[derive(Clone, Default)]
struct Pipe(std::sync::Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map_err(|_| std::io::ErrorKind::Other)?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Default for Archive {
    fn default() -> Self {
        let pipe = Pipe::default();
        let mut list = crate::csv::Table::default();
        // Two cells; nothing else is written before, so that no row of another length can be there.
        let _ = list.row(["serial".into(), "medium_id".into()]);
        Self { zip: Some(zip::ZipWriter::new_stream(pipe.clone())), pipe, list }
    }
}

impl Archive {
    fn add(&mut self, piece: &[u8], digits: usize) -> Result<Bytes, Problem> {
        for Line { serial, medium, text } in lines(piece)? {
            self.list.row([serial.to_string().into(), crate::csv::text(&medium)])?;
            self.file(&format!("{serial:0digits$}/identity.json"), text.as_bytes())?;
        }
        self.written()
    }

    fn end(&mut self) -> Result<Bytes, Problem> {
        let list = std::mem::take(&mut self.list).finish()?;
        self.file("media.csv", &list)?;
        if let Some(zip) = self.zip.take() {
            zip.finish().map_err(Problem::internal)?;
        }
        self.written()
    }

    /// Keys do not become smaller by compression, so that nothing is compressed.
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Problem> {
        use std::io::Write as _;
        let zip = self.zip.as_mut().ok_or_else(|| Problem::internal("an archive goes on after its end"))?;
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).unix_permissions(0o600);
        zip.start_file(name, options).map_err(Problem::internal)?;
        zip.write_all(bytes).map_err(Problem::internal)
    }

    fn written(&mut self) -> Result<Bytes, Problem> {
        let mut pipe = self.pipe.0.lock().map_err(|_| Problem::internal("an archive was left half written"))?;
        Ok(Bytes::from(std::mem::take(&mut *pipe)))
    }
}
