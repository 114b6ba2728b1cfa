use super::*;

mod control;
mod japanese;
mod metrics;
mod render;

fn next_identity() -> NextIdentity {
    NextIdentity {
        endpoint: "unified http://uni.soracom.io".into(),
        from_ms: 1_796_050_800_000,
        moved: true,
        in_force: false,
    }
}

/// A gateway in trouble, with hostile text where text comes from outside.
#[allow(clippy::too_many_lines)]
fn sample() -> Status {
    Status {
        version: "0.1.0".into(),
        gateway: "gw-1".into(),
        epoch: "k3v9".into(),
        pid: 42,
        now_ms: 1_795_336_200_000,
        uptime_ms: 3_725_000,
        config: "/etc/tidegate/tidegate.toml".into(),
        config_file: "/etc/tidegate/tidegate.toml".into(),
        config_fingerprint: "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb".into(),
        config_kept: false,
        config_kept_ms: None,
        config_loaded_ms: 1_795_332_475_000,
        config_needs_restart: vec!["store.max_size".into()],
        counts: Counts {
            collected: 1_234_567,
            stored: 2_234_567,
            waiting: 1200,
            forwarded: 2_233_000,
            put_aside: 1,
            refused: 7,
            refused_by: vec![RefusedCount { cause: "to\"p\\ic\n".into(), count: 5 }],
            requests: 4000,
            requests_failed: 12,
            connect_failures: 1003,
            token_refusals: 4,
            ..Counts::default()
        },
        lanes: ["critical", "normal"]
            .map(|name| LaneStatus {
                name: name.into(),
                stored: 1000,
                waiting: if name == "normal" { 1200 } else { 0 },
                bytes: 5_000_000,
                oldest_ms: (name == "normal").then_some(1_795_336_100_000),
                oldest_age_ms: (name == "normal").then_some(100_000),
                ..LaneStatus::default()
            })
            .into(),
        verdict: VerdictStatus {
            word: "throttled".into(),
            since_ms: Some(1_795_336_190_000),
            until_ms: Some(1_795_336_230_000),
            reason: "429 \u{1b}[31mred\u{202e}\nnext".into(),
            advice: "wait; sending goes on by itself".into(),
            last_accepted_ms: Some(1_795_336_180_000),
            suspects: 2,
            learnt_body_limit: Some(32_768),
            ..VerdictStatus::default()
        },
        stance: StanceStatus::default(),
        outage: OutageStatus::default(),
        oldest_waiting: Some(OldestWaiting {
            lane: "normal".into(),
            time_ms: 1_795_336_100_000,
            age_ms: Some(100_000),
        }),
        line: LineStatus {
            sent: 5 << 20,
            received: 1 << 20,
            estimated: true,
            connections: 9,
            rate: Some(4_000),
            rate_down: None,
            round_trip_ms: Some(1_600),
            one_at_a_time: Some(3_604),
        },
        store: StoreStatus {
            stalled_message: None,
            index_message: None,
            path: "/var/lib/tidegate".into(),
            bytes: 10_000_000,
            max_bytes: 1 << 30,
            commits: 77,
            flash: FlashStatus {
                stored: 5 << 20,
                written: Some(6 << 20),
                ratio: Some(1.2),
                device_written: Some(9 << 20),
                device_a_day: Some(3 << 30),
                endurance: Some(30_000_000_000_000),
                years: Some(25.53),
                unknown: String::new(),
                unknown_message: None,
            },
            code: String::new(),
            stalled: Some("no space left on device".into()),
            index: Some("the file system refuses the index: no space left on device".into()),
        },
        listener: Some(Connections {
            addresses: vec!["127.0.0.1:1883".into()],
            connections: Usage { now: 3, limit: 1000 },
            sessions: Usage { now: 2, limit: 4096 },
            turned_away: 9,
            turned_away_by: vec![RefusedCount { cause: "client id".into(), count: 7 }],
            code: String::new(),
        }),
        broker: Some(BrokerState { url: "mqtt://127.0.0.1:1884".into(), ..BrokerState::default() }),
        endpoint: "webhook https://api.soracom.io".into(),
        next_identity: Some(next_identity()),
        terms: crate::watch::TermsStatus::default(),
        budgets: budgets(),
        limits: vec![("batch".into(), "500 records, 64KiB or 270s".into())],
        limit_messages: Vec::new(),
        devices: DevicesStatus::default(),
        config_error_lines: Vec::new(),
        config_error: None,
        config_error_code: String::new(),
        config_needs_restart_code: String::new(),
        codes: Vec::new(),
        clock: ClockStatus {
            trusted: true,
            source: "answer".into(),
            since_ms: Some(1_795_336_000_000),
            correction_ms: 3_600_000,
            code: String::new(),
            asks: None,
        },
    }
}

fn budgets() -> BudgetsStatus {
    BudgetsStatus {
        budgets: vec![BudgetStatus {
            kind: "events_per_month".into(),
            unit: "events".into(),
            amount: Some(10_000),
            used: 7_200,
            left: Some(2_800),
            reserved: 140,
            ends_ms: Some(1_796_050_800_000),
            runs_out_ms: Some(1_795_900_000_000),
            told: false,
        }],
        held: vec![HeldStatus {
            lane: "normal".into(),
            limit: "events_per_month".into(),
            reason: "what is left is spread over what remains of the month".into(),
            until_ms: Some(1_795_336_230_000),
            ..HeldStatus::default()
        }],
        drain: Some(DrainStatus {
            records: 1200,
            events: 3,
            bytes: 200_000,
            month_thousandths: Some(12),
            time_ms: Some(900_000),
        }),
    }
}

fn source() -> Source {
    Arc::new(sample)
}

#[test]
fn the_log_is_set_up_once_and_its_level_changes() {
    use tracing::level_filters::LevelFilter;
    assert!(matches!(log::set_level(LevelFilter::INFO), Err(log::LogError::NotSetUp)));
    log::init(LevelFilter::ERROR, log::Target::Stderr).expect("the first time");
    assert!(!tracing::enabled!(target: "tidegate::x", tracing::Level::DEBUG));
    log::set_level(LevelFilter::DEBUG).expect("a level");
    assert!(tracing::enabled!(target: "tidegate::x", tracing::Level::DEBUG));
    assert!(!tracing::enabled!(target: "hyper::x", tracing::Level::INFO));
    assert!(matches!(log::init(LevelFilter::INFO, log::Target::Stderr), Err(log::LogError::Again(_))));
    log::set_level(LevelFilter::ERROR).expect("a level");
    assert!(!tracing::enabled!(target: "hyper::x", tracing::Level::WARN));
}
