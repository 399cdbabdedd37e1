//! Single things of any length, sealed as a stream: C2SP chunked-encryption, Cobblestone-256 (SPEC.md §12).
//!
//! What a user hands in (A4) lies in such containers, and what a provider has given for a title. Other implementations open them; the
//! specification is <https://c2sp.org/chunked-encryption>.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Prk};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::encoding::frame;
use crate::grant::{GrantBox, GrantScope, seal_grant};
use crate::hpke::{DiffieHellman, HpkeError, SealingPublicKey};
use crate::secret::{Random, Secret};

/// Bytes of plaintext in every chunk but the last, which has fewer.
pub const CHUNK: usize = 16 * 1024;
/// Bytes in front of the chunks: salt and commitment.
pub const HEAD: usize = SALT + COMMITMENT;

const SUITE: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
const SALT: usize = 24;
const COMMITMENT: usize = 32;
const NONCE: usize = 12;
const TAG: usize = 16;
/// Most chunks of one container: the counter must leave the base nonce room to be random.
const MAX_CHUNKS: u64 = 1 << 38;

const SAVE: &[u8] = b"counterfoil save v1";
const RECEIVED: &[u8] = b"counterfoil received v1";
const RECEIVED_KEY: &str = "counterfoil 2026 library v1 received";

/// What user and title hand in is sealed under: 32 random bytes, drawn by the authority, the same on every device of the user (A4).
#[derive(Clone)]
pub struct SaveKey(Secret<32>);

impl SaveKey {
    /// Takes over a key.
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The key itself, to be wrapped or boxed.
    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// Seals it to the user's holder and device, as a grant's library key is (C13).
    ///
    /// # Errors
    /// A public key that is none.
    pub fn seal(
        &self,
        recipient: &SealingPublicKey,
        device_secret: &Secret<32>,
        to: &SaveKeyScope<'_>,
        random: &mut dyn Random,
    ) -> Result<GrantBox, HpkeError> {
        seal_grant(recipient, Some(device_secret), &to.grant(&to.name()), &self.0, None, random)
    }

    /// Opens what [`SaveKey::seal`] sealed for the same user, title and device.
    ///
    /// # Errors
    /// Sealed to another holder, with another device, for something else.
    pub fn open(sealed: &GrantBox, key: &dyn DiffieHellman, device_secret: &Secret<32>, to: &SaveKeyScope<'_>) -> Result<Self, HpkeError> {
        sealed.open(key, Some(device_secret), &to.grant(&to.name()))?.library_key().map(Self)
    }

    /// What a version of `slot` is sealed as.
    pub fn container(&self, user: &str, title: &str, slot: &str) -> Container {
        Container { key: self.0.clone(), context: frame(&[SAVE, user.as_bytes(), title.as_bytes(), slot.as_bytes()]) }
    }
}

/// Whose a save key is, and which device it is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveKeyScope<'a> {
    /// User ID.
    pub user: &'a str,
    /// Title (slug).
    pub title: &'a str,
    /// Device ID.
    pub device: &'a str,
}

impl SaveKeyScope<'_> {
    /// What stands in place of a grant ID, which never has a blank.
    fn name(&self) -> String {
        format!("saves of {}", self.user)
    }

    fn grant<'b>(&'b self, name: &'b str) -> GrantScope<'b> {
        GrantScope { title: self.title, grant: name, device: self.device }
    }
}

/// A key, and what is sealed under it: a container opens as nothing else.
#[derive(Clone)]
pub struct Container {
    key: Secret<32>,
    context: Vec<u8>,
}

impl Container {
    /// What `provider` has given under `name` for `title`, in a library with this library key.
    pub fn received(library_key: &Secret<32>, title: &str, provider: &str, name: &str) -> Self {
        let key = Secret::new(blake3::derive_key(RECEIVED_KEY, library_key.expose()));
        Self { key, context: frame(&[RECEIVED, title.as_bytes(), provider.as_bytes(), name.as_bytes()]) }
    }

    /// Under a key and context of any protocol. `key` must be random, `context` fixed by what is sealed.
    pub fn raw(key: Secret<32>, context: Vec<u8>) -> Self {
        Self { key, context }
    }

    /// HKDF-Expand of the specification: message key, base nonce, commitment.
    fn derive(&self, salt: &[u8; SALT]) -> (Chunks, [u8; COMMITMENT]) {
        const { assert!(KEYS == 32 + NONCE + COMMITMENT) };
        let mut keys = Zeroizing::new([0; KEYS]);
        Prk::new_less_safe(HKDF_SHA512, self.key.expose())
            .expand(&[SUITE, salt, &self.context], Keys)
            .and_then(|okm| okm.fill(&mut *keys))
            .expect("HKDF with SHA-512 gives up to 16,320 bytes");
        let (key, rest) = keys.split_at(32);
        let (nonce, commitment) = rest.split_at(NONCE);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 has keys of 32 bytes"));
        let base = nonce.try_into().expect("split at its length");
        (Chunks { key, base, next: 0 }, commitment.try_into().expect("what is left of a fixed length"))
    }
}

const KEYS: usize = 76;

/// How much to derive, for aws-lc.
#[derive(Clone, Copy)]
struct Keys;

impl KeyType for Keys {
    fn len(&self) -> usize {
        KEYS
    }
}

/// The chunks of one container, in order.
struct Chunks {
    key: LessSafeKey,
    base: [u8; NONCE],
    next: u64,
}

impl Chunks {
    /// The next chunk's nonce: the base nonce XOR its number. Each is given once.
    fn nonce(&mut self) -> Result<Nonce, ContainerError> {
        if self.next >= MAX_CHUNKS {
            return Err(ContainerError::TooLong);
        }
        let mut nonce = self.base;
        for (byte, counter) in nonce[NONCE - 8..].iter_mut().zip(self.next.to_be_bytes()) {
            *byte ^= counter;
        }
        self.next += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    fn seal(&mut self, chunk: &mut Vec<u8>) -> Result<(), ContainerError> {
        let nonce = self.nonce()?;
        self.key.seal_in_place_append_tag(nonce, Aad::empty(), chunk).expect("a chunk is far below the 64 GiB that AES-GCM allows");
        Ok(())
    }

    fn open<'a>(&mut self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], ContainerError> {
        let nonce = self.nonce()?;
        self.key.open_in_place(nonce, Aad::empty(), sealed).map_err(|_| ContainerError::Changed)
    }
}

/// Seals what is written, in constant memory. Without [`Sealing::finish`] what was written does not open.
pub struct Sealing<W> {
    into: W,
    chunks: Chunks,
    /// Plaintext of the chunk that is being filled, never a whole one.
    chunk: Zeroizing<Vec<u8>>,
    /// Writing failed. The chunk in memory may be sealed already, and sealing it again would use its nonce twice.
    broken: bool,
}

impl<W: Write> Sealing<W> {
    /// Begins a container: writes salt and commitment.
    pub fn new(mut into: W, container: &Container, random: &mut dyn Random) -> io::Result<Self> {
        let mut salt = [0; SALT];
        random.fill(&mut salt);
        let (chunks, commitment) = container.derive(&salt);
        into.write_all(&salt)?;
        into.write_all(&commitment)?;
        Ok(Self { into, chunks, chunk: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)), broken: false })
    }

    /// Seals the last chunk and returns what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.put_chunk()?;
        Ok(self.into)
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(ContainerError::Broken.into());
        }
        self.chunks.seal(&mut self.chunk)?;
        self.into.write_all(&self.chunk)?;
        self.chunk.clear();
        self.broken = false;
        Ok(())
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(ContainerError::Broken.into());
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.put_chunk()?;
        }
        Ok(taken)
    }

    /// Hands on what is sealed. What is in the chunk in memory stays there: chunks have one length.
    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

/// Opens what is read, in constant memory. Gives bytes of chunks that were verified, in order, and the end only where it is the sealed
/// end; whoever must not see the beginning of something that was cut off reads to the end first.
pub struct Opening<R> {
    from: R,
    chunks: Chunks,
    /// The chunk that is being read, opened; from `given` on.
    chunk: Zeroizing<Vec<u8>>,
    given: usize,
    /// Nothing follows: `Ok` after the last chunk, the error after any.
    over: Option<Result<(), ContainerError>>,
}

impl<R: Read> Opening<R> {
    /// Reads salt and commitment. The errors are those of `from`, and [`ContainerError`] as the source of one of
    /// [`io::ErrorKind::InvalidData`], here and while reading.
    pub fn new(mut from: R, container: &Container) -> io::Result<Self> {
        let mut head = [0; HEAD];
        if read_up_to(&mut from, &mut head)? < HEAD {
            return Err(ContainerError::Cut.into());
        }
        let (salt, commitment) = head.split_first_chunk::<SALT>().expect("the salt is the head's beginning");
        let (chunks, expected) = container.derive(salt);
        if !bool::from(expected.ct_eq(commitment)) {
            return Err(ContainerError::Other.into());
        }
        Ok(Self { from, chunks, chunk: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)), given: 0, over: None })
    }

    fn take_chunk(&mut self) -> io::Result<()> {
        self.given = 0;
        self.chunk.resize(CHUNK + TAG, 0);
        let length = match read_up_to(&mut self.from, &mut self.chunk) {
            Ok(length) => length,
            Err(error) => {
                // How much of the chunk was read is not known any more.
                self.chunk.clear();
                self.over = Some(Err(ContainerError::Broken));
                return Err(error);
            }
        };
        let last = length < CHUNK + TAG;
        let opened =
            if length < TAG { Err(ContainerError::Cut) } else { self.chunks.open(&mut self.chunk[..length]).map(|plain| plain.len()) };
        self.chunk.truncate(opened.unwrap_or(0));
        if last || opened.is_err() {
            self.over = Some(opened.map(drop));
        }
        Ok(opened.map(drop)?)
    }
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() && !into.is_empty() {
            match self.over {
                Some(end) => return Ok(end.map(|()| 0)?),
                None => self.take_chunk()?,
            }
        }
        let length = into.len().min(self.chunk.len() - self.given);
        into[..length].copy_from_slice(&self.chunk[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

/// Fills `into` as far as `from` goes; says how far that is.
///
/// # Errors
/// What reading said.
pub fn read_up_to(from: &mut (impl Read + ?Sized), into: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match from.read(&mut into[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// How long a container with `plain` bytes in it is; `None` where there can be none.
pub fn sealed_length(plain: u64) -> Option<u64> {
    let chunks = plain / CHUNK as u64 + 1;
    if chunks > MAX_CHUNKS { None } else { Some(plain + HEAD as u64 + chunks * TAG as u64) }
}

/// How much is in a container of `sealed` bytes; `None` for a length that none has.
pub fn plain_length(sealed: u64) -> Option<u64> {
    let chunks = sealed.checked_sub(HEAD as u64)?;
    let (whole, last) = (chunks / (CHUNK + TAG) as u64, chunks % (CHUNK + TAG) as u64);
    let last = last.checked_sub(TAG as u64)?;
    (whole < MAX_CHUNKS).then_some(whole * CHUNK as u64 + last)
}

/// Why a container does not open, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Sealed under another key, or as something else; or its head was changed.
    #[error("sealed under another key or as something else")]
    Other,
    /// A chunk is not as it was sealed, or not where it was.
    #[error("changed since it was sealed")]
    Changed,
    /// Does not end as it was sealed.
    #[error("cut off")]
    Cut,
    /// More than 2^38 chunks.
    #[error("longer than a container can be")]
    TooLong,
    /// Reading or writing failed before.
    #[error("reading or writing it failed before")]
    Broken,
}

impl From<ContainerError> for io::Error {
    fn from(error: ContainerError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
