//! Containers (zip, wheel, jar, docx, gzip): what they hold is compared as plain text, and packed again bit for bit when a patch is applied.
//!
//! One changed byte changes everything that follows it in a deflate stream, so two packed versions have nothing in common. Here each stream
//! becomes a file of its own, between files of what lies around it: the engine sees those ([`view::View`]). A stream is unwrapped only if one
//! of a few encoders, each the same code here and on the device, gives exactly its bytes ([`encoder`]); so the recipe is a byte a stream,
//! nothing is trusted, and memory is bounded. Whatever does not come back bit for bit stays as it is.

mod container;
mod encoder;
mod find;
mod inflate;
mod recipe;
mod rewrap;
mod view;

use std::io::{self, Write};

use crate::apply::{ApplyError, Limits};
use crate::codec::{self, Entry};
use crate::make::{Made, MakeError, Options, StreamSize};
use crate::varint::invalid;
use crate::{Files, Progress, ReadAt, Sink};

use recipe::Recipe;
use rewrap::Rewrapper;
use view::View;

/// What the recipe of a patch may take when it is read, in bytes: more than a million streams.
const LONGEST_RECIPE: u64 = 16 << 20;

/// Containers within containers are unwrapped so deep.
const DEEPEST: usize = 3;

/// Writes to `out` what turns the files of `old` into those of `new`. The same files always give the same patch. Containers are unwrapped,
/// so the progress that is told counts what they hold.
pub fn make(
    old: &dyn Files,
    new: &dyn Files,
    options: &Options,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Made, MakeError> {
    unwrapped(old, new, &mut Vec::new(), &mut |old, new, recipes| {
        let stream = codec::write(&recipe::to_bytes(recipes));
        let mut head = Vec::new();
        stream.put_entry(&mut head);
        head.extend(&stream.bytes);
        out.write_all(&head)?;
        let mut made = crate::make::make(old, new, options, out, progress)?;
        made.length += head.len() as u64;
        made.streams.push(StreamSize { name: "containers", raw: stream.raw(), written: head.len() as u64 });
        Ok(made)
    })
}

/// What is done with the files once they are unwrapped.
type Engine<'a> = dyn FnMut(&dyn Files, &dyn Files, &[Recipe]) -> Result<Made, MakeError> + 'a;

/// Unwraps what there is, then what is within that; each layer is a recipe for the files of the one before.
fn unwrapped(old: &dyn Files, new: &dyn Files, recipes: &mut Vec<Recipe>, engine: &mut Engine<'_>) -> Result<Made, MakeError> {
    let recipe = if recipes.len() < DEEPEST { find::find(old, new)? } else { Recipe::default() };
    if recipe.new.is_empty() {
        return engine(old, new, recipes);
    }
    let (old, new) = (View::new(old, &recipe.old), View::new(new, &recipe.new));
    recipes.push(recipe);
    unwrapped(&old, &new, recipes, engine)
}

/// Gives `sink` every new file. What it gets is unproven: a damaged patch is not always noticed here, so the caller compares with what the
/// publisher signed.
pub fn apply(
    old: &dyn Files,
    patch: &dyn ReadAt,
    limits: &Limits,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ApplyError> {
    let (mut stream, length, at) = open(patch).map_err(crate::apply::reading)?;
    let layers = recipe::read_layers(&mut stream, length, DEEPEST).map_err(crate::apply::reading)?;
    let mut layers = Layers { stream, length, left: layers, inner: After { patch, skip: at }, progress };
    layers.apply(old, limits, sink)
}

/// The stream of recipes that a patch begins with, its length, and where it ends.
fn open(patch: &dyn ReadAt) -> io::Result<(codec::Stream<'_>, u64, u64)> {
    let mut head = io::BufReader::with_capacity(64, codec::Section::new(patch, 0, patch.length()));
    let entry = Entry::read(&mut head)?;
    let begin = head.get_ref().at() - head.buffer().len() as u64;
    let end = begin.checked_add(entry.len).filter(|end| *end <= patch.length()).ok_or_else(|| invalid("it is cut"))?;
    if entry.raw > LONGEST_RECIPE {
        return Err(invalid("it names more containers than are allowed"));
    }
    Ok((entry.open(patch, begin)?, entry.raw, end))
}

/// A patch whose recipes are read one layer after the other: each is checked against the old files as the one before unwraps them.
struct Layers<'a> {
    stream: codec::Stream<'a>,
    length: u64,
    left: usize,
    inner: After<'a>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Layers<'_> {
    fn apply(&mut self, old: &dyn Files, limits: &Limits, sink: &mut dyn Sink) -> Result<(), ApplyError> {
        if self.left == 0 {
            return crate::apply::apply(old, &self.inner, limits, sink, self.progress);
        }
        self.left -= 1;
        let recipe = Recipe::read(&mut self.stream, self.length, old, limits).map_err(crate::apply::reading)?;
        let streams: usize = recipe.new.iter().map(|container| container.streams.len()).sum();
        let within = Limits { files: limits.files.saturating_add(2 * streams), bytes: limits.bytes.saturating_add(recipe.plain()) };
        let mut rewrapper = Rewrapper::new(&recipe.new, limits, sink);
        self.apply(&View::new(old, &recipe.old), &within, &mut rewrapper)?;
        rewrapper.finish().map_err(crate::apply::reading)
    }
}

/// What follows the recipe in a patch.
struct After<'a> {
    patch: &'a dyn ReadAt,
    skip: u64,
}

impl ReadAt for After<'_> {
    fn length(&self) -> u64 {
        self.patch.length() - self.skip
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.patch.read_exact_at(buffer, self.skip.saturating_add(offset))
    }
}
