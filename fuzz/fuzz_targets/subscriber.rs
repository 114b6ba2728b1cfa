//! Anything may be answered by what stands at the metadata service's address.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| tidegate::fuzzing::subscriber(body));
