//! Passwords: which are taken, and how they are hashed (argon2id, as OWASP's cheat sheet on password storage has it).

use std::sync::LazyLock;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::Why;
use crate::clock::Rng;
use crate::problem::Problem;

/// A password as it was typed. It has no way to print itself.
#[derive(Clone)]
pub struct Given(Zeroizing<String>);

impl Given {
    /// Takes it over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

/// Hashes that are computed at once: each takes 19 MiB and a core. More wait.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

/// 19 MiB, two passes, one lane: what OWASP recommends first for argon2id.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19 * 1024, 2, 1, None).expect("within the bounds of RFC 9106 §3.1"))
}

/// A hash of a password that nobody has, so that whoever does not exist is refused as slowly as who does.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now("", &[0; 16]));

fn hash_now(password: &str, salt: &[u8; 16]) -> String {
    argon2().hash_password_with_salt(password.as_bytes(), salt).expect("salt and output have the usual lengths").to_string()
}

/// Checks whether a new password may be taken.
///
/// # Errors
/// `PasswordLength`, `PasswordCommon`.
pub fn check(password: &Given, email: &str) -> Result<(), Why> {
    let text = password.0.as_str();
    if !(10..=256).contains(&text.chars().count()) {
        return Err(Why::PasswordLength);
    }
    let plain = text.to_lowercase();
    let local = email.split('@').next().unwrap_or_default();
    // One character over and over, or the name with something behind it, or what stands in every list.
    let dull = plain.chars().all(|c| plain.starts_with(c)) || plain == email;
    let named = local.len() >= 4 && plain.strip_prefix(local).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()));
    let stem = plain.trim_end_matches(|c: char| !c.is_alphabetic());
    if dull || named || COMMON.contains(&plain.as_str()) || COMMON.contains(&stem) {
        return Err(Why::PasswordCommon);
    }
    Ok(())
}

/// The beginnings and wholes of what stands at the top of lists of stolen passwords, and is long enough to be taken otherwise.
const COMMON: [&str; 47] = [
    "password",
    "passwort",
    "passw0rd",
    "p@ssword",
    "p@ssw0rd",
    "password1",
    "mypassword",
    "thepassword",
    "newpassword",
    "changeme",
    "letmein",
    "letmeinnow",
    "welcome",
    "iloveyou",
    "iloveyouu",
    "qwerty",
    "qwertyuiop",
    "qwertyui",
    "qwertz",
    "qwertzuiop",
    "asdfghjkl",
    "asdfghjklö",
    "zxcvbnm",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "qazwsxedc",
    "q1w2e3r4t5",
    "1234567890",
    "12345678910",
    "0123456789",
    "0987654321",
    "123123123123",
    "1234512345",
    "123456123456",
    "112233445566",
    "1122334455",
    "9876543210",
    "administrator",
    "counterfoil",
    "football",
    "baseball",
    "basketball",
    "superman",
    "sunshine",
    "princess",
    "dragon",
];

/// Hashes a new password.
///
/// # Errors
/// A failure of this process.
pub async fn hash(password: Given, rng: &Rng) -> Result<String, Problem> {
    let salt: [u8; 16] = rng.bytes();
    blocking(&AT_ONCE, move || hash_now(&password.0, &salt)).await
}

/// Whether this is the password that a hash was made of; where there is no hash, no, after as long a time.
///
/// # Errors
/// A failure of this process.
pub async fn verify(hash: Option<String>, password: Given) -> Result<bool, Problem> {
    blocking(&AT_ONCE, move || {
        let matches = argon2().verify_password(password.0.as_bytes(), hash.as_ref().unwrap_or(&NOBODY).as_str()).is_ok();
        matches && hash.is_some()
    })
    .await
}

async fn blocking<T: Send + 'static>(places: &'static Semaphore, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let place = places.acquire().await.map_err(Problem::internal)?;
    // The place goes with the work, which goes on when whoever asked hangs up: else a stranger who hangs up often computes as many at once
    // as there are threads.
    let work = move || {
        let _place = place;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn short_common_and_dull_passwords_are_refused() {
        let ada = "adalovelace@example.org";
        for good in ["correct horse battery", "Tr0ub4dor&3x", "ünïcödé-wörter", "passwordsafety", "adalovelace and more"] {
            assert_eq!(check(&Given::new(good), ada), Ok(()), "{good}");
        }
        assert_eq!(check(&Given::new("short one"), ada), Err(Why::PasswordLength));
        assert_eq!(check(&Given::new("x".repeat(257)), ada), Err(Why::PasswordLength));
        for common in
            ["Password123!", "qwertyuiop", "1234567890", "aaaaaaaaaaaa", "adalovelace1815", "adalovelace@example.org", "WELCOME2026"]
        {
            assert_eq!(check(&Given::new(common), ada), Err(Why::PasswordCommon), "{common}");
        }
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_salted_and_of_its_password_only() {
        let rng = Rng::seeded(1);
        let (one, two) = (hash(Given::new("correct horse"), &rng).await.unwrap(), hash(Given::new("correct horse"), &rng).await.unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && one != two, "{one}");
        assert!(verify(Some(one.clone()), Given::new("correct horse")).await.unwrap());
        assert!(!verify(Some(one), Given::new("correct horsf")).await.unwrap());
        assert!(!verify(None, Given::new("")).await.unwrap(), "nobody has no password, not even the one of the hash that takes their time");
    }

    #[tokio::test]
    async fn a_hash_that_nobody_waits_for_any_more_keeps_its_place_until_it_is_computed() {
        use futures_util::FutureExt as _;
        static PLACES: Semaphore = Semaphore::const_new(1);
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let mut hashing = Box::pin(blocking(&PLACES, move || (begun.send(()), may_go_on.recv())));
        assert!(hashing.as_mut().now_or_never().is_none());
        has_begun.recv().unwrap();
        drop(hashing);
        assert_eq!(PLACES.available_permits(), 0, "it is still computed");
        go_on.send(()).unwrap();
        drop(PLACES.acquire().await.unwrap());
    }
}
