//! Moments of this gateway's own: what makes a fleet not move as one.
//!
//! They are drawn by a hash and not at random, so that a restart draws the same again. FNV-1a (Fowler, Noll, Vo) over what
//! tells the gateway and the occasion apart, then the finish of splitmix64 (Steele et al. 2014), because FNV's high bits
//! differ little between ids such as `gw-0001` and `gw-0002`. Nothing depends on nobody being able to foresee them.

/// A number of this gateway and an occasion: even over all gateways.
pub(super) fn draw(gateway: &str, occasion: &str, number: u64) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let parted = gateway.bytes().chain([0xff]).chain(occasion.bytes()).chain([0xff]).chain(number.to_le_bytes());
    for byte in parted {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

/// So far into a span as the number says: from 0 to below the span.
pub(super) fn within(number: u64, span: u64) -> u64 {
    ((u128::from(number) * u128::from(span)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_whose_ids_count_up_are_spread_evenly() {
        let mut bins = [0_u32; 100];
        for gateway in 0..100_000 {
            bins[within(draw(&format!("gw-{gateway:06}"), "m-1", 7), 100) as usize] += 1;
        }
        let (least, most) = (bins.iter().min(), bins.iter().max());
        // 1,000 are expected in each, give or take 31; five times that never happens by chance.
        assert!(least.is_some_and(|least| *least > 840) && most.is_some_and(|most| *most < 1_160), "{bins:?}");
    }

    #[test]
    fn another_occasion_gives_another_order() {
        let of = |occasion, number| draw("gw-1", occasion, number);
        assert_eq!(of("m-1", 7), of("m-1", 7));
        assert_ne!(of("m-1", 7), of("m-1", 8));
        assert_ne!(of("m-1", 7), of("m-2", 7));
        assert_ne!(draw("ab", "c", 1), draw("a", "bc", 1));
    }
}
