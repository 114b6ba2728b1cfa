//! Any bytes may come from a device whose connection was accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, bool, u16, Vec<u8>)| {
    let (version_5, lasting, piece, bytes) = input;
    tidegate::fuzzing::intake(&bytes, version_5, lasting, usize::from(piece));
});
