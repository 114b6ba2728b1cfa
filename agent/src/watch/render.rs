//! `Status` for people.
