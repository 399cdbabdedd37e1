//! `docs/asvs.csv` says of every requirement of OWASP ASVS 5.0, levels 1 and 2, what proves it; and what is named there is there.

use std::collections::BTreeMap;
use std::path::Path;

/// Requirements of levels 1 and 2 in version 5.0.0.
const ALL: usize = 253;
const STATES: [&str; 6] = ["met", "documented", "by design", "operator", "not applicable", "not met"];

/// What is wrong with a row.
fn wrong(root: &Path, row: &csv::StringRecord) -> Vec<String> {
    let [name, level, _, state, proof, note] = std::array::from_fn(|column| row[column].to_owned());
    let mut wrong = vec![];
    if !STATES.contains(&state.as_str()) || !["1", "2"].contains(&level.as_str()) {
        wrong.push(format!("{name}: level {level}, state {state}"));
    }
    // What nobody can run needs words.
    if (matches!(state.as_str(), "met" | "documented") && proof.is_empty()) || (proof.is_empty() && note.is_empty()) {
        wrong.push(format!("{name}: nothing proves it"));
    }
    for proof in proof.split_whitespace() {
        let (file, test) = proof.split_once("::").unwrap_or((proof, "*"));
        match std::fs::read_to_string(root.join(file)) {
            Err(_) => wrong.push(format!("{name}: there is no {file}")),
            Ok(source) if test != "*" && !source.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == test) => {
                wrong.push(format!("{name}: there is no test {test} in {file}"));
            }
            Ok(_) => {}
        }
    }
    wrong
}

#[test]
fn every_requirement_has_its_proof() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut reader = csv::Reader::from_path(root.join("docs/asvs.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let mut seen = BTreeMap::new();
    for row in &rows {
        *seen.entry(row[0].to_owned()).or_insert(0) += 1;
    }
    assert_eq!((rows.len(), seen.len()), (ALL, ALL), "each once");
    assert!(seen.keys().all(|name| name.starts_with("v5.0.0-")));
    assert_eq!(rows.iter().flat_map(|row| wrong(&root, row)).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_proof_that_is_not_there_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let row = |state: &str, proof: &str| csv::StringRecord::from(vec!["v5.0.0-1.1.1", "1", "x", state, proof, ""]);
    assert_eq!(wrong(&root, &row("met", "crates/server/tests/server/asvs.rs::every_requirement_has_its_proof")), Vec::<String>::new());
    for (state, proof) in [
        ("met", ""),
        ("fine", "README.md"),
        // In two parts, or it would be found here.
        ("met", concat!("crates/server/tests/server/asvs.rs::every_requirement", "_is_proven")),
        ("met", "no/such/file.rs"),
        ("by design", ""),
    ] {
        assert_eq!(wrong(&root, &row(state, proof)).len(), 1, "{state} {proof}");
    }
}
