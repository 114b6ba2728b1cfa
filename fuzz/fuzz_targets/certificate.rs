//! A careless authority signs anything.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| tidegate::fuzzing::certificate(der));
