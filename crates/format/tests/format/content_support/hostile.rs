//! What an attacker would make: a ciphertext that opens under two keys, and manifests written byte by byte.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};

/// AES-256-GCM with a zero nonce and nothing else: what a chunk would be if its name were not checked.
pub fn open_by_tag_alone(key: &[u8; 32], sealed: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let mut buffer = sealed.to_vec();
    let length = key.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

/// A sealed chunk of 64 bytes whose tag fits under both keys. GHASH is linear: one block of ciphertext is solved for.
pub fn two_key_ciphertext(one: &[u8; 32], two: &[u8; 32]) -> Vec<u8> {
    let mut blocks = [0x1111_u128, 0x2222, 0x3333, 0];
    let (h1, h2) = (encrypt_block(one, 0), encrypt_block(two, 0));
    let (mask1, mask2) = (encrypt_block(one, 1), encrypt_block(two, 1));
    // Both tags with the last block 0; that block is multiplied by H², so its difference is divided by the two H² together.
    let difference = ghash(h1, &blocks) ^ mask1 ^ ghash(h2, &blocks) ^ mask2;
    blocks[3] = multiply(difference, invert(multiply(h1, h1) ^ multiply(h2, h2)));
    let tag = ghash(h1, &blocks) ^ mask1;
    assert_eq!(tag, ghash(h2, &blocks) ^ mask2);
    blocks.iter().chain([&tag]).flat_map(|block| block.to_be_bytes()).collect()
}

fn encrypt_block(key: &[u8; 32], block: u128) -> u128 {
    let key = EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, key).unwrap()).unwrap();
    let mut bytes = block.to_be_bytes();
    key.encrypt(&mut bytes).unwrap();
    u128::from_be_bytes(bytes)
}

fn ghash(h: u128, blocks: &[u128]) -> u128 {
    let lengths = (blocks.len() * 128) as u128;
    blocks.iter().chain([&lengths]).fold(0, |sum, block| multiply(sum ^ block, h))
}

/// Multiplication in GF(2¹²⁸) with the bit order of GCM (NIST SP 800-38D §6.3).
fn multiply(a: u128, mut b: u128) -> u128 {
    let mut product = 0;
    for bit in (0..128).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ 0xe1 << 120 } else { b >> 1 };
    }
    product
}

/// The inverse is the power 2¹²⁸ − 2.
fn invert(a: u128) -> u128 {
    let one = 1 << 127;
    let mut result = one;
    let mut power = a;
    for _ in 1..128 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    assert_eq!(multiply(a, result), one);
    result
}

/// Writes manifests as SPEC.md §3 has them, or not quite.
#[derive(Clone, Default)]
pub struct RawManifest(pub Vec<u8>);

impl RawManifest {
    pub fn new(packs: u64, chunks: u64, entries: u64) -> Self {
        Self(b"CFMANIF1".to_vec()).number(packs).number(chunks).number(entries)
    }

    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn number(mut self, mut number: u64) -> Self {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8)
    }

    pub fn pack(self, name: u8, length: u64, count: u64) -> Self {
        self.bytes(&[name; 32]).number(length).number(count)
    }

    pub fn chunk(self, id: u8, sealed: u64, plain: u64) -> Self {
        self.bytes(&[id; 32]).number(sealed).number(plain)
    }

    pub fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    pub fn directory(self, path: &str) -> Self {
        self.byte(0).text(path)
    }

    pub fn file(self, path: &str, size: u64, runs: &[(u64, u64)]) -> Self {
        let start = self.byte(1).text(path).number(size).number(runs.len() as u64);
        runs.iter().fold(start, |raw, (first, count)| raw.number(*first).number(*count))
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        self.byte(3).text(path).text(target)
    }
}

/// AES-256-GCM with a zero nonce under a key that was made by hand.
pub fn seal_by_key(key: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let mut sealed = plain.to_vec();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut sealed).unwrap();
    sealed
}
