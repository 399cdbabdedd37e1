//! What `docs/embedding.md` shows is what the examples do, and what CI compiles and runs.

#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// Lines as they follow each other, wherever they are indented to.
fn lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_code_of_the_page_is_the_examples_own() {
    let page = read("docs/embedding.md");
    let mut blocks = 0;
    for (language, example) in [("c", "examples/embedding/game.c"), ("python", "examples/embedding/game.py")] {
        let example = lines(&read(example));
        for block in page.split(&format!("```{language}\n")).skip(1) {
            let block = lines(block.split("```").next().unwrap());
            assert!(!block.is_empty() && example.contains(&block), "not in the example:\n{block}");
            blocks += 1;
        }
    }
    assert!(blocks >= 5, "only {blocks} blocks were found");
}

#[test]
fn the_page_counts_the_functions_of_the_header() {
    let exported = read("crates/sdk/src/abi.rs").matches("#[unsafe(no_mangle)]").count();
    assert!(read("docs/embedding.md").contains(&format!("`counterfoil.h` has {exported} functions")), "{exported}");
}

/// Every code that the header and the page call a refusal is one of the project's.
#[test]
fn the_refusals_that_are_named_exist() {
    let (page, header) = (read("docs/embedding.md"), read("crates/sdk/include/counterfoil.h"));
    let rows = page.split("| refused | ").skip(1).map(|rest| rest.split('\n').next().unwrap());
    let sentences = header.split("Refused with ").skip(1).map(|rest| rest.split("Failed with").next().unwrap().split("*/").next().unwrap());
    let mut named = 0;
    for text in rows.chain(sentences) {
        for word in text.split('`').skip(1).step_by(2) {
            assert!(counterfoil_core::Code::ALL.iter().any(|code| code.as_str() == word), "`{word}` is no refusal");
            named += 1;
        }
    }
    assert!(named >= 13, "only {named} were found");
}
