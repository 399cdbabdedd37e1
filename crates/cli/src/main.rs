//! `counterfoil`: the terminal, and the publisher's tools, on the command line.
//!
//! Exit status: 0 done, 1 refused, 2 wrong usage, 3 could not reach or operate. With `--json` the same comes as one JSON document.

mod account;
mod agent;
mod args;
mod authority;
mod buy;
mod card;
mod completions;
mod contents_server;
mod context;
mod copy;
mod desk;
mod devices;
mod download;
mod export;
mod failure;
mod feed;
mod files;
mod import;
mod inspect;
mod install;
mod library;
mod license;
mod medium;
mod medium_update;
mod orders;
mod output;
mod paying;
mod person;
mod pin;
mod play;
mod present;
mod press;
mod progress;
mod provider;
mod publish;
mod publisher;
mod received;
mod register;
mod release;
mod repair;
mod reseller;
mod rights;
mod rules;
mod run;
mod save;
mod send;
mod server;
mod shop;
mod status;
mod status_vars;
mod store;
mod title;
mod transfer;
mod units;
mod update;
mod webhook;

use std::process::ExitCode;

use args::Arguments;
use clap::Parser as _;
use failure::Failure;
use output::Output;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    let context = arguments.global.context();
    match arguments.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&context.output),
    }
}

/// Help and version as clap has them, and so are errors of usage, unless a program is listening.
fn explain(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        // The first paragraph is the fact; usage and where to find help follow.
        let fact: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let failure =
            Failure::usage(fact.join(" ").trim_start_matches("error: ")).hint("`counterfoil COMMAND --help` shows what it takes.");
        return failure.report(&Output { json, quiet: false });
    }
    // Where it cannot be printed, nobody is there to be told.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
