//! Anybody on the way may answer for a name server.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, bool, &[u8])| {
    let (name, v6, bytes) = input;
    tidegate::fuzzing::names(bytes, name, v6);
});
