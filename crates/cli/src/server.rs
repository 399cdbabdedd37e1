//! `init` and `serve`: handed on to the server's own program, `counterfoild`, which lies beside this one or in the PATH.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;

use crate::failure::Failure;

/// Whatever the server's program takes.
#[derive(Args, Debug)]
pub struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

impl Passed {
    /// Becomes the server's program, with the command line as it was typed.
    pub fn run(self) -> Result<(), Failure> {
        let beside = std::env::current_exe().ok().map(|own| own.with_file_name("counterfoild")).filter(|path| path.exists());
        let program = beside.unwrap_or_else(|| "counterfoild".into());
        let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
        Err(Failure::operation("no_server_program", format!("cannot start {}: {error}", program.display()))
            .hint("Install the server's program, `counterfoild`, beside this one or in the PATH."))
    }
}
