//! A refreshed identity area opens for the medium and epoch that it was sealed for, under that claim secret, whole, and nowhere else.

use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::refresh::{MAX_AREA, RefreshError, open, seal};
use counterfoil_format::secret::{Random, Secret, SystemRandom};

const MEDIUM: &str = "med-a";
const AREA: &[u8] = br#"{"counterfoil":1,"claim_secret":"new"}"#;

/// Counts up from 0, so that the bytes below are always the same.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, into: &mut [u8]) {
        for byte in into {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
    }
}

fn secret(epoch: u32) -> Secret<32> {
    ClaimSecretKey::new(Secret::new([7; 32])).derive(MEDIUM, epoch)
}

/// proves: B7
#[test]
fn the_medium_that_proved_itself_opens_its_refresh() {
    let sealed = seal(&secret(1), MEDIUM, 2, AREA, &mut SystemRandom);
    assert_eq!(open(&secret(1), MEDIUM, 2, &sealed).unwrap().as_slice(), AREA);
    let again = seal(&secret(1), MEDIUM, 2, AREA, &mut SystemRandom);
    assert_ne!(sealed, again, "each has a key of its own");
    let longest = vec![b'x'; 65_536];
    assert_eq!(*open(&secret(1), MEDIUM, 2, &seal(&secret(1), MEDIUM, 2, &longest, &mut SystemRandom)).unwrap(), longest);
}

/// proves: B7
#[test]
fn no_other_secret_medium_or_epoch_opens_it() {
    let sealed = seal(&secret(1), MEDIUM, 3, AREA, &mut SystemRandom);
    let others = [
        (secret(2), MEDIUM, 3),
        (secret(3), MEDIUM, 3),
        (Secret::new([0; 32]), MEDIUM, 3),
        (secret(1), "med-b", 3),
        (secret(1), MEDIUM, 2),
        (secret(1), MEDIUM, 4),
    ];
    for (secret, medium, epoch) in others {
        assert_eq!(open(&secret, medium, epoch, &sealed), Err(RefreshError::Open), "{medium} {epoch}");
    }
}

/// proves: B7
#[test]
fn cut_and_flipped_ones_do_not_open() {
    let sealed = seal(&secret(1), MEDIUM, 2, AREA, &mut SystemRandom);
    let bytes = from_base64url(&sealed).unwrap();
    for length in 0..bytes.len() {
        assert!(open(&secret(1), MEDIUM, 2, &to_base64url(&bytes[..length])).is_err(), "cut to {length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&secret(1), MEDIUM, 2, &to_base64url(&flipped)), Err(RefreshError::Open), "bit {bit}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(open(&secret(1), MEDIUM, 2, &to_base64url(&longer)), Err(RefreshError::Open));
    for text in ["", "=", "not base64!", &format!("{sealed}="), &"A".repeat(MAX_AREA * 2), &"A".repeat(87_444)] {
        assert_eq!(open(&secret(1), MEDIUM, 2, text), Err(RefreshError::Shape), "{} characters", text.len());
    }
}

/// Media in the field hold areas that were sealed so: the bytes stay as they are.
#[test]
fn the_bytes_are_those_of_the_specification() {
    let sealed = seal(&secret(1), MEDIUM, 2, AREA, &mut Counting(0));
    assert_eq!(sealed, SEALED);
    assert_eq!(open(&secret(1), MEDIUM, 2, SEALED).unwrap().as_slice(), AREA);
}

const SEALED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXO_tCtZ48V2MizELQeXnAv2Y7Qpzcj_QpcY5irMk0OaRKhcC-95JdTtLOWRM0R3ZicdD36AyX";
