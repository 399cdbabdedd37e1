//! What is read of files that are imported, and what is told of them.

use super::*;

fn all(format: Format, text: &[u8]) -> Result<Vec<Result<Row, rows::Bad>>, String> {
    let mut rows = Rows::new(format, text, &people::is_column).map_err(|error| error.to_string())?;
    let mut found = vec![];
    while let Some(row) = rows.next().map_err(|error| error.to_string())? {
        found.push(row);
    }
    Ok(found)
}

#[test]
fn a_table_and_json_lines_say_the_same() {
    let table = "\u{feff}name,email,device_id,device_name\r\nAda,ada@example.org,dev-1,\"the, desk\"\r\n'=Eve,,,\r\n";
    let lines = "\u{feff}{\"name\":\"Ada\",\"email\":\"ada@example.org\",\"device_id\":\"dev-1\",\"device_name\":\"the, desk\"}\n\n{\"name\":\"=Eve\",\"email\":null}";
    let told = |format, text: &str| -> Vec<Value> {
        let rows = all(format, text.as_bytes()).expect("readable");
        rows.into_iter().map(|row| people::line(&row.expect("good")).expect("good").expect("not over")).collect()
    };
    let wanted = [
        json!({ "name": "Ada", "email": "ada@example.org", "devices": [{ "device_id": "dev-1", "name": "the, desk" }] }),
        json!({ "name": "=Eve", "devices": [] }),
    ];
    assert_eq!(told(Format::Csv, table), wanted);
    assert_eq!(told(Format::Jsonl, lines), wanted);
}

#[test]
fn what_is_wrong_is_told_by_its_line() {
    let rows = all(Format::Csv, b"name,email\nAda\n\"two\nlines\",x\nC,\xff\n").expect("readable");
    let bad: Vec<u64> = rows.iter().filter_map(|row| row.as_ref().err()).map(|bad| bad.line).collect();
    assert_eq!((bad, rows[1].as_ref().map(|row| row.line).expect("good")), (vec![2, 5], 3));
    let lines_of =
        |text: &[u8]| -> Vec<u64> { all(Format::Csv, text).expect("readable").into_iter().map(|row| row.expect("good").line).collect() };
    assert_eq!(lines_of(b"\xef\xbb\xbfname,email\r\nAda,a\r\n\r\n \r\n\"B\r\nC\",\"b\"\r\nD,d"), [2, 5, 7], "as a spreadsheet writes it");
    assert_eq!(lines_of(b"name\n\n\nAda\n\nEve\n\n"), [4, 6]);
    assert!(all(Format::Csv, b"name,surname\n").expect_err("a column").contains("\"surname\""));
    assert!(all(Format::Csv, b"name,name\n").expect_err("twice").contains("twice"));
    let rows = all(Format::Jsonl, b"[]\n{\"name\":1}\n{\"x\":1}\n{").expect("readable");
    assert!(rows[0].is_err() && rows[3].is_err());
    assert_eq!(people::line(rows[1].as_ref().expect("good")).expect("a number is a text"), Some(json!({ "name": "1", "devices": [] })));
    assert_eq!(people::line(rows[2].as_ref().expect("good")).expect_err("unknown").0, "x");
}

#[test]
fn what_is_over_is_passed_over_and_a_device_has_an_id() {
    let line = |text: &str| people::line(all(Format::Jsonl, text.as_bytes()).expect("readable")[0].as_ref().expect("good"));
    assert_eq!(line(r#"{"user_id":"usr-1","name":"","erased_at":"2026-01-01T00:00:00Z"}"#), Ok(None));
    assert_eq!(line(r#"{"user_id":"usr-1","maker":"x"}"#).expect_err("no device").0, "device_id");
    assert_eq!(line(r#"{"user_id":"usr-1","devices":"x"}"#).expect_err("no list").0, "devices");
}

#[test]
fn memory_is_bounded() {
    let long = "x".repeat(3 * rows::LIMIT);
    assert!(all(Format::Csv, format!("name\n\"{long}").as_bytes()).expect_err("too long").contains("64 KiB"));
    assert!(all(Format::Jsonl, format!("{{\"name\":\"{long}").as_bytes()).expect_err("too long").contains("64 KiB"));
    let fits = "x".repeat(rows::LIMIT / 2);
    assert_eq!(all(Format::Csv, format!("name\n{fits}\n{fits}\n{fits}\n").as_bytes()).expect("each fits").len(), 3);
}

#[test]
fn the_first_twenty_are_named() {
    let mut wrong = Wrongs::default();
    (1..=25).for_each(|line| wrong.add(line, Some("email".to_owned()), "one address".to_owned()));
    let failure = wrong.refuse("lines_invalid", "nothing was written");
    assert!(failure.message.starts_with("25 lines are wrong, and nothing was written:\n  line 1, column email: one address\n"));
    assert!(failure.message.ends_with("line 20, column email: one address\n  and 5 more"), "{}", failure.message);
}

/// Whatever is in a file, it is read to its end, turned down line by line, or refused as a whole; `fuzz/` looks for what breaks that.
fn read_or_refused(bytes: &[u8]) {
    for format in [Format::Csv, Format::Jsonl] {
        let Ok(rows) = all(format, bytes) else { continue };
        let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
        let mut last = 0;
        for row in rows {
            let line = row.as_ref().map_or_else(|bad| bad.line, |row| row.line);
            assert!(last < line && line <= lines, "line {line} after {last} of {lines}");
            last = line;
            if let Ok(Ok(Some(told))) = row.as_ref().map(people::line) {
                assert!(told["devices"].is_array());
            }
        }
    }
}

#[test]
fn the_corpus_of_the_fuzzer_is_read_or_refused() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/import_rows");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus is there") {
        read_or_refused(&std::fs::read(entry.expect("an entry").path()).expect("readable"));
        count += 1;
    }
    assert!(count >= 8);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::with_cases(400) })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        read_or_refused(&bytes);
    }

    #[test]
    fn any_lines_are_read_or_refused(lines in proptest::collection::vec("(name,email|\\{\"name\":\"[a-z]{0,4}\"\\}?|\"?[a-z',=]{0,12}\"?|\\PC{0,8})(,|\"|\r|\t)?", 0..40)) {
        read_or_refused(lines.join("\n").as_bytes());
    }
}
