//! `completions`: what a shell needs to complete command lines.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Arguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::unwritable;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil completions bash > /etc/bash_completion.d/counterfoil")]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// To standard output.
    pub fn run(self, _: &Context) -> Result<(), Failure> {
        // Into memory first: the generator panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "counterfoil", &mut script);
        std::io::Write::write_all(&mut std::io::stdout().lock(), &script).map_err(unwritable)
    }
}
