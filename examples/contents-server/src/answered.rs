//! Verdicts that were answered, for as long as they are good.

use std::collections::HashMap;

/// Verdicts that are remembered at once; each is forgotten when it is over.
const MOST: usize = 100_000;

/// What was answered to which verdict, and until when that verdict is good.
#[derive(Default)]
pub struct Answered(HashMap<String, (i64, String)>);

impl Answered {
    /// The answer that was given, or a new one.
    ///
    /// # Errors
    /// More verdicts are answered at the moment than can be remembered.
    pub fn once(&mut self, jti: String, exp: i64, now: i64, answer: impl FnOnce() -> String) -> Result<String, String> {
        if let Some((_, given)) = self.0.get(&jti) {
            return Ok(given.clone());
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, (exp, _)| *exp > now);
            if self.0.len() >= MOST {
                return Err("too many verdicts at once".to_owned());
            }
        }
        let given = answer();
        self.0.insert(jti, (exp, given.clone()));
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_answered_once() {
        let mut answered = Answered::default();
        let mut ask = |jti: &str, answer: &str| answered.once(jti.to_owned(), 10, 0, || answer.to_owned());
        assert_eq!(ask("a", "first"), Ok("first".to_owned()));
        assert_eq!(ask("a", "second"), Ok("first".to_owned()));
        assert_eq!(ask("b", "third"), Ok("third".to_owned()));
    }

    #[test]
    fn what_is_over_makes_room() {
        let mut answered = Answered::default();
        for number in 0..MOST {
            answered.once(number.to_string(), 10, 0, String::new).expect("room");
        }
        assert!(answered.once("one more".to_owned(), 20, 9, String::new).is_err());
        assert!(answered.once("one more".to_owned(), 20, 10, String::new).is_ok());
    }
}
