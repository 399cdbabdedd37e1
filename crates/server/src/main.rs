//! `counterfoild`: the authority, license server, contents server and their tools for the operator, in one binary.
//!
//! Exit status: 0 done, 1 refused, 2 wrong usage, 3 could not reach or operate.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    counterfoil_server::commands::main()
}
