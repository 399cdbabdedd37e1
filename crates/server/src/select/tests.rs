use super::*;
use std::time::{Duration, Instant};

fn subject() -> Subject {
    let variables = [("chapter", Variable::Number(3)), ("mode", Variable::Text("hard".into())), ("done", Variable::Truth(true))];
    Subject {
        vars: variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        release: Some("1.2.0".parse().expect("a version")),
        number: 3,
        owns: vec!["sky-raider".parse().expect("a title"), "atlas".parse().expect("a title")],
        rights: Rights { attributes: [("edition".to_owned(), "gold".to_owned())].into(), ..Rights::default() },
        ..Subject::default()
    }
}

fn holds(condition: &str) -> Result<bool, String> {
    Condition::parse(condition)?.holds(&subject())
}

#[test]
fn a6_conditions_see_the_status() {
    for yes in [
        "true",
        "vars.chapter >= 3",
        "vars['chapter'] == 3 && vars.mode == 'hard'",
        "vars.done",
        "has(vars.chapter) && !has(vars.level)",
        "'chapter' in vars",
        "release == '1.2.0' && number > 2 && channel == 'stable'",
        "release.startsWith('1.')",
        "batch == '' && medium == ''",
        "rights.update && rights.copies == 1 && rights.attributes.edition == 'gold'",
        "'atlas' in owns && !('other' in owns)",
        "owns.exists(t, t.startsWith('sky'))",
        "vars.all(name, size(name) < 10)",
        "vars.filter(name, name.contains('e')).size() == 3",
        "vars.exists(name, name.startsWith('mo') && vars[name] == 'hard')",
        "['sky-raider', 'atlas'].all(t, t in owns)",
        "vars.chapter > 2 ? vars.mode == 'hard' : false",
        "int('3') == vars.chapter",
    ] {
        assert_eq!(holds(yes), Ok(true), "{yes}");
    }
    for no in ["false", "vars.chapter > 3", "vars.mode == 'easy'", "'level' in vars", "has(vars.level) && vars.level > 1", "owns == []"] {
        assert_eq!(holds(no), Ok(false), "{no}");
    }
}

#[test]
fn a6_what_cannot_be_told_selects_nothing_and_is_said() {
    for (condition, word) in [
        ("vars.level > 1", "level"),
        ("vars.mode > 3", ""),
        ("vars.chapter", "a number"),
        ("vars.mode + 'er'", "a text"),
        ("9223372036854775807 + vars.chapter > 0", ""),
        ("vars.chapter / 0 == 1", ""),
        ("owns[7] == 'x'", ""),
    ] {
        let error = Condition::parse(condition).expect(condition).holds(&subject()).expect_err(condition);
        assert!(error.contains(word) && error.chars().count() <= MOST_WORDS + 1, "{condition}: {error}");
    }
}

#[test]
fn a6_what_is_no_condition_is_refused_when_it_is_set() {
    for (text, word) in [
        ("", "at 1"),
        ("vars.chapter >", "at 1"),
        ("vasr.chapter > 3", "there is no `vasr`"),
        ("user == 'anna'", "there is no `user`"),
        ("vars.chapter.matches('(a+)+$')", "matches"),
        ("now() > 3", "now"),
        ("Foo{a: 1}", "no"),
        ("true // what follows is no condition\n false", ""),
    ] {
        let error = Condition::parse(text).expect_err(text);
        assert!(error.contains(word), "{text}: {error}");
    }
    assert!(Condition::parse(&"!".repeat(MOST_BYTES + 1)).expect_err("long").contains("1001 bytes"));
}

/// Everything here is parsed and evaluated on a stack as small as a worker's, quickly, or refused.
#[test]
fn a6_a_hostile_condition_cannot_hold_the_server_up() {
    let hostile: Vec<String> = vec![
        "(".repeat(1000),
        "[".repeat(24) + &"]".repeat(24),
        "!".repeat(1000),
        "-".repeat(1000),
        "!".repeat(990) + "true",
        "true?".repeat(200),
        "true?true:".repeat(99) + "true",
        "true&&".repeat(166) + "true",
        "1+".repeat(499) + "1 > 0",
        "vars".to_owned() + &".a".repeat(498),
        "vars".to_owned() + &"[0]".repeat(300),
        "owns.exists(a, owns.exists(b, a == b))".to_owned(),
        "owns.exists(a, owns.exists(b, owns.exists(c, a == b + c)))".to_owned(),
        "[1].all(a, ".repeat(23) + "true" + &")".repeat(23),
        "[1,1].map(a, ".repeat(23) + "a" + &")".repeat(23) + " == []",
        "owns.map(a, owns).map(b, owns) == []".to_owned(),
        "vars.map(a, vars.map(b, vars[a] + vars[b])).size() > 1".to_owned(),
        "[vars,vars,vars,vars] == [owns]".to_owned(),
        "'".to_owned() + &"a".repeat(998) + "'",
        "\u{0}\u{1}'\\x".to_owned(),
        "`a".repeat(400),
        "{1:".repeat(24) + "1" + &"}".repeat(24),
        "\"\"\"".to_owned() + &"\\u".repeat(100),
        "1".repeat(1000),
        "0x".to_owned() + &"f".repeat(900),
        "a".repeat(1000),
        "🦀".repeat(250),
    ];
    let large = Subject {
        vars: (0..256).map(|n| (format!("name{n:060}"), Variable::Text("x".repeat(1024)))).collect(),
        owns: (0..MOST_OWNED).map(|n| format!("title-{n}").parse().expect("a title")).collect(),
        ..Subject::default()
    };
    for text in hostile {
        let large = large.clone();
        let small = std::thread::Builder::new().stack_size(1 << 20);
        let begun = now();
        let thread =
            small.spawn(move || Condition::parse(&text).map(|condition| (text.clone(), condition.cost(), condition.holds(&large))));
        let told = thread.expect("a thread").join().expect("neither panics nor runs out of stack");
        assert!(begun.elapsed() < Duration::from_secs(5), "{told:?} took {:?}", begun.elapsed());
    }
}

/// The sum is honest: what costs the most of all that is let through still takes no time that anybody would notice.
#[test]
fn a6_what_is_let_through_is_quick_on_the_largest_status() {
    let large = Subject {
        vars: (0..256).map(|n| (format!("name{n:060}"), Variable::Text("x".repeat(1024)))).collect(),
        owns: (0..MOST_OWNED).map(|n| format!("title-{n}").parse().expect("a title")).collect(),
        ..Subject::default()
    };
    let mut tried = 0;
    for text in [
        "owns.exists(t, t == 'x' || t == 'y' || t.contains('zz') || t.endsWith('q'))",
        "owns.all(t, !(t in ['a', 'b', 'c', 'd']))",
        "[1,2,3,4,5,6,7,8,9,10].all(n, owns.exists(t, t == 'title-999'))",
        "vars.exists(v, v == 'no')",
        "vars == vars && owns == owns && vars == vars",
    ] {
        let Ok(condition) = Condition::parse(text) else { continue };
        tried += 1;
        let begun = now();
        let _ = condition.holds(&large);
        assert!(begun.elapsed() < Duration::from_secs(2), "{text} took {:?} for {} steps", begun.elapsed(), condition.cost());
    }
    assert!(tried >= 4, "{tried}");
    assert!(Condition::parse("owns.exists(a, owns.exists(b, a == b))").expect_err("quadratic").contains("steps"));
}

#[expect(clippy::disallowed_methods, reason = "measures how long it takes")]
fn now() -> Instant {
    Instant::now()
}
