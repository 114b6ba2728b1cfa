//! What a machine is restored from may have been written by anything, and what it is told may come in any order.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8], &[u8])| {
    let (holds, state, steps) = input;
    tidegate::fuzzing::machine(state, steps, holds);
});
