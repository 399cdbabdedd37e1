//! Names for users that third parties know them by: always the same at one of them, and nothing that two of them could compare.

use counterfoil_core::{ContentsServerId, ProviderId, UserId};
use counterfoil_format::encoding::{frame, to_base64url};

use super::setting;
use crate::db::{DbError, Tx};

/// What pseudonyms are made with.
const KEY: &str = "pseudonym_key";

/// Makes sure that there is a key that pseudonyms are made with.
///
/// # Errors
/// A failure of the database.
pub async fn settle_key(tx: &mut Tx, fresh: [u8; 32]) -> Result<(), DbError> {
    setting::settle(tx, KEY, &blake3::Hash::from_bytes(fresh).to_hex()).await.map(drop)
}

/// What makes pseudonyms; none as long as no third party was registered.
///
/// # Errors
/// A failure of the database.
pub async fn load(tx: &mut Tx) -> Result<Option<Pseudonyms>, DbError> {
    let key = setting::find(tx, KEY).await?;
    Ok(key.and_then(|key| blake3::Hash::from_hex(key).ok()).map(|key| Pseudonyms(*key.as_bytes())))
}

/// Makes pseudonyms.
#[derive(Clone)]
pub struct Pseudonyms([u8; 32]);

impl Pseudonyms {
    /// Of a user at a contents server (A10).
    pub fn at_contents_server(&self, user: UserId, server: ContentsServerId) -> String {
        self.of(&[server.as_bytes().as_slice(), user.as_bytes()].concat())
    }

    /// Of a user at a provider (B4). IDs of both kinds of third parties are 16 bytes: what is hashed says which kind it is for.
    pub fn at_provider(&self, user: UserId, provider: ProviderId) -> String {
        self.of(&frame(&[b"provider", provider.as_bytes(), user.as_bytes()]))
    }

    fn of(&self, what: &[u8]) -> String {
        let mut short = [0; 16];
        blake3::Hasher::new_keyed(&self.0).update(what).finalize_xof().fill(&mut short);
        to_base64url(&short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// proves: B4, A10
    #[test]
    fn nobody_is_called_alike_at_two_of_them() {
        let pseudonyms = Pseudonyms([7; 32]);
        let (ada, ben) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        // The same bits, as contents server and as provider.
        let mut names = vec![];
        for bits in [[1; 16], [2; 16]] {
            for user in [ada, ben] {
                names.push(pseudonyms.at_provider(user, ProviderId::from_bytes(bits)));
                names.push(pseudonyms.at_contents_server(user, ContentsServerId::from_bytes(bits)));
            }
        }
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert_eq!(names[0], pseudonyms.at_provider(ada, ProviderId::from_bytes([1; 16])), "always the same");
        assert_ne!(names[0], Pseudonyms([8; 32]).at_provider(ada, ProviderId::from_bytes([1; 16])), "and nothing without the key");
    }
}
