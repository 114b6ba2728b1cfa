//! Whoever may open the control socket may write anything into it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| tidegate::fuzzing::control(line));
