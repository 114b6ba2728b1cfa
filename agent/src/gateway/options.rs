//! From the configuration to what each room is told. Nothing is decided here: a key goes where it belongs.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_protocol::LaneId;

use super::GatewayError;
use crate::clock::{Clock, synchronised};
use crate::collect::allow::{Allowed, Names};
use crate::collect::fields::Fields;
use crate::collect::mapping::{Rule, Rules};
use crate::collect::{broker, fields, listener};
use crate::config::{self, Config};
use crate::forward;
use crate::hardware;
use crate::provider::machine;
use crate::regular;
use crate::secret::Secret;
use crate::shape::{budget, wire};
use crate::store;

/// Sessions that the store keeps while no listener says how many: the most that a configuration may ask for.
const MAX_SESSIONS: usize = 100_000;

pub(super) fn rules(config: &Config) -> Result<Arc<Rules>, GatewayError> {
    let lane = |name: &str| {
        let index = config.lanes.iter().position(|lane| lane.name == name);
        LaneId(index.expect("the configuration takes no names of lanes that are not in it") as u8)
    };
    let rules = config.collect.rules.iter().map(|rule| Rule { topic: rule.topic.clone(), lane: lane(&rule.lane) });
    let fallback = config.collect.default_lane.as_deref().map(lane);
    let rules = Rules::new(rules.collect(), fallback)?;
    let fields = fields(&config.collect.fields, config.collect.pseudonym_key.as_ref())?;
    Ok(Arc::new(rules.serving(allowed(&config.collect)).treating(fields)))
}

/// What of payloads is kept.
pub(super) fn fields(rules: &[config::FieldRule], key: Option<&Secret>) -> Result<Fields, GatewayError> {
    let rule = |rule: &config::FieldRule| fields::Rule {
        topic: rule.topic.clone(),
        keep_only: rule.keep_only.clone(),
        drop: rule.drop.clone(),
        pseudonymise: rule.pseudonymise.clone(),
        round: rule.round.clone(),
        otherwise: if rule.store_untreated { fields::Otherwise::Store } else { fields::Otherwise::Refuse },
    };
    let rules: Vec<fields::Rule> = rules.iter().map(rule).collect();
    let key = key.map(|key| Arc::new(fields::Key::new(key.clone())));
    Ok(Fields::new(&rules, key.as_ref())?)
}

fn allowed(collect: &config::Collect) -> Allowed {
    let names = |list: &Option<Vec<String>>| list.as_ref().map(|list| Names::new(list.iter().map(String::as_str)));
    let allow = &collect.allow;
    Allowed {
        devices: names(&allow.devices).or_else(|| names(&collect.devices)),
        client_ids: names(&allow.client_ids),
        users: names(&allow.usernames),
        certificates: names(&allow.certificates),
    }
}

/// What the provider's machine is set to.
pub(super) fn machine(config: &Config) -> machine::Settings {
    let provider = &config.provider;
    machine::Settings {
        resume: provider.resume.spread,
        ramp: provider.resume.ramp,
        probe: (provider.probe.min, provider.probe.max),
        on_terms_change: match provider.on_terms_change {
            config::OnTermsChange::Continue => machine::OnTermsChange::Continue,
            config::OnTermsChange::Hold => machine::OnTermsChange::Hold,
        },
        calendar: calendar(config),
        ..machine::Settings::new(config.gateway.id.clone())
    }
}

pub(super) fn store(config: &Config, clock: Arc<dyn Clock>) -> store::Options {
    store::Options {
        path: config.store.path.clone(),
        gateway: config.gateway.id.clone(),
        lanes: config.lanes.iter().map(|lane| store_lane(lane, config.store.max_size)).collect(),
        max_size: config.store.max_size,
        min_size: config.store.min_bytes(),
        keep_free: config.store.keep_free,
        keep_free_inodes: config.store.keep_free_inodes,
        policy: match config.store.policy {
            config::Policy::DropOldest => store::Policy::DropOldest,
            config::Policy::Refuse => store::Policy::Refuse,
        },
        keep_delivered: config.store.keep_delivered,
        commit_within: config.store.commit_within,
        // A listener that is taken out for a while must find its sessions when it comes back.
        max_sessions: config.collect.listener.as_ref().map_or(MAX_SESSIONS, |listener| listener.max_sessions),
        hardware: hardware::this(&config.store.hardware),
        clock,
    }
}

fn store_lane(lane: &config::Lane, max_size: u64) -> store::LaneOptions {
    store::LaneOptions { name: lane.name.clone(), reserve: lane.reserve.of(max_size), max_age: lane.max_age }
}

pub(super) fn time(config: &Config) -> synchronised::Settings {
    let clock = &config.clock;
    synchronised::Settings { marker: clock.synchronised_marker.clone(), timedated: clock.timedated }
}

pub(super) fn listener(config: &config::Listener) -> listener::Options {
    listener::Options {
        plain: config.bind,
        tls: config.tls.as_ref().map(|tls| listener::TlsOptions {
            bind: tls.bind,
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            client_ca: tls.client_ca.clone(),
            require_client_certificate: tls.require_client_certificate,
        }),
        passwords: config.passwords_file.clone(),
        allow_anonymous: config.allow_anonymous,
        max_connections: config.max_connections,
        max_packet_size: config.max_packet_size,
        max_sessions: config.max_sessions,
        session_max_age: config.session_max_age,
        connect_timeout: config.connect_timeout,
        receive_maximum: config.receive_maximum,
        ..listener::Options::default()
    }
}

pub(super) fn broker(config: &config::Broker) -> broker::Options {
    broker::Options {
        tls: config.tls.then(|| broker::TlsOptions {
            ca_file: config.ca_file.clone(),
            client_certificate: config.client_certificate.clone(),
        }),
        protocol: match config.protocol {
            config::MqttVersion::V311 => broker::Protocol::V311,
            config::MqttVersion::V5 => broker::Protocol::V5,
        },
        credentials: config.username.as_ref().map(|username| broker::Credentials {
            username: username.clone(),
            password: config.password.clone().unwrap_or_else(|| Secret::new("")),
        }),
        keep_alive: config.keep_alive,
        session_expiry: config.session_expiry,
        inflight: config.inflight,
        max_packet_size: config.max_packet_size as usize,
        ..broker::Options::new(config.host.clone(), config.port, config.client_id.clone(), config.topics.clone())
    }
}

/// How the store's lanes take part, in its order. A lane that is no longer configured is in the store until it is empty,
/// and goes beside the others with the smallest weight.
fn forward_lanes(config: &Config, present: &[String]) -> Vec<forward::LaneOptions> {
    let configured = |name: &String| config.lanes.iter().find(|lane| lane.name == *name);
    let options =
        |lane: &config::Lane| forward::LaneOptions { weight: lane.weight, first: lane.first, windowed: lane.windowed };
    let left_over = forward::LaneOptions { weight: 1, first: false, windowed: false };
    present.iter().map(|name| configured(name).map_or(left_over, options)).collect()
}

/// The way into the Flux app.
pub(super) fn flux(target: &config::FluxTarget) -> forward::Flux {
    match target {
        config::FluxTarget::Webhook { url } => forward::Flux::Webhook { url: url.clone() },
        config::FluxTarget::Api { base_url, app_id, channel_id, auth_key_id, auth_key, token_timeout } => {
            forward::Flux::Api {
                base: base_url.clone(),
                app_id: app_id.clone(),
                channel_id: channel_id.clone(),
                auth_key_id: auth_key_id.clone(),
                auth_key: auth_key.clone(),
                token_timeout: *token_timeout,
            }
        }
        config::FluxTarget::Unified { url } => forward::Flux::Unified { url: url.clone() },
    }
}

/// `lanes`: the store's, by name, in its order.
pub(super) fn forward(config: &Config, lanes: &[String]) -> forward::Options {
    let forward = &config.forward;
    let flux = flux(&forward.target);
    forward::Options {
        batch: forward::BatchOptions {
            max_records: forward.batch.max_records,
            max_bytes: forward.batch.max_bytes,
            max_age: forward.batch.max_age,
            layout: match forward.batch.layout {
                config::Layout::Array => forward::Layout::Array,
                config::Layout::Single => forward::Layout::Single,
            },
        },
        replayed_after: forward.replayed_after,
        order: match forward.order {
            config::Order::OldestFirst => forward::Order::OldestFirst,
            config::Order::LiveFirst => forward::Order::LiveFirst,
        },
        backlog_share: forward.backlog_share,
        lanes: forward_lanes(config, lanes),
        backoff: forward::DelayRange { min: forward.backoff.min, max: forward.backoff.max },
        probe: forward::DelayRange { min: forward.backoff.probe_min, max: forward.backoff.probe_max },
        answer_timeout: forward.timeout,
        calendar: calendar(config),
        rules: config.provider.rules.clone(),
        events_count: match config.limits.events_count {
            config::EventsCount::Requests => forward::EventsCount::Requests,
            config::EventsCount::Records => forward::EventsCount::Records,
        },
        ..forward::Options::new(flux)
    }
}

fn calendar(config: &Config) -> budget::Calendar {
    match config.limits.calendar {
        config::Calendar::Jst => budget::Calendar::Jst,
        config::Calendar::Utc => budget::Calendar::Utc,
    }
}

/// Tells the configured endpoint with its credentials from others.
pub(super) fn fingerprint(config: &Config) -> u64 {
    forward(config, &[]).flux.fingerprint()
}

pub(super) fn wire(forward: &config::Forward) -> Result<wire::Options, GatewayError> {
    let roots = match &forward.ca_file {
        None => wire::Roots::System,
        Some(path) => wire::Roots::Pem(read(path)?),
    };
    let identity = match &forward.client_certificate {
        None => None,
        Some((certificates, key)) => Some(wire::ClientIdentity { certificates: read(certificates)?, key: read(key)? }),
    };
    let limit = forward.connect_timeout;
    let interface = forward.interface.clone();
    Ok(wire::Options {
        roots,
        identity,
        connect_timeout: limit,
        handshake_timeout: limit,
        interface,
        ..wire::Options::default()
    })
}

/// The door to the status page.
pub(super) fn page_wire(page: &config::StatusPage, forward: &config::Forward) -> Result<wire::Options, GatewayError> {
    let roots = match &page.ca_file {
        None => wire::Roots::System,
        Some(path) => wire::Roots::Pem(read(path)?),
    };
    let limit = forward.connect_timeout;
    let interface = page.interface.clone().or_else(|| forward.interface.clone());
    Ok(wire::Options { roots, connect_timeout: limit, handshake_timeout: limit, interface, ..wire::Options::default() })
}

/// The door to the host that the configuration names for the time.
pub(super) fn date_wire(config: &Config) -> Result<wire::Options, GatewayError> {
    let roots = match &config.clock.date.ca_file {
        None => wire::Roots::System,
        Some(path) => wire::Roots::Pem(read(path)?),
    };
    let limit = config.forward.connect_timeout;
    let interface = config.forward.interface.clone();
    Ok(wire::Options { roots, connect_timeout: limit, handshake_timeout: limit, interface, ..wire::Options::default() })
}

/// What is in force after a reload: the new configuration, with what only a restart changes as it was.
pub(super) fn in_force(new: Config, running: &Config) -> Config {
    let running = running.clone();
    // Rules name lanes, and lanes are the store's.
    let same_lanes = new.lanes.iter().map(|lane| &lane.name).eq(running.lanes.iter().map(|lane| &lane.name));
    let (lanes, rules, default_lane) = if same_lanes {
        let lanes = new.lanes.into_iter().zip(running.lanes);
        let lanes = lanes.map(|(new, old)| config::Lane {
            first: new.first,
            weight: new.weight,
            windowed: new.windowed,
            ..old
        });
        (lanes.collect(), new.collect.rules, new.collect.default_lane)
    } else {
        (running.lanes, running.collect.rules, running.collect.default_lane)
    };
    Config {
        gateway: running.gateway,
        collect: config::Collect {
            listener: running.collect.listener,
            broker: running.collect.broker,
            default_lane,
            rules,
            ..new.collect
        },
        store: running.store,
        lanes,
        clock: config::Clock {
            date: config::Date { ca_file: running.clock.date.ca_file, ..new.clock.date },
            ..new.clock
        },
        forward: config::Forward {
            ca_file: running.forward.ca_file,
            client_certificate: running.forward.client_certificate,
            connect_timeout: running.forward.connect_timeout,
            interface: running.forward.interface,
            ..new.forward
        },
        limits: new.limits,
        provider: config::Provider {
            statuspage: config::StatusPage {
                interface: running.provider.statuspage.interface,
                ca_file: running.provider.statuspage.ca_file,
                ..new.provider.statuspage
            },
            ..new.provider
        },
        // The broker intake is told the topic at its start.
        alarm: config::Alarm { topic: running.alarm.topic, ..new.alarm },
        control: running.control,
        metrics: running.metrics,
        log: config::Log { target: running.log.target, ..new.log },
        warnings: new.warnings,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, GatewayError> {
    let bytes = || {
        let mut bytes = Vec::new();
        regular::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    bytes().map_err(|source| GatewayError::Read { path: PathBuf::from(path), source })
}
