//! The bytes of an upload as they come (tus 1.0): kept in parts, whatever comes after them.
//!
//! A part is in the contents store, durably, before the upload moves on to its end by a guarded update; so two requests at one place do the same
//! work and one of them moves it. The last piece is no part: it comes with the transaction that makes a version of the upload, so that an
//! upload never stands at its end without being one.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use counterfoil_tus::{Error as TusError, Patch, Summing};
use futures_util::StreamExt as _;

use super::finish::{self, Finished};
use super::ticket::Ticket;
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::upload::{self, Part, State, UploadRow};
use crate::store::user;

/// Bytes of a part: what one body holds in memory.
const PIECE: usize = 4 << 20;
/// How long a body may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// Why bytes were not taken.
#[derive(Debug)]
pub enum Failed {
    /// Something that tus has a status for.
    Tus(TusError),
    /// Anything else.
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// The upload of a ticket.
///
/// # Errors
/// `Unknown`: no ticket of ours; `Gone`: it is over.
pub async fn find(app: &App, ticket: &str) -> Result<UploadRow, Failed> {
    let Ticket { user, upload } = Ticket::open(app, ticket).await?.ok_or(Failed::Tus(TusError::Unknown))?;
    let row = app.db.read("upload", async move |tx: &mut Tx| upload::find(tx, user, upload).await).await?;
    match row {
        // One that was swept is known no more, and its ticket is still ours.
        None => Err(Failed::Tus(TusError::Gone)),
        Some(row) if row.state == State::Complete || row.waits(app.clock.now()) => Ok(row),
        Some(_) => Err(Failed::Tus(TusError::Gone)),
    }
}

/// Takes an upload away that is not complete.
///
/// # Errors
/// As for [`find`]; `Gone` for one that is complete: what was saved is taken away by its user's devices only.
pub async fn cancel(app: &App, ticket: &str) -> Result<(), Failed> {
    let row = find(app, ticket).await?;
    if finish::give_up(app, row, "cancelled").await? { Ok(()) } else { Err(Failed::Tus(TusError::Gone)) }
}

/// Takes a body, and answers with how far the upload is then. What came before a body broke off is kept.
///
/// # Errors
/// `Offset`, `TooLarge`, `ChecksumMismatch`, `Gone`; `save_conflict`, `object_mismatch`; failures of store and database.
pub async fn take(app: &App, row: UploadRow, patch: &Patch, body: Body) -> Result<u64, Failed> {
    let room = patch.room(row.received, row.length).map_err(Failed::Tus)?;
    let _turn = app.blobs.turn().await;
    let sums = patch.checksum.as_ref().map(|checksum| checksum.begin());
    let mut taking = Taking { app, at: row.received, row, room, piece: BytesMut::new(), held: vec![], sums };
    let whole = taking.all_of(body).await?;
    if let (Some(checksum), Some(sums)) = (&patch.checksum, taking.sums.take()) {
        if !whole || !checksum.matches(sums) {
            return Err(Failed::Tus(TusError::ChecksumMismatch));
        }
        for part in std::mem::take(&mut taking.held) {
            taking.move_on(part).await?;
        }
    }
    taking.end().await
}

/// A body on its way.
struct Taking<'a> {
    app: &'a App,
    /// As it was found; `received` as far as it has moved since.
    row: UploadRow,
    /// Where the next piece begins.
    at: u64,
    /// Bytes that may still come.
    room: u64,
    piece: BytesMut,
    /// Parts that wait for the checksum of all.
    held: Vec<Part>,
    sums: Option<Summing>,
}

impl Taking<'_> {
    /// Takes what comes; false where it broke off. Memory holds one part, and what comes at a time.
    async fn all_of(&mut self, body: Body) -> Result<bool, Failed> {
        let mut body = body.into_data_stream();
        loop {
            let bytes = match tokio::time::timeout(SILENCE, body.next()).await {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(None) => return Ok(true),
                Ok(Some(Err(_))) | Err(_) => return Ok(false),
            };
            self.room = match self.room.checked_sub(bytes.len() as u64) {
                Some(room) => room,
                None => return Err(Failed::Tus(TusError::TooLarge { max: self.row.length })),
            };
            if let Some(sums) = &mut self.sums {
                sums.update(&bytes);
            }
            self.piece.extend_from_slice(&bytes);
            while self.piece.len() > PIECE {
                let piece = self.piece.split_to(PIECE).freeze();
                self.keep(piece).await?;
            }
        }
    }

    /// What is left: the end of the upload, or one more part.
    async fn end(mut self) -> Result<u64, Failed> {
        let rest = std::mem::take(&mut self.piece).freeze();
        if rest.is_empty() {
            return Ok(self.row.received);
        }
        if self.at + (rest.len() as u64) < self.row.length {
            self.keep(rest).await?;
            return Ok(self.row.received);
        }
        let (app, row, length) = (self.app.clone(), self.row.clone(), self.row.length);
        // A task of its own: whoever goes away now finds it done when they come back.
        let finished = tokio::spawn(async move { finish::finish(&app, row, rest).await });
        match finished.await.map_err(Problem::internal)?? {
            Finished::Complete => Ok(length),
            Finished::Conflict(refusal) => Err(Failed::Problem(refusal.into())),
            Finished::Elsewhere(have) => Err(Failed::Tus(TusError::Offset { have })),
            Finished::Over => Err(Failed::Tus(TusError::Gone)),
        }
    }

    async fn keep(&mut self, piece: Bytes) -> Result<(), Failed> {
        let (position, length) = (self.at, piece.len() as u64);
        let object = self.app.blobs.put_part(self.row.upload, piece).await?;
        self.at += length;
        let part = Part { position, length, object };
        if self.sums.is_some() {
            self.held.push(part);
            return Ok(());
        }
        self.move_on(part).await
    }

    async fn move_on(&mut self, part: Part) -> Result<(), Failed> {
        let (user, upload, length, now) = (self.row.user, self.row.upload, part.length, self.app.clock.now());
        let moved = self.app.db.write("upload moves on", user::family(user), async move |tx: &mut Tx| -> Result<_, Problem> {
            if upload::advance(tx, user, upload, &part).await? {
                return Ok(None);
            }
            Ok(Some(upload::find(tx, user, upload).await?))
        });
        match moved.await? {
            None => {
                self.row.received += length;
                Ok(())
            }
            // Another request was faster.
            Some(Some(row)) if row.waits(now) || row.state == State::Complete => Err(Failed::Tus(TusError::Offset { have: row.received })),
            Some(_) => Err(Failed::Tus(TusError::Gone)),
        }
    }
}
