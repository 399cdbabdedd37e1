//! Recovery codes: for the day a phone or a password is lost. Shown once, kept as hashes, each good once.

use counterfoil_core::{Timestamp, UserId};
use counterfoil_format::encoding::frame;
use counterfoil_format::secret::Random;
use zeroize::Zeroizing;

use crate::db::{DbError, Tx};

const HASH: &str = "counterfoil 2026-11 hash of a recovery code";
/// As IDs have it: nothing that looks like something else.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Codes at a time.
pub const COUNT: usize = 10;
/// Characters of a code: 80 random bits, which no hash of them is reversed by guessing.
const CHARS: usize = 16;

/// A recovery code as its owner types it.
#[derive(Clone)]
pub struct Code(Zeroizing<String>);

impl Code {
    /// Draws a new one.
    pub fn generate(random: &mut dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; CHARS]);
        random.fill(&mut *bytes);
        Self(Zeroizing::new(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()))
    }

    /// Reads what was typed: case, spaces and hyphens do not matter, O is 0, I and L are 1.
    pub fn parse(text: &str) -> Option<Self> {
        let mut code = Zeroizing::new(String::with_capacity(CHARS));
        for character in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
            let upper = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            if code.len() == CHARS || !ALPHABET.contains(&u8::try_from(upper).ok()?) {
                return None;
            }
            code.push(upper);
        }
        (code.len() == CHARS).then_some(Self(code))
    }

    /// As it is shown once: `XXXX-XXXX-XXXX-XXXX`.
    pub fn reveal(&self) -> String {
        self.0.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect::<Vec<_>>().join("-")
    }

    fn hash(&self, user: UserId) -> [u8; 32] {
        blake3::derive_key(HASH, &frame(&[user.as_bytes(), self.0.as_bytes()]))
    }
}

/// Puts these in the place of all codes from before.
///
/// # Errors
/// A failure of the database.
pub async fn replace(tx: &mut Tx, user: UserId, codes: &[Code]) -> Result<(), DbError> {
    tx.query("DELETE FROM recovery_code WHERE user_id = $1").bind(user.to_string()).execute().await?;
    for code in codes {
        tx.query("INSERT INTO recovery_code (user_id, hash) VALUES ($1, $2) ON CONFLICT (user_id, hash) DO NOTHING")
            .bind(user.to_string())
            .bind(code.hash(user))
            .execute()
            .await?;
    }
    Ok(())
}

/// Spends a code; false where it is none, or was spent.
///
/// # Errors
/// A failure of the database.
pub async fn spend(tx: &mut Tx, user: UserId, code: &Code, now: Timestamp) -> Result<bool, DbError> {
    let spent = tx
        .query("UPDATE recovery_code SET used_at = $3 WHERE user_id = $1 AND hash = $2 AND used_at IS NULL")
        .bind(user.to_string())
        .bind(code.hash(user))
        .bind(now.0)
        .execute()
        .await?;
    Ok(spent == 1)
}

/// How many are left.
///
/// # Errors
/// A failure of the database.
pub async fn left(tx: &mut Tx, user: UserId) -> Result<i64, DbError> {
    let (left,) = tx
        .query("SELECT count(*) FROM recovery_code WHERE user_id = $1 AND used_at IS NULL")
        .bind(user.to_string())
        .one::<(i64,)>()
        .await?;
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Rng;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = Code::generate(&mut Rng::seeded(1));
        let shown = code.reveal();
        assert_eq!((shown.len(), shown.matches('-').count()), (19, 3));
        for typed in
            [shown.clone(), shown.to_lowercase(), shown.replace('-', " "), format!(" {} ", shown.replace('1', "l").replace('0', "o"))]
        {
            assert_eq!(Code::parse(&typed).map(|code| code.reveal()).as_deref(), Some(shown.as_str()), "{typed}");
        }
        for wrong in ["", "U", &shown[1..], &format!("{shown}0"), "ÄÄÄÄ-ÄÄÄÄ-ÄÄÄÄ-ÄÄÄÄ"] {
            assert!(Code::parse(wrong).is_none(), "{wrong}");
        }
    }
}
