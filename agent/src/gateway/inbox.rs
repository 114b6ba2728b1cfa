//! Signed notices: joins the inbox to the machine, the configuration and the folder that is watched.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use super::{Shared, stance};
use crate::provider::inbox::{Hand, Inbox, Told, Via, folder};
use crate::watch::{InboxStatus, RefusedCount, RefusedNotice};

/// The inbox, and which folder it watches.
#[derive(Debug, Default)]
pub(super) struct Desk {
    inbox: OnceLock<Inbox>,
    folder: channel::Sender<Option<PathBuf>>,
}

/// The inbox. Made when it is first asked for: it tells the machine, which is shared too.
fn inbox(shared: &Arc<Shared>) -> &Inbox {
    shared.inbox.inbox.get_or_init(|| {
        // Weak, for what is shared would hold itself.
        let weak = Arc::downgrade(shared);
        let hand: Hand = Arc::new(move |input| {
            let shared = weak.upgrade().filter(|shared| stance::is_open(shared))?;
            Some(stance::tell(&shared, input))
        });
        Inbox::new(&shared.loaded().config.gateway.id, shared.clock.clone(), hand)
    })
}

/// Says whose notices are believed and where they are looked for, as the configuration has it: at the start, and after a
/// reload.
pub(super) fn reload(shared: &Arc<Shared>) {
    let notices = shared.loaded().config.provider.notices.clone();
    inbox(shared).pin(notices.keys);
    shared.inbox.folder.send_if_modified(|known| {
        let news = *known != notices.folder;
        *known = notices.folder;
        news
    });
}

/// Takes in what was brought over the control socket.
pub(super) fn take(shared: &Arc<Shared>, envelope: &str) -> Told {
    inbox(shared).take_base64(envelope, Via::Socket)
}

/// Watches the folder, until `stop`.
pub(super) async fn watch(shared: Arc<Shared>, stop: CancellationToken) {
    let inbox = inbox(&shared).clone();
    folder::watch(inbox, shared.inbox.folder.subscribe(), stop).await;
}

/// What `status` shows of it.
pub(super) fn status(shared: &Shared) -> InboxStatus {
    let Some(inbox) = shared.inbox.inbox.get() else { return InboxStatus::default() };
    let standing = inbox.standing();
    let count = |(cause, count): (String, u64)| RefusedCount { cause, count };
    let last = standing.last.into_iter();
    let (folder_problem, folder_problem_message) = super::status::told(standing.folder_problem);
    InboxStatus {
        keys: standing.keys,
        folder: standing.folder,
        folder_problem,
        folder_problem_message,
        folder_code: String::new(),
        accepted: standing.accepted,
        repeated: standing.repeated,
        not_wholly_known: standing.not_wholly_known,
        refused: standing.refused.into_iter().map(count).collect(),
        last: last
            .map(|one| RefusedNotice {
                at_ms: one.at_ms,
                from: one.from,
                code: one.code,
                why: one.why,
                why_message: one.why_message,
                error_code: String::new(),
            })
            .collect(),
    }
}
