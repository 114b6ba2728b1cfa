//! The table, row by row.

use super::*;
use crate::shape::wire::WireError;
use Trouble::{Answered, HostUnreachable, NoWay, Other as Failed, Refused, Silence};

fn interface(name: &str, operstate: &str, carrier: Option<bool>) -> Interface {
    Interface { name: name.into(), operstate: operstate.into(), carrier }
}

/// A line that is up, over which the metadata service answered a minute ago; Flux fails for two minutes.
fn evidence(failure: Failure) -> Evidence {
    Evidence {
        failure,
        failing_for: Duration::from_secs(120),
        links: Links {
            default_routes: Some(vec!["wwan0".into()]),
            interfaces: vec![interface("eth0", "down", Some(false)), interface("wwan0", "unknown", Some(true))],
            listed: true,
        },
        interface: None,
        others: vec![other("metadata service", Some(60), false)],
        clock_trusted: true,
    }
}

fn other(who: &'static str, answered: Option<u64>, failed: bool) -> Other {
    let last = if failed { Some(Reach::Nobody) } else { answered.map(|_| Reach::Host) };
    Other { who, answered_ago: answered.map(Duration::from_secs), last, same_line: true }
}

fn connecting(stage: Stage, trouble: Trouble) -> Failure {
    Failure::Connecting { stage, trouble, errno: None }
}

fn caused(evidence: &Evidence) -> Cause {
    judge(evidence).cause
}

#[test]
fn what_was_answered_over_http_is_the_providers_whatever_else_is_so() {
    let mut all = evidence(Failure::Answered(503));
    assert_eq!(caused(&all), Cause::Provider);
    all.others = vec![other("metadata service", None, true)];
    all.links = Links::default();
    all.clock_trusted = false;
    assert_eq!(caused(&all), Cause::Provider);
}

#[test]
fn who_refuses_may_stand_on_the_own_side_and_then_other_hosts_are_out_of_reach_too() {
    for failure in [Failure::Cut, connecting(Stage::Tcp, Refused), connecting(Stage::Tls, Refused)] {
        let with = |others: &[Other]| caused(&Evidence { others: others.to_vec(), ..evidence(failure) });
        let (metadata, page) =
            (|ago, failed| other("metadata service", ago, failed), |ago, failed| other("page", ago, failed));
        let names = |ago| other(NAME_SERVER, Some(ago), false);
        for (others, cause) in [
            // Nobody else was asked, or nobody since it failed: somebody refused, and that is all.
            (vec![], Cause::Provider),
            (vec![metadata(None, false), page(None, false)], Cause::Provider),
            (vec![page(Some(200), false)], Cause::Provider),
            (vec![names(1)], Cause::Provider),
            // Others answer.
            (vec![metadata(Some(60), false)], Cause::Provider),
            (vec![metadata(Some(60), false), page(Some(10), false)], Cause::Provider),
            // One of two.
            (vec![metadata(Some(60), false), page(None, true)], Cause::Unknown),
            (vec![metadata(Some(60), true), page(Some(10), false)], Cause::Unknown),
            // None: names may be asked through a firewall that refuses connections.
            (vec![page(None, true)], Cause::OwnLine),
            (vec![page(Some(130), true), names(1)], Cause::OwnLine),
            (vec![metadata(None, true), page(None, true)], Cause::OwnLine),
            (vec![metadata(Some(200), false), page(None, true)], Cause::OwnLine),
            // Over another line it tells nothing of this one.
            (vec![Other { same_line: false, ..page(None, true) }], Cause::Provider),
            (vec![Other { same_line: false, ..page(Some(1), false) }, metadata(None, true)], Cause::OwnLine),
        ] {
            assert_eq!(with(&others), cause, "{failure:?} {others:?}");
        }
        let bare = Evidence { others: vec![], links: Links::default(), clock_trusted: false, ..evidence(failure) };
        assert_eq!(caused(&bare), Cause::Provider, "{failure:?}");
    }
}

#[test]
fn an_answer_that_something_in_between_may_have_given_proves_neither_side() {
    let met = |who, last| Other { last: Some(last), ..other(who, None, false) };
    let in_between = met("metadata service", Reach::Somebody);
    for failure in [Failure::Cut, connecting(Stage::Tcp, Refused), connecting(Stage::Tcp, Silence), Failure::Silent] {
        let with = |others: &[Other]| caused(&Evidence { others: others.to_vec(), ..evidence(failure) });
        assert_eq!(with(&[in_between]), Cause::Unknown, "{failure:?}");
        assert_eq!(with(&[in_between, met("page", Reach::Nobody)]), Cause::Unknown, "{failure:?}");
        assert_eq!(with(&[in_between, other("page", Some(60), false)]), Cause::Provider, "{failure:?}");
    }
    let told = judge(&Evidence { others: vec![in_between], ..evidence(Failure::Cut) });
    assert!(told.facts.iter().any(|it| it.is == "something in between may have answered for it"), "{told:?}");
}

#[test]
fn what_this_machine_sees_itself_is_its_own_whoever_answered() {
    for failure in [connecting(Stage::Name, NoWay), connecting(Stage::Tcp, NoWay), connecting(Stage::Setup, Failed)] {
        assert_eq!(caused(&evidence(failure)), Cause::OwnLine, "{failure:?}");
    }
    for stage in [Stage::Name, Stage::Tcp, Stage::Tls] {
        let silent = || evidence(connecting(stage, Silence));
        let no_route = Evidence { links: Links { default_routes: Some(vec![]), ..silent().links }, ..silent() };
        assert_eq!(caused(&no_route), Cause::OwnLine, "{stage:?}");
        let mut no_carrier = silent();
        no_carrier.links.interfaces[1].carrier = Some(false);
        assert_eq!(caused(&no_carrier), Cause::OwnLine, "{stage:?}");
        let mut down = silent();
        down.links.interfaces[1].operstate = "down".into();
        assert_eq!(caused(&down), Cause::OwnLine, "{stage:?}");
        // One of two that is up will do, and the interface that is configured is the one that counts.
        let mut two = down.clone();
        two.links.default_routes.as_mut().expect("some").push("eth1".into());
        two.links.interfaces.push(interface("eth1", "up", Some(true)));
        assert_eq!(caused(&two), Cause::Provider, "{stage:?}");
        assert_eq!(caused(&Evidence { interface: Some("wwan0".into()), ..two.clone() }), Cause::OwnLine);
        assert_eq!(caused(&Evidence { interface: Some("eth1".into()), ..two.clone() }), Cause::Provider);
        let gone = judge(&Evidence { interface: Some("ppp0".into()), ..two });
        assert_eq!(gone.cause, Cause::OwnLine);
        assert!(gone.facts.iter().any(|it| it.of == "interface ppp0" && it.is == "is not there"), "{gone:?}");
    }
}

#[test]
fn where_the_attempt_says_little_the_others_decide() {
    let failures = [
        connecting(Stage::Name, Silence),
        connecting(Stage::Tcp, Silence),
        connecting(Stage::Tcp, HostUnreachable),
        connecting(Stage::Tls, Silence),
        Failure::Silent,
    ];
    for failure in failures {
        let with = |others: &[Other]| caused(&Evidence { others: others.to_vec(), ..evidence(failure) });
        assert_eq!(with(&[other("a", Some(60), false)]), Cause::Provider, "{failure:?}");
        assert_eq!(with(&[other("a", Some(60), false), other("b", None, true)]), Cause::Provider, "{failure:?}");
        // It answered before Flux failed: that says nothing of now.
        assert_eq!(with(&[other("a", Some(121), false)]), Cause::Unknown, "{failure:?}");
        assert_eq!(with(&[other("a", Some(60), true)]), Cause::OwnLine, "{failure:?}");
        assert_eq!(with(&[other("a", None, true), other("b", None, false)]), Cause::OwnLine, "{failure:?}");
        assert_eq!(with(&[other("a", None, false)]), Cause::Unknown, "{failure:?}");
        assert_eq!(with(&[]), Cause::Unknown, "{failure:?}");
        // Whoever is asked over another line proves nothing of this one.
        let elsewhere = Other { same_line: false, ..other("page", Some(60), false) };
        assert_eq!(with(&[elsewhere]), Cause::Unknown, "{failure:?}");
        assert_eq!(with(&[Other { last: Some(Reach::Nobody), ..elsewhere }]), Cause::Unknown, "{failure:?}");
        let at = |failing: u64, ago: u64| {
            let failing_for = Duration::from_secs(failing);
            let others = vec![other("a", Some(ago), false)];
            caused(&Evidence { failing_for, others, ..evidence(failure) })
        };
        assert_eq!((at(0, 30), at(0, 31)), (Cause::Provider, Cause::Unknown), "at the first failure");
        assert_eq!((at(86_400, 900), at(86_400, 901)), (Cause::Provider, Cause::Unknown), "lately");
    }
}

#[test]
fn a_certificate_is_the_clocks_fault_while_that_is_not_right_and_a_lost_name_is_nobodys() {
    let certificate = evidence(connecting(Stage::Tls, Answered));
    assert_eq!(caused(&certificate), Cause::Unknown);
    let wrong = judge(&Evidence { clock_trusted: false, ..certificate });
    assert_eq!(wrong.cause, Cause::OwnLine);
    assert!(wrong.facts.iter().any(|it| it.of == "clock"), "{wrong:?}");
    let name = evidence(connecting(Stage::Name, Answered));
    assert_eq!(caused(&name), Cause::Unknown);
    assert_eq!(caused(&Evidence { others: vec![], ..name.clone() }), Cause::Unknown);
    // A name server on the site says so when it hears of nobody.
    assert_eq!(caused(&Evidence { others: vec![other("a", None, true)], ..name }), Cause::OwnLine);
}

#[test]
fn a_system_that_tells_nothing_of_links_is_no_evidence() {
    let all = Evidence { links: Links::default(), ..evidence(connecting(Stage::Tcp, Silence)) };
    assert_eq!(caused(&all), Cause::Provider);
    assert_eq!(caused(&Evidence { interface: Some("wwan0".into()), ..all }), Cause::Provider);
}

#[test]
fn the_evidence_is_said_in_short_facts_and_bounded() {
    let failure = Failure::Connecting { stage: Stage::Tcp, trouble: Silence, errno: Some(110) };
    let finding = judge(&evidence(failure));
    let said: Vec<String> = finding.facts.iter().map(|it| format!("{}: {}", it.of, it.is)).collect();
    assert_eq!(
        said,
        [
            "tcp: no answer in time (errno 110)",
            "route: default through wwan0",
            "interface wwan0: unknown, carrier",
            "metadata service: answered 60 s ago"
        ]
    );
    let json = serde_json::to_string(&finding).expect("JSON");
    assert!(json.starts_with(r#"{"cause":"provider","facts":[{"of":"tcp","#), "{json}");
    assert_eq!(serde_json::from_str::<Finding>(&json).expect("it is read again"), finding);
    let many = vec![other("x", None, false); 100];
    assert_eq!(judge(&Evidence { others: many, ..evidence(failure) }).facts.len(), FACTS);
}

#[test]
fn a_connection_that_broke_is_judged_by_what_the_system_said() {
    use rustix::io::Errno;
    let broken = |errno: Errno| Failure::broken(&std::io::Error::from_raw_os_error(errno.raw_os_error()));
    assert_eq!(broken(Errno::CONNRESET), Failure::Cut);
    assert_eq!(broken(Errno::TIMEDOUT), Failure::Silent);
    assert_eq!(caused(&evidence(broken(Errno::NETUNREACH))), Cause::OwnLine);
    assert_eq!(Failure::broken(&std::fmt::Error), Failure::Cut);
}

#[test]
fn a_failed_connection_is_evidence_as_it_comes() {
    let error = WireError::Connect {
        host: "h".into(),
        port: 1,
        source: std::io::Error::from_raw_os_error(rustix::io::Errno::NETUNREACH.raw_os_error()),
    };
    assert_eq!(caused(&evidence(Failure::from(&error))), Cause::OwnLine);
}
