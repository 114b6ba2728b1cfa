//! What stands in a frame whose sum is good, but which another version may have written: records, changes of state,
//! snapshots, what is put aside.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tidegate::fuzzing::decode(bytes));
