//! The bytes of an upload as they come (tus 1.0): kept in parts, whatever comes after them.
//!
//! A part is in the contents store, durably, before the upload moves on to its end by a guarded update; so two requests at one place do the same
//! work and one of them moves it. What the other one has stored is taken away again, and so is what does not hash to its checksum: an upload takes
//! no more room than was reserved for it, however often it is tried. The last piece is no part: it comes with the transaction that makes a version
//! of the upload, so that an upload never stands at its end without being one.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use counterfoil_format::content::ObjectName;
use counterfoil_tus::{Checksum, Error as TusError, Patch, Summing};
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

/// Takes a body, and answers with how far the upload is then. What came before a body broke off is kept, where it has no checksum.
///
/// # Errors
/// `Offset`, `TooLarge`, `ChecksumMismatch`, `Gone`; `save_conflict`, `object_mismatch`; failures of store and database.
pub async fn take(app: &App, row: UploadRow, patch: &Patch, body: Body) -> Result<u64, Failed> {
    let room = patch.room(row.received, row.length).map_err(Failed::Tus)?;
    let (app, checksum) = (app.clone(), patch.checksum.clone());
    // A task of its own: whoever goes away now finds it done when they come back, and leaves nothing behind that was not.
    let taken = tokio::spawn(async move {
        let _turn = app.blobs.turn(row.user).await;
        let sums = checksum.as_ref().map(|checksum| checksum.begin());
        let mut taking = Taking { app: &app, at: row.received, row, room, piece: BytesMut::new(), held: VecDeque::new(), sums };
        let taken = taking.whole(checksum, body).await;
        for part in std::mem::take(&mut taking.held) {
            taking.drop_part(&part).await;
        }
        taken
    });
    taken.await.map_err(Problem::internal)?
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
    held: VecDeque<Part>,
    sums: Option<Summing>,
}

impl Taking<'_> {
    async fn whole(&mut self, checksum: Option<Checksum>, body: Body) -> Result<u64, Failed> {
        let whole = self.all_of(body).await?;
        if let (Some(checksum), Some(sums)) = (checksum, self.sums.take()) {
            if !whole || !checksum.matches(sums) {
                return Err(Failed::Tus(TusError::ChecksumMismatch));
            }
            while let Some(part) = self.held.pop_front() {
                self.move_on(part).await?;
            }
        }
        self.end().await
    }

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
    async fn end(&mut self) -> Result<u64, Failed> {
        let rest = std::mem::take(&mut self.piece).freeze();
        if rest.is_empty() {
            return Ok(self.row.received);
        }
        if self.at + (rest.len() as u64) < self.row.length {
            self.keep(rest).await?;
            return Ok(self.row.received);
        }
        match finish::finish(self.app, self.row.clone(), rest).await? {
            Finished::Complete => Ok(self.row.length),
            Finished::Conflict(refusal) => Err(Failed::Problem(refusal.into())),
            Finished::Elsewhere(have) => Err(Failed::Tus(TusError::Offset { have })),
            Finished::Over => Err(Failed::Tus(TusError::Gone)),
        }
    }

    async fn keep(&mut self, piece: Bytes) -> Result<(), Failed> {
        let (position, length) = (self.at, piece.len() as u64);
        // Drawn, so that nobody else has one of that name: it can be taken away without asking who needs it.
        let part = Part { position, length, object: ObjectName(self.app.rng.bytes()) };
        self.app.blobs.put_part(self.row.upload, part.object, piece).await?;
        self.at += length;
        if self.sums.is_some() {
            self.held.push_back(part);
            return Ok(());
        }
        self.move_on(part).await
    }

    /// Takes a part away that the upload has not moved on by. What cannot be taken away goes with the upload.
    async fn drop_part(&self, part: &Part) {
        if let Err(error) = self.app.blobs.remove_part(self.row.upload, part.object).await {
            tracing::warn!(%error, upload = %self.row.upload, "a part that was not taken could not be removed");
        }
    }

    async fn move_on(&mut self, part: Part) -> Result<(), Failed> {
        let (user, upload, now, stored) = (self.row.user, self.row.upload, self.app.clock.now(), part.clone());
        let moved = self.app.db.write("upload moves on", user::family(user), async move |tx: &mut Tx| -> Result<_, Problem> {
            // After a lost answer it is tried once more, and has moved on by this very part.
            if upload::advance(tx, user, upload, &stored).await? || upload::has_part(tx, user, upload, &stored).await? {
                return Ok(None);
            }
            Ok(Some(upload::find(tx, user, upload).await?))
        });
        // After a failure nobody knows whether it has moved on: the part stays.
        let found = match moved.await? {
            None => {
                self.row.received += part.length;
                return Ok(());
            }
            Some(found) => found,
        };
        self.drop_part(&part).await;
        match found {
            // Another request was faster.
            Some(row) if row.waits(now) || row.state == State::Complete => Err(Failed::Tus(TusError::Offset { have: row.received })),
            _ => Err(Failed::Tus(TusError::Gone)),
        }
    }
}
