//! The heads of segments as they stand in the files, for a person who looks for what went wrong. No record is read.

use std::path::Path;

use serde::Serialize;

use super::segment;
use crate::store::disk::{Disk, Mode};

/// Segments of which heads are read at most: a store of 16 GiB has fewer.
pub const MOST_HEADS: usize = 10_000;

/// A segment as its name and its head have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentHead {
    /// The folder of its lane and its name.
    pub file: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Gateway, epoch and lane; `None` if both copies of the head are damaged or are another file's.
    pub identity: Option<(String, String, String)>,
    /// Why the head could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The heads of the segments in the store's folder `path`, by name, [`MOST_HEADS`] at most. Nothing is written, no lock is
/// taken. A segment that goes meanwhile is left out.
///
/// # Errors
/// When a folder cannot be listed.
pub fn heads(disk: &dyn Disk, path: &Path) -> std::io::Result<Vec<SegmentHead>> {
    let mut out = Vec::new();
    let mut folders: Vec<String> = disk.list(path)?.into_iter().filter(|at| at.folder).map(|at| at.name).collect();
    folders.sort_unstable();
    for folder in folders.into_iter().filter(|name| name == "control" || name.starts_with("lane-")) {
        let mut entries = disk.list(&path.join(&folder))?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            let Some((first, generation)) = segment::parse_name(&entry.name) else { continue };
            if out.len() == MOST_HEADS {
                return Ok(out);
            }
            let file = path.join(&folder).join(&entry.name);
            let read =
                disk.open(&file, Mode::Read).and_then(|file| segment::read_head(file.as_ref(), first, generation));
            let (head, error) = match read {
                Ok(head) => (head, None),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => (None, Some(error.to_string())),
            };
            let identity = head.map(|head| {
                let of = &head.identity;
                (of.gateway.clone(), of.epoch.clone(), of.lane.clone())
            });
            out.push(SegmentHead { file: format!("{folder}/{}", entry.name), bytes: entry.len, identity, error });
        }
    }
    Ok(out)
}
