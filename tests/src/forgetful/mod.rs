//! A file system that forgets: at a power cut, whatever was not synced is gone, or what is left of it is any mixture
//! that a medium may leave.
//!
//! What it is for: `kill -9` leaves the page cache as it is, so it proves nothing about syncing. Here a program of its
//! own (`forgetful-fs`) serves a FUSE file system from memory and, on command, does to it what a power cut does to a
//! card, while the agent that uses it is killed.
//!
//! # What lasts
//!
//! - `fsync` and `fdatasync` of a file keep its contents and its length as they were when the call began, and nothing
//!   else: **not its name**, nor another file's contents.
//! - `fsync` of a folder keeps which names it holds, as they were when the call began: created, removed, renamed.
//!   Neither the contents of what is named there nor the folder's own name in the one above.
//! - A rename from one folder to another is lasting in each of the two once that one is synced. POSIX promises no
//!   more, although most file systems do.
//! - `sync_file_range` keeps nothing: it never reaches the file system.
//!
//! Rights and times are no part of the test and always last.
//!
//! # What a cut leaves
//!
//! [`Loss::All`] drops everything unsynced. [`Loss::Tail`] keeps, of each file and each folder by itself, the first few
//! changes, the last of them up to any sector of 512 bytes. [`Loss::Part`] keeps any part: of each file all, nothing, or a
//! mixture in which each page of 4096 bytes, now and then each sector of 512, stands at any moment between the last
//! sync and now, and the length likewise (what is within the length and was never written reads as zeros); of each
//! folder all, nothing, the first few changes, or any of them as long as the changes of one name keep their order.
//!
//! From the moment of the cut every call answers EIO and changes nothing, until the file system is mounted anew, with
//! nothing in any cache. A sync takes a random time, as on a card, so that a cut finds writes that are under way.

mod contents;
mod handle;
mod medium;
mod names;
mod serve;
#[cfg(test)]
mod tests;

pub use handle::ForgetfulDisk;
pub use medium::{Lost, Medium};
pub use serve::Powered;

/// How much of what is unsynced a power cut takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Everything.
    All,
    /// What came last: the medium writes in order.
    Tail,
    /// Any part: the medium writes as it likes.
    Part,
}
