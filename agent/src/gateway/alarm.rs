//! The local alarm at work: sees what waits and what was delivered, and tells it on topics and by a command.

use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::event::write_time;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use super::{Rooms, Shared, outages};
use crate::clock::{Clock as _, Stamp};
use crate::code::Code;
use crate::collect::{Alarm, Alarms, Subject};
use crate::config;
use crate::outage::Fact;
use crate::outage::alarm::{Earlier, Seen, Settings, Signal, State, Watch};
use crate::outage::horn::{self, Call};
use crate::shape::budget::Reason;

/// How often it looks, at most and at least: a twentieth of the set time in between.
const LOOKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long it waits for the ledger, which knows of earlier runs: a disk that does not let it be read must not keep the
/// alarm from sounding.
const LEDGER_WITHIN: Duration = Duration::from_secs(10);

/// What is seen, with what is said of it.
struct Scene {
    seen: Seen,
    waiting: u64,
    reason: String,
}

/// Watches until told to stop.
pub(super) async fn watch(shared: Arc<Shared>, alarms: Alarms, stop: CancellationToken) {
    let (calls, called) = channel::channel(None);
    let horn = tokio::spawn(horn::serve(called, stop.clone()));
    let mut watch = Watch::resume(earlier(&shared).await);
    loop {
        let config = shared.loaded().config;
        let pause = (config.alarm.after.unwrap_or(LOOKS.1) / 20).clamp(LOOKS.0, LOOKS.1);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        let Some(scene) = look(&shared) else { continue };
        let settings = config.alarm.after.map(|after| Settings { after, repeat: config.alarm.repeat });
        let now = shared.clock.now();
        let Some(signal) = watch.look(settings.as_ref(), &scene.seen, &now) else { continue };
        say(&shared, &alarms, &signal, &scene, &now);
        if let Some(words) = config.alarm.command.as_ref().filter(|_| signal.state != State::Found) {
            calls.send_replace(Some(call(&config, words, &signal, &scene, &now)));
        }
    }
    drop(calls);
    let _ = horn.await;
}

/// What the ledger knows of earlier runs.
async fn earlier(shared: &Shared) -> Earlier {
    let Some(mut figures) = shared.outages.figures() else { return Earlier::default() };
    // Late or not at all: then it is as if there had been none.
    let _ = tokio::time::timeout(LEDGER_WITHIN, figures.wait_for(|figures| figures.ready)).await;
    let figures = figures.borrow();
    Earlier {
        raised: figures.alarm,
        raised_at: figures.alarm_since,
        delivered: figures.delivered,
        out_since: figures.open.as_ref().map(|open| open.since),
        out_ms: figures.open.as_ref().map_or(0, |open| open.proved_ms),
    }
}

/// `None` while the rooms are not up.
fn look(shared: &Shared) -> Option<Scene> {
    let rooms = shared.rooms();
    let Rooms::Running { store, forward, .. } = &*rooms else { return None };
    let stored = store.stats();
    let standing = forward.budgets(&stored.lanes);
    let window = |lane: usize| standing.held.iter().any(|held| held.lane == lane && held.reason == Reason::Window);
    let waits = stored.lanes.iter().enumerate().filter(|(index, lane)| lane.waiting > 0 && !window(*index));
    let (mut waiting, mut oldest_ms) = (0, None);
    for (_, lane) in waits {
        waiting += lane.waiting;
        oldest_ms = oldest_ms.max(lane.oldest_age_ms);
    }
    let sent = forward.stats();
    let view = shared.stance.view();
    let stopped = view.grounds.first().map(|ground| format!("{}: {}", ground.stance, ground.cause));
    let answered = || format!("{}: {}", sent.verdict.word, sent.verdict.reason);
    let reason = stopped.unwrap_or_else(answered);
    Some(Scene {
        seen: Seen { waiting: waiting > 0, oldest_ms, delivered: sent.forwarded },
        waiting,
        reason: reason.trim_end_matches([':', ' ']).to_owned(),
    })
}

/// Says it in the log, in the ledger, and on the topics.
fn say(shared: &Shared, alarms: &Alarms, signal: &Signal, scene: &Scene, now: &Stamp) {
    let (quiet_s, waiting, reason) = (signal.quiet_ms / 1000, scene.waiting, scene.reason.as_str());
    let state = signal.state.word();
    let mut text = serde_json::json!({
        "alarm": "delivery", "state": state, "quiet_s": quiet_s, "waiting": waiting, "time_ms": now.wall_ms,
    });
    if signal.state == State::Recovered {
        text["over"] = signal.over.into();
        alarms.end(Subject::Delivery, Alarm(text.to_string().into()));
        tracing::warn!(over = signal.over, quiet_s, "the alarm is over");
        outages::tell(shared, Fact::Alarm { raised: false });
        return;
    }
    text["reason"] = reason.into();
    // Before it sounds: a restart must know that it has to be ended.
    outages::tell(shared, Fact::Alarm { raised: true });
    alarms.raise(Subject::Delivery, Alarm(text.to_string().into()));
    tracing::error!(
        code = %Code::NothingDelivered,
        state,
        quiet_s,
        waiting,
        reason,
        "ALARM: nothing was delivered for the set time while records wait"
    );
}

fn call(config: &config::Config, words: &[String], signal: &Signal, scene: &Scene, now: &Stamp) -> Call {
    let mut time = Vec::new();
    write_time(&mut time, now.wall_ms);
    let reason = if signal.state == State::Recovered { signal.over } else { scene.reason.as_str() };
    Call {
        words: words.to_vec(),
        limit: config.alarm.command_timeout,
        environment: vec![
            ("STATE", signal.state.word().to_owned()),
            ("GATEWAY", config.gateway.id.clone()),
            ("QUIET_SECONDS", (signal.quiet_ms / 1000).to_string()),
            ("WAITING", scene.waiting.to_string()),
            ("REASON", reason.to_owned()),
            ("TIME", String::from_utf8(time).unwrap_or_default()),
        ],
    }
}
