//! The log of notices may hold anything: a hand, a dying card.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tidegate::fuzzing::log(bytes));
