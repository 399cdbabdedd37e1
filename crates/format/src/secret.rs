//! Secret bytes that cannot be printed, and the randomness that they are made from.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` bytes that are wiped when dropped, compared in constant time, and have no `Debug`, `Display` or serde form:
/// a structure that holds one cannot be logged by accident.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes over `bytes`.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// Fresh random bytes.
    pub fn random(random: &mut dyn Random) -> Self {
        let mut secret = Self([0; N]);
        random.fill(&mut secret.0);
        secret
    }

    /// Copies `bytes`; `None` unless there are exactly `N` of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes themselves. The name is meant to be seen in a review.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

/// Where random bytes come from: the system in production, a fixed stream in tests.
pub trait Random {
    /// Fills all of `into` with bytes that nobody can guess.
    fn fill(&mut self, into: &mut [u8]);
}

/// The operating system's generator, through aws-lc.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, into: &mut [u8]) {
        // A system without randomness cannot make keys, and going on without would be worse than stopping.
        aws_lc_rs::rand::fill(into).expect("the system's random generator works");
    }
}
