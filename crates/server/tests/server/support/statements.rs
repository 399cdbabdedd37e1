//! The SQL in the sources, and the rules that it must keep.

use std::path::{Path, PathBuf};

use super::schema::Families;

/// A statement and the file it stands in.
#[derive(Clone, Debug)]
pub struct Statement {
    pub file: PathBuf,
    pub sql: String,
}

/// All string literals below `src` that are statements of the authority.
pub fn in_sources() -> Vec<Statement> {
    below("src")
}

/// All string literals below a directory that are statements.
pub fn below(directory: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut found);
    found
}

fn collect(directory: &Path, found: &mut Vec<Statement>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // The facade itself speaks to one engine at a time, and so does a file that is named after one.
        if path.file_name().is_some_and(|name| name == "postgres.rs" || name == "sqlite.rs") {
            continue;
        }
        // Made from a table of kinds: the tests of exports run the statement of every kind on both engines.
        if path.ends_with("actions/export.rs") {
            continue;
        }
        // A gateway has a schema of its own: the tests of gateways look at its statements.
        if path.ends_with("src/gateway") || path.ends_with("commands/gateway") {
            continue;
        }
        if path.is_dir() && path.file_name().is_some_and(|name| name != "db") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.file_name().is_some_and(|name| name != "db.rs") {
            let literals = literals(&std::fs::read_to_string(&path).unwrap());
            found.extend(
                literals.into_iter().filter(|text| is_statement(text)).map(|sql| Statement { file: path.clone(), sql: completed(&sql) }),
            );
        }
    }
}

/// A statement over many rows is made from a template: here it gets one.
fn completed(sql: &str) -> String {
    let sql = sql.replace("{}", "$1");
    match sql.trim_end().strip_suffix("VALUES") {
        Some(insert) => {
            let columns = insert.split(['(', ')']).nth(1).map_or(0, |columns| columns.split(',').count());
            let places: Vec<_> = (1..=columns).map(|place| format!("${place}")).collect();
            format!("{insert}VALUES ({})", places.join(", "))
        }
        None => sql,
    }
}

fn is_statement(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match first {
        "SELECT" | "WITH" | "UPDATE" => !second.is_empty(),
        "INSERT" => second == "INTO" || second == "OR",
        "DELETE" => second == "FROM",
        _ => false,
    }
}

/// The string literals of a Rust source, comments left out.
pub fn literals(source: &str) -> Vec<String> {
    let bytes: Vec<char> = source.chars().collect();
    let (mut found, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        match bytes[i] {
            '/' if bytes.get(i + 1) == Some(&'/') => {
                while i < bytes.len() && bytes[i] != '\n' {
                    i += 1;
                }
            }
            // A quote as a character, not the beginning of a string.
            '\'' if bytes.get(i + 1) == Some(&'"') && bytes.get(i + 2) == Some(&'\'') => i += 3,
            '\'' if bytes.get(i + 1) == Some(&'\\') => i += 3,
            '"' => {
                let (text, next) = literal(&bytes, i + 1);
                found.push(text);
                i = next;
            }
            'r' if bytes.get(i + 1) == Some(&'#') && bytes.get(i + 2) == Some(&'"') => {
                let rest: String = bytes[i + 3..].iter().collect();
                let text = rest.split("\"#").next().unwrap_or_default().to_owned();
                i += 3 + text.chars().count() + 2;
                found.push(text);
            }
            _ => i += 1,
        }
    }
    found
}

fn literal(source: &[char], mut i: usize) -> (String, usize) {
    let mut text = String::new();
    while i < source.len() && source[i] != '"' {
        if source[i] != '\\' {
            text.push(source[i]);
            i += 1;
            continue;
        }
        match source.get(i + 1) {
            Some('\n') => {
                i += 2;
                while source.get(i).is_some_and(|c| c.is_whitespace()) {
                    i += 1;
                }
                continue;
            }
            Some('n') => text.push('\n'),
            Some(&other) => text.push(other),
            None => {}
        }
        i += 2;
    }
    (text, i + 1)
}

/// What only one engine knows, what is not the application's value, and what a distributed database pays for.
const FORBIDDEN: [(&str, &str); 25] = [
    ("now(", "the time is an argument"),
    ("current_timestamp", "the time is an argument"),
    ("datetime(", "the time is an argument"),
    ("strftime(", "the time is an argument"),
    ("random(", "randomness is an argument"),
    ("randomblob(", "randomness is an argument"),
    ("gen_random", "randomness is an argument"),
    ("nextval(", "keys are made by us"),
    ("last_insert_rowid", "keys are made by us"),
    ("rowid", "only SQLite has it"),
    (" ilike ", "only PostgreSQL has it"),
    (" glob ", "only SQLite has it"),
    ("insert or ", "only SQLite has it: ON CONFLICT"),
    ("replace into", "only SQLite has it: ON CONFLICT"),
    ("array[", "only PostgreSQL has arrays"),
    ("any(", "only PostgreSQL has arrays"),
    ("unnest(", "only PostgreSQL has arrays"),
    ("::", "only PostgreSQL has it: CAST"),
    ("->", "JSON is the application's"),
    ("json", "JSON is the application's"),
    ("for update", "guard the update instead"),
    ("for share", "guard the update instead"),
    ("nowait", "guard the update instead"),
    ("pragma", "only the facade"),
    ("?", "values are $1, $2 …"),
];

/// Everything in which a statement breaks the rules, in words.
pub fn broken_rules(sql: &str, families: &Families) -> Vec<String> {
    let lower = sql.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut broken: Vec<String> =
        FORBIDDEN.iter().filter(|(word, _)| lower.contains(word)).map(|(word, why)| format!("`{}`: {why}", word.trim())).collect();
    let words: Vec<&str> = lower.split([' ', '(', ')', ',']).filter(|word| !word.is_empty()).collect();
    if words.first() == Some(&"with") && words.iter().any(|word| ["insert", "update", "delete"].contains(word)) {
        broken.push("a CTE that modifies: two statements instead".to_owned());
    }
    let table = match words[..] {
        ["insert" | "delete", "into" | "from", table, ..] | ["update", table, ..] => table,
        _ => return broken,
    };
    match families.get(table).map(String::as_str) {
        None => broken.push(format!("writes {table}, which is not in families.toml")),
        Some("reference") => {}
        Some(key) if words[0] == "insert" => {
            let columns = lower.split(['(', ')']).nth(1).unwrap_or_default();
            if !columns.split(',').any(|column| column.trim() == key) {
                broken.push(format!("writes {table} without its family's key {key}"));
            }
        }
        Some(key) => {
            let guarded = lower.split(" where ").nth(1).is_some_and(|condition| {
                condition.split(" and ").any(|part| part.trim().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with("= $")))
            });
            if !guarded {
                broken.push(format!("writes {table} without `{key} = $n`: more than one family"));
            }
        }
    }
    broken
}
