//! What a name is found by: its words, without case and accents, each by how it begins.
//!
//! Both engines keep the words in the same plain tables (`person_word`, `catalogue_word`) and compare them by their bytes, so that both find the
//! same. A name's words change only here: whoever changes this changes what is kept, and `Db::migrate` must write it anew.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longest word, in characters; of a longer one the beginning is kept.
const LONGEST: usize = 40;
/// Words of one name that are kept: more than any name that people have.
const MOST: usize = 32;
/// Words that are looked for at once; the longest count.
pub const ASKED: usize = 4;

/// The words of a name that are kept, each once.
pub fn of(name: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for word in folded(name).split(|c: char| !is_letter(c)) {
        // `O'Brien` is found by `obrien` and by `brien`.
        let joined = word.replace('\'', "");
        let parts = word.split('\'').skip(1).map(str::to_owned);
        words.extend(std::iter::once(joined).chain(parts).filter(|word| !word.is_empty()).map(|word| shortened(&word)));
    }
    words.into_iter().take(MOST).collect()
}

/// What somebody has typed, as the beginnings of words that a name must have, the longest first.
pub fn asked(text: &str) -> Vec<String> {
    let words = folded(text);
    let words = words.split(|c: char| !is_letter(c)).map(|word| shortened(&word.replace('\'', "")));
    let mut words: Vec<String> = words.filter(|word| !word.is_empty()).collect::<BTreeSet<_>>().into_iter().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
    words.truncate(ASKED);
    words
}

/// Everything that begins with something: from the first up to, and without, the second, by the order of bytes.
pub fn range(beginning: &str) -> (String, String) {
    (beginning.to_owned(), format!("{beginning}{}", char::MAX))
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '\''
}

fn shortened(word: &str) -> String {
    word.chars().take(LONGEST).collect()
}

/// Without case, accents and other marks; letters that Unicode does not take apart are written as people type them without the key.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'ħ' => folded.push('h'),
            'ı' => folded.push('i'),
            'ς' => folded.push('σ'),
            '’' | 'ʼ' | '`' => folded.push('\''),
            // What lower case has taken apart: İ.
            c if is_combining_mark(c) => {}
            c => folded.push(c),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(name: &str) -> Vec<String> {
        of(name).into_iter().collect()
    }

    #[test]
    fn case_and_accents_make_no_difference() {
        assert_eq!(words("Zoë Müller-Lüdenscheidt"), ["ludenscheidt", "muller", "zoe"]);
        assert_eq!(words("SØREN Łukasz Strauß Đorđe İnci"), ["dorde", "inci", "lukasz", "soren", "strauss"]);
        assert_eq!(words("Ｏｄｙｓｓｅｙ ﬁn 2°"), ["2", "fin", "odyssey"]);
        assert_eq!(words("Οδυσσεύς"), words("ΟΔΥΣΣΕΎΣ"));
    }

    #[test]
    fn a_name_with_an_apostrophe_is_found_either_way() {
        assert_eq!(words("Sean O’Brien"), ["brien", "obrien", "sean"]);
        assert_eq!(asked("o'brien"), ["obrien"]);
        assert_eq!(asked("O Brien"), ["brien", "o"]);
    }

    #[test]
    fn what_is_no_letter_parts_words_and_nothing_else() {
        assert_eq!(words(" sky-raider 2: Night_Fall! ' "), ["2", "fall", "night", "raider", "sky"]);
        assert_eq!(words("山田 太郎"), ["太郎", "山田"]);
        assert!(words("— … ''").is_empty() && asked(" % ").is_empty());
        assert_eq!(asked("a bb ccc dddd eeeee bb"), ["eeeee", "dddd", "ccc", "bb"]);
    }

    proptest! {
        #[test]
        fn a_word_is_found_by_each_of_its_beginnings(name in "\\PC{0,60}") {
            for word in of(&name) {
                prop_assert!(word.chars().count() <= LONGEST);
                let (from, until) = range(&word.chars().take(2).collect::<String>());
                prop_assert!(from <= word && word < until, "{} {}", from, word);
                prop_assert_eq!(of(&word).into_iter().collect::<Vec<_>>(), vec![word.clone()], "folding twice changes nothing");
            }
        }

        #[test]
        fn whoever_types_a_name_finds_it(name in "\\PC{0,60}") {
            let kept = of(&name);
            prop_assume!(kept.len() < MOST);
            for asked in asked(&name) {
                prop_assert!(kept.iter().any(|word| word.starts_with(&asked)), "{} is not in {:?}", asked, kept);
            }
        }
    }
}
