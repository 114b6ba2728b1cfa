//! What a status page says that concerns this gateway, as values: maintenances and incidents of the components that the
//! configuration names. Reading and asking is `statuspage`'s; this is what it hands on.

/// Maintenances, and incidents, that are kept of one answer.
pub const ENTRIES: usize = 64;

/// A page as it was read last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Maintenances that are planned, under way, or have just ended.
    pub maintenances: Vec<Planned>,
    /// Incidents that are not resolved.
    pub incidents: Vec<Incident>,
}

/// How far a maintenance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// It is to come; also in a word that is not known, where its window says more than the word.
    Scheduled,
    /// It is under way, also while it is verified.
    InProgress,
    /// It is over, or does not take place.
    Completed,
}

/// A maintenance that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The page's own id of it, cut to 64 bytes.
    pub id: String,
    /// Its title, cut and escaped.
    pub name: String,
    /// Its beginning, in ms since the Unix epoch; 0 where nobody says since when it is under way.
    pub from_ms: u64,
    /// Its end; where the page says none, or one before its beginning, as long as it is said to be under way.
    pub until_ms: Option<u64>,
    /// How far it is.
    pub progress: Progress,
}

/// An incident that is not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The page's own id of it, cut to 64 bytes.
    pub id: String,
    /// Its title, cut and escaped.
    pub name: String,
    /// How bad the page says it is: `none`, `minor`, `major`, `critical` or another word, cut and escaped.
    pub impact: String,
    /// Since when, in ms since the Unix epoch, if it is said.
    pub since_ms: Option<u64>,
}
