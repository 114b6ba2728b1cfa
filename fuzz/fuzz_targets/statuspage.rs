//! Anything may be answered by what stands at the status page's address.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (pattern, body) = input;
    tidegate::fuzzing::statuspage(body, pattern);
});
