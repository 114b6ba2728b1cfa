//! Where the provider says something of itself: the metadata service of the SIM, and the status page.

use tidegate::chain::chain;
use tidegate::code::Code;
use tidegate::config::{Forward, Kind, Metadata, StatusPage};
use tidegate::gateway::of_file;
use tidegate::language::Message;
use tidegate::message;
use tidegate::provider::{metadata as service, statuspage as page};
use tidegate::shape::wire::Wire;
use tidegate::watch::Status;

use super::block_on;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id};

/// That somebody is not asked: because a key says so, or because it says nothing and Flux is not reached over SORACOM.
fn unasked(key: &'static str) -> Message {
    message!("not asked with this configuration; {key} = true has it asked", key = key)
}

/// Asks the metadata service once, some 3 KB; not if the service has its answer. Half a minute at most.
pub(in crate::command) fn metadata(metadata: &Metadata, forward: &Forward, status: Option<&Status>, tell: Tell<'_>) {
    let what = || Id::MetadataService.of(message!("metadata service"));
    if !metadata.enabled {
        return tell(Finding::good(what(), unasked("[provider.metadata] enabled")));
    }
    let class = |class: Option<&String>| class.cloned().unwrap_or_else(|| "-".into());
    let known = status.and_then(|status| status.terms.sim.as_ref()).filter(|sim| sim.url == metadata.url);
    if let Some(sim) = known.filter(|sim| sim.answered_ago_ms.is_some() && sim.problem.is_empty()) {
        return tell(Finding::good(
            what(),
            message!(
                "it told the service the speed class {class}; SIM {state}",
                class = class(sim.speed_class.as_ref()),
                state = class(sim.status.as_ref())
            ),
        ));
    }
    let Ok(options) = of_file::door(forward) else { return };
    let wire = Wire::new(options);
    let off = || message!("on a line that is not SORACOM's write [provider.metadata] enabled = false");
    tell(match block_on(service::ask_once(&metadata.url, &wire)) {
        None => Finding::unknown(what(), message!("the system refuses what is needed to connect"), None),
        Some(Ok(told)) => Finding::good(
            what(),
            message!(
                "speed class {class}; SIM {state}",
                class = class(told.speed_class.as_ref()),
                state = class(told.status.as_ref())
            ),
        ),
        Some(Err((Some(403), _))) => Finding::attention(
            what(),
            message!("it is not enabled for this SIM, so the speed class is not known"),
            Code::Metadata,
            message!(
                "enable the metadata service in the SIM group (console: SIM Groups, SORACOM Air, Metadata Service)"
            ),
        ),
        Some(Err((Some(status), _))) => Finding::attention(
            what(),
            message!("it answers with HTTP {status}, so the speed class is not known", status = status),
            Code::Metadata,
            message!("see that [provider.metadata] url leads to SORACOM's metadata service"),
        ),
        // Elsewhere than on a SORACOM line there is none, and that is no fault.
        Some(Err((None, why))) if forward.target.kind() == Kind::Unified => Finding::attention(
            what(),
            message!("it does not answer: {why}", why = why),
            Code::Metadata,
            message!(
                "see that this gateway goes out through the SORACOM SIM or Arc: the Unified Endpoint needs that, too"
            ),
        ),
        Some(Err((None, why))) => Finding::unknown(
            what(),
            message!("it does not answer, as on any line that is not SORACOM's: {why}", why = why),
            Some(off()),
        ),
    });
}

/// Asks the status page once for the smallest of its documents; not if the service has its answer. Two minutes at most.
pub(in crate::command) fn statuspage(page_of: &StatusPage, forward: &Forward, status: Option<&Status>, tell: Tell<'_>) {
    let what = || Id::StatusPage.of(message!("status page"));
    if !page_of.enabled {
        return tell(Finding::good(what(), unasked("[provider.statuspage] enabled")));
    }
    let known = status.and_then(|status| status.stance.page.as_ref()).filter(|known| known.url == page_of.url);
    if known.is_some_and(|known| known.answered_ago_ms.is_some() && known.problem.is_empty()) {
        return tell(Finding::good(what(), message!("the service reads it")));
    }
    let wire = match of_file::page_door(page_of, forward) {
        Ok(options) => Wire::new(options),
        Err(error) => {
            return tell(Finding::bad(
                what(),
                message!("the configuration cannot be used: {error}", error = chain(&error)),
                Code::StatusPage,
                message!("correct [provider.statuspage] ca_file"),
            ));
        }
    };
    tell(match block_on(page::ask_once(&page_of.url, &wire)) {
        None => Finding::unknown(what(), message!("the system refuses what is needed to connect"), None),
        Some(Ok(())) => Finding::good(what(), message!("{url} can be read", url = &page_of.url)),
        Some(Err(why)) => Finding::attention(
            what(),
            message!("it cannot be read, so maintenance is not known beforehand: {why}", why = why),
            Code::StatusPage,
            message!(
                "if Flux can be reached, see [provider.statuspage] url; without a way to it write enabled = false"
            ),
        ),
    });
}
