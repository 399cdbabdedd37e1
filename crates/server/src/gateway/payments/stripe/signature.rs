//! `Stripe-Signature` (docs.stripe.com/webhooks/signature): `t=SECONDS,v1=HEX[,v1=HEX]`, HMAC-SHA256 over `SECONDS.BODY`, one `v1` for each secret that
//! is good while it is rolled.

use aws_lc_rs::hmac;
use counterfoil_core::Timestamp;

use crate::gateway::payments::provider::Forged;

/// How old a signature may be, and how far ahead, in seconds: as Stripe's own libraries have it.
const TOLERANCE: i64 = 300;

/// Whether somebody who knows the secret has signed this, just now.
///
/// # Errors
/// As [`Forged`] says.
pub(super) fn verify(secret: &[u8], header: &str, body: &[u8], now: Timestamp) -> Result<(), Forged> {
    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    let of = |name: &'static str| pairs().filter(move |(key, _)| *key == name).map(|(_, value)| value);
    let at = of("t").next().ok_or(Forged::Unreadable)?;
    let seconds: i64 = at.parse().map_err(|_| Forged::Unreadable)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let message = [at.as_bytes(), b".", body].concat();
    let (mut seen, mut good) = (false, false);
    for signature in of("v1").filter_map(from_hex) {
        seen = true;
        // In constant time.
        good |= hmac::verify(&key, &message, &signature).is_ok();
    }
    match (seen, good) {
        (false, _) => Err(Forged::Unreadable),
        (true, false) => Err(Forged::Wrong),
        (true, true) if (now.0 / 1000).saturating_sub(seconds).abs() > TOLERANCE => Err(Forged::Stale),
        (true, true) => Ok(()),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn signed(secret: &[u8], at: i64, body: &str) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), format!("{at}.{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={at},v1={hex},v0=00")
    }

    #[test]
    fn what_the_provider_signed_is_taken_and_nothing_else() {
        let (body, at) = ("{\"id\":\"evt_1\"}", 1_700_000_000);
        let good = signed(b"whsec_a", at, body);
        assert_eq!(verify(b"whsec_a", &good, body.as_bytes(), NOW), Ok(()));
        // While a secret is rolled, either is good.
        let both = format!("{},{}", signed(b"whsec_old", at, body), good.split(',').nth(1).unwrap_or_default());
        assert_eq!(verify(b"whsec_a", &both, body.as_bytes(), NOW), Ok(()));
        assert_eq!(verify(b"whsec_b", &good, body.as_bytes(), NOW), Err(Forged::Wrong));
        assert_eq!(verify(b"whsec_a", &good, b"{\"id\":\"evt_2\"}", NOW), Err(Forged::Wrong));
        // A time of its own under a good signature.
        assert_eq!(verify(b"whsec_a", &good.replace("t=1700000000", "t=1700000001"), body.as_bytes(), NOW), Err(Forged::Wrong));
        for (seconds, fresh) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let verified = verify(b"whsec_a", &signed(b"whsec_a", at + seconds, body), body.as_bytes(), NOW);
            assert_eq!(verified, if fresh { Ok(()) } else { Err(Forged::Stale) }, "{seconds}");
        }
        for unreadable in
            ["", "t=1", "v1=00", "t=x,v1=00", "t=1700000000,v1=0", "t=1700000000,v1=zz", "t=1700000000,v1=€€", "t=1700000000,v0=00"]
        {
            assert_eq!(verify(b"whsec_a", unreadable, body.as_bytes(), NOW), Err(Forged::Unreadable), "{unreadable}");
        }
    }
}
