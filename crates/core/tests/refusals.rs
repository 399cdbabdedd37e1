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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/refusals.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("docs can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/refusals.md is out of date; run UPDATE_DOCS=1 cargo test -p counterfoil-core --test refusals");
}
