//! `counterfoil`: the terminal, and the publisher's tools, on the command line.
//!
//! Exit status: 0 done, 1 refused, 2 wrong usage, 3 could not reach or operate. With `--json` the same comes as one JSON document.

mod args;
mod authority;
mod card;
mod completions;
mod context;
mod copy;
mod failure;
mod files;
mod inspect;
mod library;
mod output;
mod play;
mod press;
mod progress;
mod publish;
mod publisher;
mod register;
mod server;
mod status;
mod units;

use std::process::ExitCode;

use args::Arguments;
use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let context = arguments.global.context();
    match arguments.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&context.output),
    }
}
