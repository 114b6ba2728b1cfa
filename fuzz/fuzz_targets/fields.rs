//! Any rules for fields may meet any payload.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (paths, payload) = input;
    tidegate::fuzzing::fields(paths, payload);
});
