//! Every refusal has a line of documentation: docs/refusals.md is written from the code, and this test fails when it is out of date.

use counterfoil_core::Code;
use std::path::Path;

#[test]
fn every_refusal_is_documented() {
    let mut page = String::from(
        "# Refusals\n\nEvery \"no\" that terminals are given, on the command line with exit status 1. Programs match on the code, which never\n\
         changes its meaning; in JSON it is the member `code`. Written by `UPDATE_DOCS=1 cargo test -p counterfoil-core --test refusals`.\n\n\
         | code | what people are told | what they can do |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        page += &format!("| `{code}` | {} | {} |\n", code.message(), code.hint());
    }
    page += "\n## What cannot be reached\n\nNo refusals, but failures, with exit status 3: the same command later gets the same answer, and nothing is issued or charged twice.\n\n\
             | code | what has happened | what they can do |\n|---|---|---|\n\
             | `unreachable` | nobody answers at the address, or the line has dropped | Check the network and the address, then repeat the command. |\n\
             | `server_error` | the server answers with a failure, whose HTTP status and words are told | Repeat the command later; where the status is 4xx, mend what it names. |\n\
             | `authority_unavailable` | over HTTP, with status 503 (`server_error` at the terminal): the gateway answers, and its authority does not | Repeat the command later: it is the same exchange. What was agreed to is charged once, and only where the key came; what was reserved is not spent before that. |\n\
             | `unavailable`, `overloaded`, `store_moving` | likewise, of the server itself: it cannot do its work at the moment | Repeat the command later. |\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/refusals.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("docs can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/refusals.md is out of date; run UPDATE_DOCS=1 cargo test -p counterfoil-core --test refusals");
}
