//! `play`: uses a title from the library (B8, C12), without medium and without network; nothing in plain touches a disk.

mod range;
pub mod run;
mod serve;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use counterfoil_core::TitleId;
use counterfoil_terminal::{Running, Title};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::context::Context;
use crate::failure::Failure;
use crate::library::Which;
use crate::output::unwritable;
use range::ByteRange;

/// Play a title from the library: a file to standard output, a read-only view, the program in it, or an address for a media player
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil play night-songs track-01.flac | mpv -
  counterfoil play night-songs disc-1/             lists what is there
  counterfoil play night-songs track-01.flac --range 0-99999 > head.flac
  counterfoil play sky-raider --run -- --fullscreen
  counterfoil play sky-raider --mount /mnt/game    until interrupted
  counterfoil play night-songs --serve             prints an address that a media player can seek in")]
#[command(group = clap::ArgGroup::new("how").args(["mount", "run", "serve"]))]
pub struct Play {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// A file or directory in it [default: the entry]
    #[arg(value_name = "PATH", conflicts_with_all = ["mount", "serve"])]
    path: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Only these bytes: FIRST-LAST, FIRST- or -COUNT, from 0
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true, conflicts_with = "how")]
    range: Option<ByteRange>,
    /// Show the title as a read-only directory, until interrupted or unmounted
    #[arg(long, value_name = "DIR")]
    mount: Option<PathBuf>,
    /// Start the entry, or PATH, inside such a view, and end with its exit status
    #[arg(long)]
    run: bool,
    /// Serve it to this computer over HTTP, until interrupted [default address: 127.0.0.1 and a free port]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
    serve: Option<std::net::SocketAddr>,
    /// Serve without the secret path; other users of this computer can listen then
    #[arg(long, requires = "serve")]
    no_secret: bool,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
    /// For the program that is run
    #[arg(last = true, requires = "run", value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

impl Play {
    /// Opens the title, which compares card, device and drive, and then plays it as asked.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        self.serve.map_or(Ok(()), serve::check)?;
        let terminal = context.terminal_within(crate::run::PATIENCE)?;
        let library = self.which.open(&terminal)?;
        let title = Arc::new(crate::run::open(context, &terminal, &library, &self.title, &context.card_choice(self.no_card))?);
        if let Some(at) = &self.mount {
            return mount(context, Running::begin(&terminal, &library, &title), title, at);
        }
        if self.run {
            return run::run(context.output, &terminal, &library, title, self.path.as_deref(), &self.arguments);
        }
        if let Some(address) = self.serve {
            return serve::serve(context, Running::begin(&terminal, &library, &title), title, address, !self.no_secret);
        }
        self.show(context, Running::begin(&terminal, &library, &title).as_ref(), &title)
    }

    /// A file to standard output, or a directory's names.
    fn show(&self, context: &Context, running: Option<&Running>, title: &Title) -> Result<(), Failure> {
        let path = match (&self.path, title.entry_point()) {
            (Some(path), _) => path.trim_end_matches('/'),
            (None, Some(entry)) if !title.file(entry)?.executable() => entry,
            (None, Some(_)) => {
                return Err(Failure::usage(format!("{} is a program", self.title)).hint("Start it with `--run`, or name a file in it."));
            }
            (None, None) => "",
        };
        match title.file(path) {
            Ok(file) if !path.is_empty() => {
                let range = match &self.range {
                    Some(range) => range
                        .within(file.size())
                        .ok_or_else(|| Failure::usage(format!("--range lies outside of {path}, which has {} bytes", file.size())))?,
                    None => 0..file.size(),
                };
                if io::stdout().is_terminal() && self.range.is_none() && looks_binary(title, &file)? {
                    return Err(Failure::usage(format!("{path} is not text, and standard output is a terminal"))
                        .hint("Send it into a file or a player, or use `--serve`."));
                }
                let mut output = Watched { inner: io::stdout().lock(), running, failed: None };
                let copied = title.copy_range(&file, range, &mut output);
                let flushed = output.flush();
                match output.failed.or(flushed.err()) {
                    Some(error) => Err(unwritable(error)),
                    None => copied.map(|_| ()).map_err(Into::into),
                }
            }
            Err(error) if title.list(path).is_err() => Err(error.into()),
            _ => list(context, title, path),
        }
    }
}

fn list(context: &Context, title: &Title, path: &str) -> Result<(), Failure> {
    let entries = title.list(path)?;
    let value: Vec<_> =
        entries.iter().map(|entry| json!({ "name": entry.name, "size": entry.size, "directory": is_directory(entry) })).collect();
    context.output.result(&value, || {
        let line = |entry: &counterfoil_terminal::DirEntry| match is_directory(entry) {
            true => format!("{:>12}  {}/\n", "", entry.name),
            false => format!("{:>12}  {}\n", entry.size, entry.name),
        };
        entries.iter().map(line).collect()
    })
}

/// Whether an entry of a listing can be listed itself.
fn is_directory(entry: &counterfoil_terminal::DirEntry) -> bool {
    matches!(entry.kind, counterfoil_terminal::EntryType::Directory)
}

fn looks_binary(title: &Title, file: &counterfoil_terminal::FileInfo) -> Result<bool, Failure> {
    let mut first = [0; 1024];
    let read = title.read(file, 0, &mut first)?;
    Ok(first[..read].contains(&0))
}

/// How often to look whether the view was unmounted from outside, of which nothing tells.
const LOOK: std::time::Duration = std::time::Duration::from_millis(200);

/// Shows the view until somebody interrupts, or unmounts it with other tools.
fn mount(context: &Context, running: Option<Running>, title: Arc<Title>, at: &std::path::Path) -> Result<(), Failure> {
    let mut signals = signals()?;
    let mounted = counterfoil_terminal::mount(title, at)?;
    context.output.result(&json!({ "mounted": at }), || format!("mounted at {}; interrupt (Ctrl-C) to end\n", at.display()))?;
    while signals.pending().next().is_none() {
        if mounted.ended() {
            return Ok(mounted.wait()?);
        }
        running.iter().for_each(Running::look);
        std::thread::park_timeout(LOOK);
    }
    Ok(mounted.unmount()?)
}

/// Interrupts, as something to wait for. To be taken before there is anything to clean up.
fn signals() -> Result<Signals, Failure> {
    Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| Failure::operation("io", format!("cannot wait for signals: {error}")))
}

/// Remembers why writing failed, which the reader of the library cannot know; and looks how long the title is in use.
struct Watched<'a, W> {
    inner: W,
    running: Option<&'a Running>,
    failed: Option<io::Error>,
}

impl<W: Write> Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.running.into_iter().for_each(Running::look);
        self.inner.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
