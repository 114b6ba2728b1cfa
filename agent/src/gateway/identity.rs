//! Under which identity records leave: that of `[forward.flux]`, or from a time on that of `[forward.flux_next]`.
//!
//! The provider may change the customer's identifier, and stops the service for it (SORACOM Flux terms, 3.4(2) and
//! 5.2(1)(3)). So the other endpoint and its credentials are configured beforehand, with the time from which they hold.
//!
//! # Constraints
//! - Nothing is sent under the wrong one. The forwarder begins no request in the last moments before the time
//!   (`forward::Options::until_ms`), whatever this room does meanwhile; the request under way ends under the identity that
//!   it began with. What waits, and what was refused and is to be tried again, goes under the new one.
//! - Only a clock that is known to be right switches; without one the present identity stays. What was once past stays
//!   past: a clock that is set back, or is not right after a restart, does not bring the old identity back.
//! - A signed notice may move the time, but only to a later one: the old identity holds until both have come.
//!
//! # On disk
//! `gateway/identity` among what the store keeps ([`Change::Kept`]): the latest time that was known when the switch was
//! made, in ms since the Unix epoch, as eight bytes, the highest first. It is on flash before the first request under the new
//! identity, or, where a gateway's first start comes later than the switch, within moments of it; what is not eight bytes
//! counts as nothing.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Rooms, Shared, lane_names, options, stance};
use crate::chain::chain;
use crate::clock::{Clock as _, Stamp};
use crate::config::{Config, FluxTarget};
use crate::forward;
use crate::message;
use crate::store::{Change, Kept, Store, Submission};
use crate::watch::NextIdentity;

/// Where the latest known time is, among what the store keeps.
const KEPT: &str = "gateway/identity";

/// How often it is looked whether the time has come: a clock may be set at any moment.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long flash is waited for before the switch. A disk that stands still for longer shall not stop what is
/// forwarded; a restart with a clock that is not right would then begin with the old identity.
const FLASH_WITHIN: Duration = Duration::from_secs(5);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Which {
    /// `[forward.flux]`.
    #[default]
    Present,
    /// `[forward.flux_next]`.
    Next,
}

/// What is in force, and until when that is known to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct InForce {
    which: Which,
    until_ms: Option<u64>,
}

impl InForce {
    /// `next_ms`: from when the configuration has the next one hold. `moved_ms`: the time to which a notice moved it.
    /// `latest_ms`: a time that is known to be past, 0 if none is.
    fn at(next_ms: Option<u64>, moved_ms: Option<u64>, latest_ms: u64) -> Self {
        let Some(from_ms) = next_ms.map(|from| from.max(moved_ms.unwrap_or(0))) else { return Self::default() };
        if from_ms <= latest_ms {
            Self { which: Which::Next, until_ms: None }
        } else {
            Self { which: Which::Present, until_ms: Some(from_ms) }
        }
    }

    fn target<'a>(&self, config: &'a Config) -> &'a FluxTarget {
        match (&config.forward.next, self.which) {
            (Some(next), Which::Next) => &next.target,
            _ => &config.forward.target,
        }
    }

    /// The configuration, as if the identity in force were the only one.
    fn applied<'a>(&self, config: &'a Config) -> Cow<'a, Config> {
        let target = self.target(config);
        if *target == config.forward.target {
            return Cow::Borrowed(config);
        }
        let mut config = config.clone();
        config.forward.target = self.target(&config).clone();
        Cow::Owned(config)
    }
}

/// What is known of the time, and what was handed to the forwarder last.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The latest time that is known to be past.
    latest_ms: u64,
    /// The same, as it stands on flash.
    kept_ms: u64,
    /// The time that a notice names.
    moved_ms: Option<u64>,
    applied: InForce,
}

impl State {
    fn note(&mut self, now: &Stamp) {
        if now.trusted {
            self.latest_ms = self.latest_ms.max(now.wall_ms);
        }
    }

    /// Whether the next identity is in force and flash does not know yet that its time is past: at the switch, and where a
    /// gateway's first start with it comes later than its time.
    fn is_news(&self, config: &Config, in_force: InForce) -> bool {
        let from_ms = config.forward.next.as_ref().map_or(0, |next| next.from_ms.max(self.moved_ms.unwrap_or(0)));
        in_force.which == Which::Next && self.kept_ms < from_ms
    }

    fn in_force(&mut self, config: &Config, now: &Stamp) -> InForce {
        self.note(now);
        InForce::at(config.forward.next.as_ref().map(|next| next.from_ms), self.moved_ms, self.latest_ms)
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        // Plain numbers, whole whatever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what the store remembers. Before the forwarder begins.
pub(super) fn open(shared: &Shared, store: &Store) {
    let kept = store.kept(KEPT).and_then(|kept| kept.try_into().ok()).map_or(0, u64::from_be_bytes);
    let mut state = shared.identity.state();
    state.kept_ms = kept;
    state.latest_ms = state.latest_ms.max(kept);
}

/// What the forwarder is told: the options with the identity in force. `lanes`: the store's, by name, in its order.
pub(super) fn forward(shared: &Shared, config: &Config, lanes: &[String]) -> forward::Options {
    let in_force = {
        let mut state = shared.identity.state();
        state.applied = state.in_force(config, &shared.clock.now());
        state.applied
    };
    forward::Options { until_ms: in_force.until_ms, ..options::forward(&in_force.applied(config), lanes) }
}

/// Whether a configuration can be used by the forwarder, under either identity.
pub(super) fn judge(config: &Config, lanes: &[String]) -> Result<(), forward::OptionsError> {
    for which in [Which::Present, Which::Next] {
        let in_force = InForce { which, until_ms: None };
        options::forward(&in_force.applied(config), lanes).check()?;
    }
    Ok(())
}

/// What tells the endpoint in use, with its credentials, from others.
pub(super) fn fingerprint(shared: &Shared, config: &Config) -> u64 {
    options::fingerprint(&shared.identity.state().applied.applied(config))
}

/// Where records go now.
pub(super) fn target<'a>(shared: &Shared, config: &'a Config) -> &'a FluxTarget {
    shared.identity.state().applied.target(config)
}

/// The other identity, for `status`; `None` if there is none.
pub(super) fn status(shared: &Shared, config: &Config) -> Option<NextIdentity> {
    let next = config.forward.next.as_ref()?;
    let state = shared.identity.state();
    Some(NextIdentity {
        endpoint: described(&next.target),
        from_ms: next.from_ms.max(state.moved_ms.unwrap_or(0)),
        moved: state.moved_ms.is_some_and(|moved| moved > next.from_ms),
        in_force: state.applied.which == Which::Next,
    })
}

/// An endpoint as `status` shows it: kind and origin.
pub(super) fn described(target: &FluxTarget) -> String {
    format!("{} {}", target.kind().as_str(), target.origin())
}

/// Switches when the time has come, until `stop`.
pub(super) async fn follow(shared: Arc<Shared>, store: Store, stop: CancellationToken) {
    loop {
        let wait = look(&shared, &store).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Hands the forwarder what is in force, if that is something else; says when to look again.
async fn look(shared: &Shared, store: &Store) -> Duration {
    let config = shared.loaded().config;
    let now = shared.clock.now();
    let moved_ms = stance::identity_from(shared);
    let (found, applied, news) = {
        let mut state = shared.identity.state();
        state.moved_ms = moved_ms;
        let found = state.in_force(&config, &now);
        (found, state.applied, state.is_news(&config, found).then_some(state.latest_ms))
    };
    if let Some(latest_ms) = news {
        remember(store, latest_ms).await;
        shared.identity.state().kept_ms = latest_ms;
    }
    if found != applied {
        switch(shared, &applied);
    }
    let left =
        found.until_ms.filter(|_| now.trusted).map(|until| Duration::from_millis(until - now.wall_ms.min(until)));
    // A clock need not go on while this sleeps, so it is looked at a millisecond later.
    left.map_or(LOOK_EVERY, |left| (left + Duration::from_millis(1)).min(LOOK_EVERY))
}

/// Makes it last that this time is past.
async fn remember(store: &Store, latest_ms: u64) {
    let mut submission = Submission::new();
    submission.change(Change::Kept(Kept { name: KEPT.into(), value: latest_ms.to_be_bytes().into() }));
    let committed = submission.on_commit();
    store.submit(submission);
    if tokio::time::timeout(FLASH_WITHIN, committed).await.is_err() {
        tracing::warn!("the change of identity is not on flash yet; it is made all the same");
    }
}

/// Has the forwarder go on under what is in force now.
fn switch(shared: &Shared, before: &InForce) {
    // Whatever was reloaded meanwhile is what counts.
    let config = shared.loaded().config;
    if let Rooms::Running { store, forward, .. } = &*shared.rooms() {
        if let Err(error) = forward.reload(self::forward(shared, &config, &lane_names(store))) {
            tracing::error!("the identity stays as it is: {}", chain(&error));
            shared.identity.state().applied = *before;
            return;
        }
    }
    let applied = shared.identity.state().applied;
    if applied.which != before.which {
        let endpoint = described(applied.target(&config));
        let did = match applied.which {
            Which::Next => message!("the other identity is used"),
            Which::Present => message!("the present identity is used again"),
        };
        stance::did(shared, "identity", endpoint, &did);
        stance::another_endpoint(shared);
        super::date::reload(shared);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::notice::{Content, Notice, Scope};

    use super::*;
    use crate::config;
    use crate::gateway::Gateway;
    use crate::provider::input::Input;

    #[test]
    fn the_next_identity_is_in_force_once_its_time_is_known_to_be_past_and_no_notice_moves_it_on() {
        let present = |until_ms| InForce { which: Which::Present, until_ms };
        let next = InForce { which: Which::Next, until_ms: None };
        for (next_ms, moved_ms, latest_ms, expected) in [
            (None, None, 500, present(None)),
            (None, Some(100), 500, present(None)),
            (Some(100), None, 99, present(Some(100))),
            (Some(100), None, 100, next),
            (Some(100), None, 0, present(Some(100))),
            (Some(100), Some(50), 75, present(Some(100))),
            (Some(100), Some(200), 150, present(Some(200))),
            (Some(100), Some(200), 200, next),
        ] {
            assert_eq!(InForce::at(next_ms, moved_ms, latest_ms), expected, "{next_ms:?} {moved_ms:?} {latest_ms}");
        }
    }

    #[test]
    fn a_clock_that_is_not_right_or_is_set_back_changes_nothing() {
        let stamp = |wall_ms, trusted| Stamp { wall_ms, trusted, ..Stamp::default() };
        let mut state = State::default();
        for (now, latest_ms) in
            [(stamp(900, false), 0), (stamp(500, true), 500), (stamp(100, true), 500), (stamp(900, false), 500)]
        {
            state.note(&now);
            assert_eq!(state.latest_ms, latest_ms);
        }
    }

    /// Waits until the status says this of the next identity.
    async fn until(gateway: &Gateway, what: &str, condition: impl Fn(&NextIdentity) -> bool) {
        let waiting = async {
            while !gateway.status().next_identity.is_some_and(|next| condition(&next)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(found.is_ok(), "{what}: {:?}", gateway.status().next_identity);
    }

    #[tokio::test]
    async fn a_notice_moves_the_time_to_a_later_one_and_to_no_earlier_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let marker = folder.path().join("synchronised");
        std::fs::write(&marker, "").expect("written");
        let text = format!(
            "[gateway]\nid = \"g\"\n[collect.listener]\nbind = \"127.0.0.1:0\"\n[store]\npath = {:?}\nkeep_free = \"0B\"\n\
             [clock]\nsynchronised_marker = {marker:?}\ntimedated = false\n[provider.metadata]\nenabled = false\n\
             [forward.flux]\nkind = \"unified\"\nurl = \"http://127.0.0.1:9/\"\n\
             [forward.flux_next]\nfrom = \"2026-01-01\"\nkind = \"unified\"\nurl = \"http://127.0.0.1:10/\"\n",
            folder.path().join("store")
        );
        let config = config::parse(&text, "test").expect("a configuration");
        let configured_ms = config.forward.next.as_ref().expect("a next one").from_ms;
        let gateway = Gateway::start(config, "test").expect("it starts");
        assert!(gateway.ready().await);
        until(&gateway, "its time is past", |next| next.in_force && !next.moved).await;
        assert!(gateway.status().endpoint.ends_with(":10"), "{}", gateway.status().endpoint);
        let now_ms = gateway.shared.clock.now().wall_ms;
        let tell = |issued_ms, effective_ms| {
            let notice = Notice {
                id: "move".into(),
                issued_ms,
                expires_ms: now_ms + 86_400_000,
                scope: Scope::Fleet,
                content: Content::Identity { effective_ms },
                why: String::new(),
            };
            stance::tell(&gateway.shared, Input::Notice { notice, key: "k".into(), via: "test" });
        };
        tell(now_ms, now_ms + 3_600_000);
        until(&gateway, "moved", |next| !next.in_force && next.moved && next.from_ms == now_ms + 3_600_000).await;
        assert!(gateway.status().endpoint.ends_with(":9"), "{}", gateway.status().endpoint);
        tell(now_ms + 1, configured_ms - 86_400_000);
        until(&gateway, "as configured", |next| next.in_force && next.from_ms == configured_ms).await;
        gateway.stop().await.expect("it stops");
    }
}
