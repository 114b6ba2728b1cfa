//! Reads a status page's documents (Atlassian Statuspage, `/api/v2`). Pure.
//!
//! # Form
//! ```text
//! { "scheduled_maintenances": [ { "id", "name", "status": scheduled | in_progress | verifying | completed,
//!       "scheduled_for", "scheduled_until", "started_at", "updated_at", "components": [ … ], "incident_updates": [ … ] } ],
//!   "incidents": [ { "id", "name", "status": investigating | identified | monitoring | resolved | postmortem, "impact",
//!       "started_at", "created_at", "resolved_at", "components": [ … ], "incident_updates": [ … ] } ],
//!   "components": [ { "id", "name", "group": true, "group_id" } ] }
//! ```
//! `summary.json` has all three; `scheduled-maintenances/….json` and `incidents/unresolved.json` have one of the lists.
//!
//! # What is tolerated
//! Each entry is read by itself: what is missing, null, of another type or nested without end in one of them never loses the
//! others. An entry that says nothing that can be used is counted ([`Document::skipped`]). A *list* that is missing or is none
//! is not an empty one: then nothing is said of what it would have held, so that an error page withdraws no maintenance.
//!
//! # Whom an entry concerns
//! It concerns this gateway if a configured pattern is found in the name of one of the components that it names, or of the
//! group that the component stands in. An entry that names no component is judged by its title: to stop for works on
//! anything whatever would delay alarms for what has nothing to do with Flux, while an interruption that the page does not
//! pin on Flux is still recognised from Flux's answers. Who wants to heed every entry writes `components = ["*"]`.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::glob::{Glob, folded};
use crate::provider::page::{ENTRIES, Incident, Page, Planned, Progress};
use crate::shown;

/// Bytes of an id that are kept; real ones have 12.
const ID: usize = 64;

/// Characters of a title that are kept.
const NAME: usize = 120;

/// Characters of an impact that are kept.
const WORD: usize = 32;

/// What a document says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The maintenances that concern this gateway, those under way first, then as they come; `None` if it has no such list.
    pub maintenances: Option<Vec<Planned>>,
    /// The incidents that concern it and are not resolved; `None` if it has no such list.
    pub incidents: Option<Vec<Incident>>,
    /// Entries that could not be read.
    pub skipped: u32,
    /// Entries that do not concern this gateway.
    pub others: u32,
}

/// Why it is no status page.
#[derive(Debug, thiserror::Error)]
pub enum NoPage {
    /// It is not JSON, or no object.
    #[error("the answer is not a JSON object")]
    Nonsense(#[source] serde_json::Error),
    /// It has neither list.
    #[error("the answer has neither incidents nor scheduled_maintenances")]
    NoLists,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// It is none of a status page.
    pub fn read(body: &[u8], components: &[Glob]) -> Result<Self, NoPage> {
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}');
        // Raw, so that no entry is looked into before its turn.
        let fields: HashMap<String, &RawValue> = serde_json::from_str(text).map_err(NoPage::Nonsense)?;
        let list = |name: &str| -> Option<Vec<&RawValue>> { serde_json::from_str(fields.get(name)?.get()).ok() };
        let (maintenances, incidents) = (list("scheduled_maintenances"), list("incidents"));
        if maintenances.is_none() && incidents.is_none() {
            return Err(NoPage::NoLists);
        }
        let names = Names::of(&list("components").unwrap_or_default());
        let mut document = Self::default();
        document.maintenances = maintenances.map(|list| {
            let mut read = document.entries(&list, &names, components, planned);
            read.sort_by_key(|entry: &Planned| {
                let order = match entry.progress {
                    Progress::InProgress => 0,
                    Progress::Scheduled => 1,
                    Progress::Completed => 2,
                };
                (order, entry.from_ms)
            });
            read.truncate(ENTRIES);
            read
        });
        document.incidents = incidents.map(|list| {
            let mut read = document.entries(&list, &names, components, incident);
            read.truncate(ENTRIES);
            read
        });
        Ok(document)
    }

    /// Adds what another document of the same page says.
    pub fn add(&mut self, other: &Self) {
        if let Some(more) = &other.maintenances {
            let all = self.maintenances.get_or_insert_default();
            for entry in more {
                // What is under way may still stand among what is to come.
                if all.len() < ENTRIES && !all.iter().any(|known| known.id == entry.id) {
                    all.push(entry.clone());
                }
            }
        }
        if let Some(more) = &other.incidents {
            let all = self.incidents.get_or_insert_default();
            all.extend(more.iter().take(ENTRIES - all.len().min(ENTRIES)).cloned());
        }
    }

    /// What it holds, with what was known before of what it does not speak of.
    pub fn onto(&self, page: &mut Page) {
        if let Some(maintenances) = &self.maintenances {
            page.maintenances.clone_from(maintenances);
        }
        if let Some(incidents) = &self.incidents {
            page.incidents.clone_from(incidents);
        }
    }

    /// The entries of a list that concern this gateway. Of two with one id the one that was changed later counts.
    fn entries<T>(
        &mut self,
        list: &[&RawValue],
        names: &Names,
        components: &[Glob],
        read: impl Fn(&Value, String) -> Found<T>,
    ) -> Vec<T> {
        let mut found: Vec<(T, Option<u64>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for raw in list {
            let Ok(entry) = serde_json::from_str::<Value>(raw.get()) else {
                self.skipped = self.skipped.saturating_add(1);
                continue;
            };
            let id = id(&entry);
            let value = match read(&entry, id.clone()) {
                Found::Entry(value) => value,
                Found::Over => continue,
                Found::Unusable => {
                    self.skipped = self.skipped.saturating_add(1);
                    continue;
                }
            };
            if !names.concerns(&entry, components) {
                self.others = self.others.saturating_add(1);
                continue;
            }
            let updated = time(&entry, "updated_at");
            match places.get(&id) {
                Some(place) if found[*place].1 > updated => {}
                Some(place) => found[*place] = (value, updated),
                None => {
                    places.insert(id, found.len());
                    found.push((value, updated));
                }
            }
        }
        found.into_iter().map(|(value, _)| value).collect()
    }
}

/// What an entry is.
enum Found<T> {
    Entry(T),
    /// It is over, and nothing follows from it.
    Over,
    Unusable,
}

fn planned(entry: &Value, id: String) -> Found<Planned> {
    if !entry.is_object() {
        return Found::Unusable;
    }
    let begins = time(entry, "scheduled_for");
    let progress = match word(entry, "status").as_str() {
        "in_progress" | "verifying" => Progress::InProgress,
        "completed" | "resolved" | "postmortem" | "cancelled" | "canceled" => Progress::Completed,
        // In a word that is not known its window says more than the word.
        _ if begins.is_some() => Progress::Scheduled,
        _ => return Found::Unusable,
    };
    let started = || time(entry, "started_at").or_else(|| time(entry, "created_at"));
    let from_ms = begins.or_else(started).unwrap_or(0);
    let until_ms = time(entry, "scheduled_until").filter(|until| *until > from_ms);
    Found::Entry(Planned { id, name: name(entry), from_ms, until_ms, progress })
}

fn incident(entry: &Value, id: String) -> Found<Incident> {
    if !entry.is_object() {
        return Found::Unusable;
    }
    let over = matches!(word(entry, "status").as_str(), "resolved" | "postmortem" | "completed");
    if over || time(entry, "resolved_at").is_some() {
        return Found::Over;
    }
    let impact = shown::title(entry["impact"].as_str().unwrap_or_default(), WORD);
    let since_ms = time(entry, "started_at").or_else(|| time(entry, "created_at"));
    Found::Entry(Incident { id, name: name(entry), impact, since_ms })
}

/// The names of components and groups, by id.
struct Names(HashMap<String, (String, Option<String>)>);

impl Names {
    fn of(list: &[&RawValue]) -> Self {
        let mut names = HashMap::new();
        for raw in list {
            let Ok(component) = serde_json::from_str::<Value>(raw.get()) else { continue };
            if let (Some(id), Some(name)) = (component["id"].as_str(), component["name"].as_str()) {
                let group = component["group_id"].as_str().map(str::to_owned);
                names.insert(id.to_owned(), (name.to_owned(), group));
            }
        }
        Self(names)
    }

    fn concerns(&self, entry: &Value, patterns: &[Glob]) -> bool {
        let mut named = Vec::new();
        for component in entry["components"].as_array().into_iter().flatten() {
            self.add(component, &mut named);
        }
        if named.is_empty() {
            // Some pages say it in the updates alone, as "Group - Component".
            for update in entry["incident_updates"].as_array().into_iter().flatten() {
                for component in update["affected_components"].as_array().into_iter().flatten() {
                    self.add(component, &mut named);
                }
            }
        }
        if named.is_empty() {
            named.push(entry["name"].as_str().unwrap_or_default());
        }
        named.iter().map(|name| folded(name, usize::MAX)).any(|name| patterns.iter().any(|it| it.is_in_folded(&name)))
    }

    /// Adds the names that a component goes by: its own, that under its id, and its group's. It may be an id alone.
    fn add<'a>(&'a self, component: &'a Value, named: &mut Vec<&'a str>) {
        let id = [component, &component["id"], &component["code"]].into_iter().find_map(Value::as_str);
        let known = id.and_then(|id| self.0.get(id));
        let group = component["group_id"].as_str().or_else(|| known?.1.as_deref());
        let group = group.and_then(|group| self.0.get(group));
        named.extend(component["name"].as_str());
        named.extend([known, group].into_iter().flatten().map(|(name, _)| name.as_str()));
    }
}

fn word(entry: &Value, key: &str) -> String {
    entry[key].as_str().unwrap_or_default().trim().to_ascii_lowercase()
}

fn name(entry: &Value) -> String {
    shown::title(entry["name"].as_str().unwrap_or_default(), NAME)
}

/// Its id, shown and cut. One that has none is known by what it is about.
fn id(entry: &Value) -> String {
    let given = entry["id"].as_str().map(str::to_owned).or_else(|| Some(entry["id"].as_u64()?.to_string()));
    let given = given.filter(|id| !id.trim().is_empty());
    let id = given.unwrap_or_else(|| {
        let about = [&entry["name"], &entry["scheduled_for"], &entry["created_at"]].map(Value::to_string);
        format!("unnamed-{:08x}", crc32c::crc32c(about.concat().as_bytes()))
    });
    let mut id = shown::title(&id, ID);
    while id.len() > ID {
        id.pop();
    }
    id
}

/// A time (RFC 3339, with any offset and fraction) in ms since the Unix epoch; none before it, and none without an offset.
fn time(entry: &Value, key: &str) -> Option<u64> {
    let time: Timestamp = entry[key].as_str()?.trim().parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

#[cfg(test)]
mod tests;
