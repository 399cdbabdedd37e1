//! How a charge is divided between a gateway and the operator of the authority (C17).

/// What a gateway gets of each price: hundredths of a percent, from nothing to all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// All of the price.
    pub const WHOLE: u32 = 10_000;

    /// So many hundredths of a percent; nothing where that is more than the whole.
    pub fn new(hundredths: u32) -> Option<Self> {
        (hundredths <= Self::WHOLE).then_some(Self(hundredths))
    }
}

/// The operator's part of a price, in minor units: all that the gateway's share, rounded down, leaves of it. So the two parts are the price,
/// always, and where they come out uneven the odd minor unit is the operator's.
pub fn operator_part(price: u64, share: Share) -> u64 {
    let gateway = u128::from(price) * u128::from(share.0) / u128::from(Share::WHOLE);
    // A share is no more than the whole, so this is no more than the price.
    price - u64::try_from(gateway).unwrap_or(price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(hundredths: u32) -> Share {
        Share::new(hundredths).expect("no more than the whole")
    }

    #[test]
    fn c17_the_odd_minor_unit_is_the_operators() {
        assert_eq!(operator_part(1999, share(3000)), 1400, "30 % of 19.99 are 5.99 and a bit");
        assert_eq!(operator_part(1, share(5000)), 1);
        assert_eq!((operator_part(1999, share(0)), operator_part(1999, share(10_000))), (1999, 0));
        assert_eq!(operator_part(u64::MAX, share(10_000)), 0);
        assert_eq!(Share::new(10_001), None);
    }

    proptest! {
        /// proves: C17
        #[test]
        fn the_parts_are_the_price_and_nobody_is_off_by_a_minor_unit(price: u64, hundredths in 0..=Share::WHOLE) {
            let operator = operator_part(price, share(hundredths));
            prop_assert!(operator <= price);
            let (gateway, exact) = (u128::from(price - operator) * 10_000, u128::from(price) * u128::from(hundredths));
            prop_assert!(gateway <= exact && exact - gateway < 10_000, "the gateway has its share, less than a minor unit below");
        }

        #[test]
        fn a_higher_price_or_a_lower_share_leaves_the_operator_no_less(price in 0..u64::MAX, hundredths in 1..=Share::WHOLE) {
            let part = operator_part(price, share(hundredths));
            prop_assert!(operator_part(price + 1, share(hundredths)) >= part);
            prop_assert!(operator_part(price, share(hundredths - 1)) >= part);
        }
    }
}
