//! IPv6: headers of 40 bytes, and a route that has nothing else.

use super::down::{Down, weigh_down_over};
use super::*;

/// Both directions, one after the other.
pub(crate) fn over_ipv6(tls: bool) {
    const RATE: u64 = 128_000;
    let length = Duration::from_secs(18);
    let line = Line::over(Pair::make_six(), RATE, tls, 16 << 20);
    assert!(line.flux.base_url().contains("[fd77::2]"), "{}", line.flux.base_url());
    let up = weigh_up(line, format!("IPv6, TLS {tls}"), RATE, length);
    let down = Down { bits_per_second: RATE, tls, burst: None, round_trip: None };
    let faults = [up.faults(), weigh_down_over(Pair::make_six(), down, length).faults()].concat();
    assert!(faults.is_empty(), "{faults:#?}");
}
