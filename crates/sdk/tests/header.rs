//! `counterfoil.h` declares what the source exports, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A type of the source as C writes it, with the name behind it.
fn declared(name: &str, rust: &str) -> String {
    let (stars, base) = match rust {
        _ if rust.starts_with("*mut *mut ") => ("**", rust.trim_start_matches("*mut ")),
        _ if rust.starts_with("*mut ") => ("*", rust.trim_start_matches("*mut ")),
        _ if rust.starts_with("*const ") => ("*", rust.trim_start_matches("*const ")),
        _ => ("", rust),
    };
    let c = match base {
        "c_char" => "char",
        "u8" => "uint8_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "i32" => "int32_t",
        "i64" => "int64_t",
        "usize" => "size_t",
        "License" => "counterfoil_license",
        "Failure" => "counterfoil_error",
        "Opened" => "counterfoil_opened",
        "File" => "counterfoil_file",
        "Entries" => "counterfoil_entries",
        other => panic!("`{other}` has no name in C"),
    };
    let constant = if rust.starts_with("*const ") { "const " } else { "" };
    format!("{constant}{c} {stars}{name}")
}

/// The declarations that the source asks for, each on one line.
fn exported(source: &str) -> BTreeSet<String> {
    let functions = source.split("#[unsafe(no_mangle)]").skip(1);
    let declaration = |function: &str| {
        let (_, signature) = function.split_once("extern \"C\" fn ").unwrap();
        let (signature, _) = signature.split_once(" {").unwrap();
        let (name, rest) = signature.split_once('(').unwrap();
        let (parameters, answer) = rest.rsplit_once(')').unwrap();
        let parameters: Vec<String> = parameters
            .split(',')
            .map(str::trim)
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once(": ").map(|(name, of)| declared(name, of)).unwrap())
            .collect();
        let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") };
        let function = format!("{name}({parameters});");
        match answer.trim().strip_prefix("-> ") {
            Some(answer) => declared(&function, answer),
            None => format!("void {function}"),
        }
    };
    functions.map(declaration).collect()
}

fn without_comments(header: &str) -> String {
    let parts = header.split("/*").enumerate();
    parts.map(|(index, part)| if index == 0 { part } else { part.split_once("*/").unwrap().1 }).collect()
}

fn functions_of(header: &str) -> BTreeSet<String> {
    let lines = without_comments(header);
    let kept: String =
        lines.lines().filter(|line| !line.starts_with('#') && !line.starts_with("extern \"C\"")).collect::<Vec<_>>().join(" ");
    let statements = kept.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| statement.contains('(')).map(|statement| format!("{statement};")).collect()
}

#[test]
fn the_header_declares_what_the_source_exports() {
    let (wanted, found) = (exported(&read("src/abi.rs")), functions_of(&read("include/counterfoil.h")));
    assert!(wanted.len() > 20, "only {} functions were found", wanted.len());
    let missing: Vec<_> = wanted.difference(&found).collect();
    let more: Vec<_> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing in the header: {missing:#?}\nonly in the header: {more:#?}");
}

#[test]
fn a_difference_of_one_type_is_seen() {
    let changed = read("src/abi.rs").replacen("offset: u64", "offset: i64", 1);
    assert_ne!(exported(&changed), functions_of(&read("include/counterfoil.h")));
}

#[test]
fn the_numbers_are_the_sources() {
    use counterfoil_sdk::abi::{COUNTERFOIL_ABI_VERSION, COUNTERFOIL_OK};
    use counterfoil_sdk::failure::Kind;
    let header = read("include/counterfoil.h");
    let number = |name: &str| {
        let line = header.lines().find_map(|line| line.strip_prefix(&format!("#define {name} "))).unwrap();
        line.split_whitespace().next().unwrap().parse::<i32>().unwrap()
    };
    assert_eq!(number("COUNTERFOIL_ABI_VERSION"), i32::try_from(COUNTERFOIL_ABI_VERSION).unwrap());
    assert_eq!(number("COUNTERFOIL_OK"), COUNTERFOIL_OK);
    assert_eq!(number("COUNTERFOIL_REFUSED"), Kind::Refused as i32);
    assert_eq!(number("COUNTERFOIL_USAGE"), Kind::Usage as i32);
    assert_eq!(number("COUNTERFOIL_FAILED"), Kind::Failed as i32);
    // The name that the shared library is found by.
    assert!(read("build.rs").contains(&format!("libcounterfoil_sdk.so.{COUNTERFOIL_ABI_VERSION}")));
}
