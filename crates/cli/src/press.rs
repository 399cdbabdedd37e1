//! `press`: issues media (B1, B2, B9): a batch at the authority, the content once, and for every medium its identity area.
//!
//! What is done is marked in a state file in the output directory, so that a repeated command goes on where it was.

mod content;
mod identities;
mod ids;
mod medium;
pub mod rights;
mod state;
mod texts;
mod without;

use std::io::BufRead as _;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use counterfoil_core::{BatchId, MediumId, ReleaseVersion, TitleId};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::failure::Failure;
use crate::progress::{Progress, Unit};
use crate::publisher::api::Api;
use crate::units;
use identities::Identities;
use state::{Order, State};

/// Press media: issue identities, and write directories or disc images that carry them with the content
///
/// An interrupted run is resumed by repeating the command. `--as identity` is for a replication plant that presses one content
/// area for all media: it writes the identity areas, and beside them once what is the same on every medium.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil press --title sky-raider --count 1000 --out ./discs
  counterfoil press --title sky-raider --count 10 --out ./images --as iso --with-client
  counterfoil press --title sky-raider --without-identity --as iso --out ./giveaway
  counterfoil press --title sky-raider --ids serials.csv --out ./discs --copies 2 --right transfer=no

The file given by --ids has one medium ID per line (4 to 64 of letters, digits and `._:-`), or a column with the heading
`medium_id`.")]
pub struct Press {
    /// A title to put on the media; more than one may be given
    #[arg(long = "title", value_name = "TITLE", required = true)]
    titles: Vec<TitleId>,
    /// Its release [default: the newest]
    #[arg(long, value_name = "VERSION")]
    version: Option<ReleaseVersion>,
    /// How many media
    #[arg(long, value_name = "N", required_unless_present_any = ["ids", "batch", "without_identity"], conflicts_with = "ids")]
    count: Option<NonZeroU64>,
    /// Where to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What to write
    #[arg(long = "as", value_enum, default_value_t = Form::Dir, value_name = "FORM")]
    form: Form,
    /// Medium IDs made elsewhere, a CSV file
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Leave out bad lines of --ids instead of pressing nothing
    #[arg(long, requires = "ids")]
    skip_bad: bool,
    /// Copies that can be claimed from each medium
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    copies: u32,
    /// A right: download, upload, upload_readable, update, play, transfer (yes or no), upload_mib (a number), expires (a date), or anything
    /// that your program reads
    #[arg(long = "right", value_name = "KEY=VALUE", value_parser = rights::parse)]
    rights: Vec<rights::Right>,
    /// The media are given away: their keys are paid for when they are copied, at a gateway that sells them or at the authority
    #[arg(long, conflicts_with = "batch")]
    paid_on_copy: bool,
    /// One medium that is the same for everybody: to be replicated, given away or offered as a download. Its key is bought by whoever copies it
    #[arg(long, conflicts_with_all = ["count", "ids", "batch", "copies", "rights", "paid_on_copy", "name"])]
    without_identity: bool,
    /// Put this client on the media
    #[arg(long)]
    with_client: bool,
    /// What people call the batch
    #[arg(long)]
    name: Option<String>,
    /// Go on with a batch that exists
    #[arg(long, value_name = "ID", conflicts_with = "ids")]
    batch: Option<BatchId>,
}

/// What is written for each medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A directory, to be copied to a USB stick or card
    Dir,
    /// A disc image with Rock Ridge and Joliet names
    Iso,
    /// The identity area only
    Identity,
}

#[derive(Serialize)]
struct Pressed {
    batch: BatchId,
    out: PathBuf,
    form: Form,
    media: u64,
    pressed_now: u64,
    first: Option<MediumId>,
    last: Option<MediumId>,
    left_out: Vec<ids::Bad>,
}

impl Press {
    /// Makes or resumes the batch, fetches the content, writes the media.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        if self.without_identity {
            return without::run(&self, context);
        }
        let (api, _) = Api::connect(context)?;
        let imported = self.ids.as_deref().map(|path| ids::Ids::check(path, self.skip_bad)).transpose()?;
        let order = Order {
            titles: self.titles.clone(),
            version: self.version.clone(),
            count: imported.as_ref().map_or(self.count.map(NonZeroU64::get), |ids| Some(ids.good)),
            imported: imported.as_ref().map(|ids| ids.digest.clone()),
            form: self.form,
            rights: rights::all(self.copies, &self.rights)?,
            paid_on_copy: self.paid_on_copy,
            with_client: self.with_client,
            name: self.name.clone(),
        };
        let mut state = State::begin(&self.out, order, self.batch)?;
        let batch = state.batch(&api)?;
        let mut left_out = imported.as_ref().map(|ids| ids.bad.clone()).unwrap_or_default();
        if let Some(ids) = imported.filter(|_| !state.imported()) {
            let rejected = ids.import(&api, batch.batch)?;
            if !rejected.is_empty() && !self.skip_bad {
                return Err(ids::refuse(&rejected));
            }
            state.set_imported(ids.good - rejected.len() as u64)?;
            left_out.extend(rejected);
        }
        let media = state.media(&batch);
        let before = state.done();
        let ends = self.write(context, &api, &mut state, &batch, media)?;

        let pressed_now = state.done() - before;
        let result = Pressed {
            batch: batch.batch,
            out: self.out.clone(),
            form: self.form,
            media,
            pressed_now,
            first: ends.as_ref().map(|ends| ends.0.clone()),
            last: ends.map(|ends| ends.1),
            left_out,
        };
        context.output.result(&result, || words(&result))
    }

    /// Writes what is missing, and gives the IDs of the first and the last medium written.
    fn write(
        &self,
        context: &Context,
        api: &Api,
        state: &mut State,
        batch: &state::Batch,
        media: u64,
    ) -> Result<Option<(MediumId, MediumId)>, Failure> {
        if state.done() >= media {
            return Ok(None);
        }
        let progress = Progress::new(&context.output, "fetched");
        let common = content::fetch(api, &batch.titles, &self.out, self.form, self.with_client, &progress)?;
        progress.finish();

        let unit = if self.form == Form::Identity { Unit::Media } else { Unit::Bytes };
        let progress = Progress::counting(&context.output, "pressed", unit);
        let mut press = medium::press(self.form, &self.out, media, &common)?;
        progress.of((media - state.done()) * press.each());
        let mut identities = Identities::from(api, batch.batch, state.done() + 1, media, self.with_client)?;
        let mut list = state.list()?;
        let mut ends: Option<(MediumId, MediumId)> = None;
        while let Some(identity) = identities.next()? {
            let (serial, medium_id) = (identity.serial, identity.medium_id.clone());
            let path = press.medium(Some(serial), identity.label, &mut |done| progress.add(done))?;
            list.add(serial, &medium_id, &path)?;
            let first = ends.take().map_or_else(|| medium_id.clone(), |ends| ends.0);
            ends = Some((first, medium_id));
            if serial % press.mark_every() == 0 {
                press.settle()?;
                state.mark(serial, list.settle()?)?;
            }
        }
        press.settle()?;
        state.mark(media, list.settle()?)?;
        drop(press);
        common.finish()?;
        Ok(ends)
    }
}

fn words(result: &Pressed) -> String {
    if result.pressed_now == 0 {
        return format!("all {} of batch {} are pressed already in {}", result.media, result.batch, result.out.display());
    }
    let media = units::count(result.pressed_now, "medium", "media");
    let mut text = format!("pressed {media} of batch {} into {}\n", result.batch, result.out.display());
    if result.pressed_now < result.media {
        text += &format!("{} were there already\n", result.media - result.pressed_now);
    }
    if let (Some(first), Some(last)) = (&result.first, &result.last) {
        text += &format!("first {first}\nlast  {last}\n");
    }
    text += &format!("list  {}\n", result.out.join(state::LIST).display());
    for bad in &result.left_out {
        text += &format!("left out: {bad}\n");
    }
    text
}

/// Reads one line of at most `limit` bytes, without its end; nothing at the end of the stream.
fn read_line(reader: &mut dyn std::io::BufRead, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = std::io::Read::take(reader, limit as u64 + 1);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > limit {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("a line of more than {limit} bytes")));
    }
    Ok(Some(line))
}
