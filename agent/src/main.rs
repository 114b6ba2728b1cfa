//! The `tidegate` command.
#![forbid(unsafe_code)]

fn main() {}
