//! Anything may be answered by what stands at the endpoint's address.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, bool, bool, &[u8], &[u8])| {
    let (status, delivered, auth, headers, body) = input;
    tidegate::fuzzing::judge(status, headers, body, delivered, auth);
});
