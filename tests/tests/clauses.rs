//! What the SORACOM Flux terms ask of a gateway, clause by clause, each stance and each parser of what comes from outside,
//! with the tests that show it. The lists are checked: every test that they name is there and runs, and every stance has one
//! in which the agent is killed.
//!
//! The clauses that are not the gateway's part (who may contract, resale, intellectual property, law and court) have no row.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use tidegate_protocol::stance::Stance;

/// A row: the clause, what it asks, and `file::test` for those that show it. Files are below the tree's root; those without
/// a folder are in `tests/tests`.
type Row = (&'static str, &'static str, &'static [&'static str]);

const CLAUSES: [Row; 20] = [
    (
        "1.2",
        "changed terms are logged, or hold until a person accepts them",
        &[
            "stance.rs::changed_terms_hold_until_a_person_accepts_them_if_so_configured",
            "stance.rs::changed_terms_are_only_logged_unless_configured_otherwise",
        ],
    ),
    (
        "3.4(2), 5.2(1)(3)",
        "the identity changes at its time, and nothing is sent under the wrong one",
        &[
            "identity.rs::every_record_arrives_under_exactly_one_identity_and_none_under_the_wrong_one",
            "identity.rs::kills_around_the_switch_lose_nothing_and_send_nothing_under_the_wrong_identity",
            "moved.rs::a_signed_notice_moves_the_change_of_identity_to_its_time_and_a_kill_moves_nothing_back",
            "moved.rs::while_the_old_identity_is_suspended_the_change_is_made_and_ends_that",
            "moved.rs::a_suspension_by_notice_outlasts_the_change_and_its_probes_go_under_the_new_identity",
        ],
    ),
    (
        "3.5(3), 7.1",
        "secrets come from files and are shown nowhere; TLS where the endpoint has it",
        &[
            "kinds.rs::a_webhooks_url_comes_from_a_file_and_is_shown_nowhere",
            "kinds.rs::https_is_spoken_to_an_endpoint_whose_authority_is_known_and_to_no_other",
            "agent/src/forward/tests/secrets.rs::secrets_show_in_no_log_no_debug_output_no_reason_and_no_error",
            "agent/src/config/tests/secrets.rs::no_message_repeats_a_secret_that_stands_where_its_file_should",
        ],
    ),
    ("5.1(1)", "in an emergency only what goes first leaves", &["stance.rs::under_yield_only_what_goes_first_leaves"]),
    (
        "5.1(2)",
        "rate, burst and share; throttling is followed downward at once and upward slowly",
        &[
            "shape/main.rs::what_leaves_and_comes_in_is_what_the_limit_allows_and_what_is_counted",
            "stance.rs::a_restriction_is_a_limit_that_says_where_it_comes_from",
            "unannounced.rs::a_429_halves_what_leaves_at_once_and_a_kill_forgets_nothing_of_it",
            "rests.rs::what_an_answer_asks_to_wait_is_kept_to_over_kills_and_then_one_request_shows_whether_it_is_over",
            "agent/src/provider/machine/throttle.rs::each_answer_halves_the_rate_at_once_and_minutes_give_it_back_slowly",
        ],
    ),
    (
        "5.1(3)",
        "suspended: nothing but a rare probe of one record, and what a person should do",
        &[
            "stance.rs::a_suspension_in_answers_stops_all_but_a_rare_probe_of_one_record_and_ends_with_one_that_is_accepted",
            "stance.rs::a_suspension_by_notice_ends_with_the_notice",
            "stance.rs::the_sims_own_status_suspends_and_lifts",
            "expiry.rs::an_expiry_that_suspends_is_shown_ahead_drained_for_and_stops_at_its_time_until_it_is_extended",
            "gone.rs::a_410_in_plain_http_suspends_and_the_probe_that_is_taken_ends_that",
            "between.rs::reloads_on_a_suspended_sim_send_one_record_a_minute_at_most",
        ],
    ),
    (
        "5.2(1)",
        "maintenance with its cause and window",
        &[
            "stance.rs::an_announced_maintenance_is_told_ahead_stops_at_its_start_and_ends_at_a_moment_of_its_own",
            "statuspage.rs::a_maintenance_that_the_page_tells_stops_sending_until_the_page_says_it_is_over",
            "statuspage.rs::without_a_clock_a_window_that_the_page_announces_begins_and_ends_by_the_pages_own_date",
            "statuspage.rs::without_a_clock_a_page_that_is_gone_shuts_no_longer_than_its_window_which_one_event_shows",
            "elsewhen.rs::with_a_clock_in_1980_a_window_ahead_one_under_way_and_one_past_are_told_apart_by_when_notices_were_issued",
            "elsewhen.rs::the_time_that_an_answer_tells_begins_a_window_that_was_ahead_and_ends_nothing_that_holds",
        ],
    ),
    (
        "5.2(2)",
        "announced: drained before, ended by the provider's word; unannounced: recognised from the answers",
        &[
            "expiry.rs::an_expiry_that_suspends_is_shown_ahead_drained_for_and_stops_at_its_time_until_it_is_extended",
            "amended.rs::a_maintenance_that_is_amended_to_end_late_holds_until_its_new_end",
            "amended.rs::a_maintenance_that_is_amended_to_end_early_ends_then",
            "amended.rs::a_maintenance_that_is_amended_to_have_ended_already_ends_at_once",
            "amended.rs::a_maintenance_that_is_withdrawn_or_put_off_before_it_begins_stops_nothing",
            "amended.rs::a_maintenance_that_the_page_lists_beyond_its_end_holds_and_one_event_shows_when_it_is_over",
            "stance.rs::an_unannounced_maintenance_in_answers_waits_and_then_asks_with_one_event",
            "unannounced.rs::refusals_for_half_a_minute_are_an_interruption_and_a_line_of_ones_own_that_is_down_is_none",
        ],
    ),
    (
        "5.3, 6.2",
        "ended: stopped for good, the buffer kept and exported",
        &[
            "stance.rs::after_the_end_nothing_is_sent_any_more_not_even_a_probe_and_the_buffer_can_be_exported",
            "gone.rs::a_410_over_tls_ends_it_and_not_a_byte_is_sent_any_more_until_another_endpoint_is_configured",
            "ended.rs::nothing_leads_out_by_itself_and_status_says_what_does_until_a_signed_notice_withdraws_the_answer",
            "expiry.rs::an_expiry_that_terminates_ends_it_and_only_another_word_of_the_service_or_of_a_person_brings_it_back",
        ],
    ),
    (
        "7.3(3)",
        "notices are kept: what, when, from whom, what the agent did",
        &[
            "notices.rs::a_notice_is_made_shown_applied_and_seen_and_a_repeat_changes_nothing",
            "notices.rs::each_kind_has_its_stance_until_it_is_withdrawn",
            "between.rs::what_a_person_did_is_in_the_log_of_notices_at_once",
        ],
    ),
    (
        "9.3(2)",
        "unknown fields and kinds are tolerated, counted and shown",
        &[
            "statuspage.rs::a_page_that_answers_nonsense_or_nothing_is_shown_and_delivery_goes_on",
            "terms.rs::a_service_that_does_not_answer_or_answers_nonsense_is_shown_and_delivery_goes_on",
            "terms.rs::a_terms_file_binds_and_when_it_turns_bad_the_last_good_one_stays_in_force",
        ],
    ),
    (
        "10.1(4)(3)",
        "a local alarm when nothing is delivered",
        &[
            "alarm.rs::when_nothing_is_delivered_it_sounds_on_the_listener_and_by_the_command_and_once_more_when_it_is_over",
            "alarm.rs::an_alarm_in_force_outlives_a_kill_and_its_end_is_told_after_it",
        ],
    ),
    (
        "10.1(4)(5), 10.1(5)",
        "fields are dropped, rounded or pseudonymised before a record is stored",
        &[
            "fields.rs::real_clients_at_every_qos_leave_no_trace_of_what_is_dropped",
            "replayed.rs::what_is_sent_again_is_what_was_stored_whatever_the_rules_for_fields_are_now",
        ],
    ),
    (
        "10.1(6)",
        "an event rate and a monthly budget; a spent quota",
        &[
            "budget.rs::of_five_events_five_requests_are_made_the_last_by_an_alarm_and_then_status_says_why_and_until_when",
            "budget.rs::in_a_minute_leave_no_more_events_than_are_permitted_and_alarms_have_their_part",
            "quota.rs::after_an_answer_that_the_quota_is_spent_nothing_is_sent_until_the_month_turns",
            "stance.rs::a_spent_quota_stops_until_its_end",
        ],
    ),
    (
        "11.1(1), (2)",
        "devices that are not listed are refused at the door and counted",
        &[
            "allow.rs::clients_that_are_not_listed_are_refused_at_connect_in_both_versions",
            "allow.rs::a_device_that_is_not_listed_is_refused_at_publish_with_the_answer_that_its_version_has",
        ],
    ),
    (
        "11.1(3)",
        "the sustained limit, on wire bytes with their headers",
        &[
            "shape/main.rs::what_leaves_and_comes_in_is_what_the_limit_allows_and_what_is_counted",
            "budget.rs::a_day_of_bytes_ends_sending_before_it_is_exceeded",
        ],
    ),
    (
        "11.1(13), (15)",
        "documented endpoints only, nobody else is asked; one identity",
        &[
            "statuspage.rs::where_the_endpoint_is_not_soracoms_nobodys_page_is_asked",
            "terms.rs::over_a_line_that_is_not_known_to_be_soracoms_nobody_is_asked",
            "identity.rs::every_record_arrives_under_exactly_one_identity_and_none_under_the_wrong_one",
        ],
    ),
    (
        "12, 17.3",
        "the month's events and bytes so far, and when the budget runs out",
        &[
            "budget.rs::of_five_events_five_requests_are_made_the_last_by_an_alarm_and_then_status_says_why_and_until_when",
            "budget.rs::what_draining_costs_is_about_what_was_said_before",
        ],
    ),
    (
        "15.2(2)",
        "the outage ledger: evidence, one's own line apart, what can be claimed",
        &[
            "outages.rs::errors_of_flux_are_an_interval_of_the_provider_from_the_first_failure_to_the_first_success",
            "outages.rs::a_kill_breaks_no_interval_and_the_time_it_was_off_is_not_claimed",
            "outages.rs::a_file_edited_by_hand_is_found_with_the_line_and_the_gateway_goes_on",
            "unannounced.rs::refusals_for_half_a_minute_are_an_interruption_and_a_line_of_ones_own_that_is_down_is_none",
        ],
    ),
    (
        "15.2(6), 17.1(1)",
        "what was delivered is kept for a while and sent again on request",
        &[
            "buffer.rs::delivered_records_that_are_kept_are_delivered_again_when_that_is_asked_for",
            "replayed.rs::what_is_sent_again_is_what_was_stored_whatever_the_rules_for_fields_are_now",
            "replayed.rs::what_is_asked_for_again_while_the_provider_lets_nothing_out_waits_like_all_else",
        ],
    ),
];

/// For each stance a test in which the agent is killed under it.
const KILLED: [(Stance, &str); 7] = [
    (
        Stance::Ended,
        "gone.rs::a_410_over_tls_ends_it_and_not_a_byte_is_sent_any_more_until_another_endpoint_is_configured",
    ),
    (Stance::Suspended, "stance.rs::a_suspension_by_notice_ends_with_the_notice"),
    (Stance::Held, "stance.rs::a_hold_of_the_operator_stops_sending_until_resume_and_survives_a_kill"),
    (Stance::Quota, "quota.rs::after_an_answer_that_the_quota_is_spent_nothing_is_sent_until_the_month_turns"),
    (Stance::Maintenance, "amended.rs::a_maintenance_that_is_amended_to_end_late_holds_until_its_new_end"),
    (Stance::Yield, "stance.rs::under_yield_only_what_goes_first_leaves"),
    (Stance::Restricted, "unannounced.rs::a_429_halves_what_leaves_at_once_and_a_kill_forgets_nothing_of_it"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the tree")
}

/// The text of a test, from its name to the next function's; or what is wrong with `file::test`.
fn test(named: &str) -> Result<String, String> {
    let (file, name) = named.split_once("::").ok_or("not file::test")?;
    let path = if file.starts_with("agent/") { root().join(file) } else { root().join("tests/tests").join(file) };
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let at = text.find(&format!("fn {name}()")).ok_or_else(|| format!("{} has no {name}", path.display()))?;
    let above = text[..at].trim_end_matches("async ").trim_end().lines().rev().map(str::trim);
    let attributes: Vec<&str> = above.take_while(|line| line.starts_with("#[") || line.starts_with("//")).collect();
    if !attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test")) {
        return Err(format!("{name} is no test: above it stands {attributes:?}"));
    }
    if attributes.iter().any(|line| line.starts_with("#[ignore")) {
        return Err(format!("{name} is ignored"));
    }
    let rest = &text[at..];
    Ok(rest[..rest.find("\nfn ").or_else(|| rest.find("\n#[")).unwrap_or(rest.len())].to_owned())
}

#[test]
fn every_clause_has_tests_that_are_there() {
    let named = CLAUSES.iter().flat_map(|(_, _, tests)| *tests).chain(KILLED.iter().map(|(_, test)| test));
    let wrong: Vec<String> = named.filter_map(|named| test(named).err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(CLAUSES.iter().all(|(clause, what, tests)| !clause.is_empty() && !what.is_empty() && !tests.is_empty()));
    assert!(test("stance.rs::setup").is_err() && test("stance.rs::none").is_err() && test("none.rs::none").is_err());
}

#[test]
fn every_stance_has_a_test_in_which_the_agent_is_killed_under_it() {
    for stance in Stance::ALL.into_iter().filter(|stance| *stance != Stance::Open) {
        let (_, named) = KILLED.iter().find(|(of, _)| *of == stance).unwrap_or_else(|| panic!("none for {stance}"));
        let text = test(named).expect("it is there");
        assert!(text.contains(".kill()") || text.contains("survives_a_kill("), "{named} kills nobody");
        assert!(text.contains(&format!("\"{stance}\"")), "{named} is not about {stance}");
    }
}

/// What reads bytes from outside, and the fuzz target that hands it any.
const PARSERS: [(&str, &str); 23] = [
    ("agent/src/collect/listener", "intake"),
    ("agent/src/collect/fields", "fields"),
    ("agent/src/collect/certificate.rs", "certificate"),
    ("agent/src/config", "config"),
    ("agent/src/config/notice.rs", "notice"),
    ("protocol/src/notice", "notice"),
    ("agent/src/provider/inbox.rs", "notice"),
    ("agent/src/provider/machine/state.rs", "machine"),
    ("agent/src/provider/statuspage/document.rs", "statuspage"),
    ("agent/src/provider/metadata/subscriber.rs", "subscriber"),
    ("agent/src/forward/verdict.rs", "judge"),
    ("agent/src/answer/rule.rs", "judge"),
    ("agent/src/shape/wire/resolve/message.rs", "names"),
    ("agent/src/outage/read.rs", "outages"),
    ("agent/src/store/journal/frame.rs", "decode"),
    ("agent/src/store/journal/recover.rs", "recovery"),
    ("agent/src/store/journal/segment.rs", "recovery"),
    ("agent/src/watch/control.rs", "control"),
    ("agent/src/store/look/ask.rs", "control"),
    ("agent/src/provider/question.rs", "control"),
    ("agent/src/provider/machine/log.rs", "log"),
    ("agent/src/field/path.rs", "fields"),
    ("agent/src/glob.rs", "statuspage"),
];

#[test]
fn every_parser_of_what_comes_from_outside_has_a_fuzz_target() {
    for (parser, target) in PARSERS {
        assert!(root().join(parser).exists(), "{parser} is not there");
        assert!(fuzz_target(target).is_file(), "{parser} has no fuzz target {target}");
    }
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("the fuzz targets' manifest");
    let folder = std::fs::read_dir(root().join("fuzz/fuzz_targets")).expect("the fuzz targets");
    for file in folder.flatten().map(|entry| entry.path()) {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not built");
        assert!(PARSERS.iter().any(|(_, target)| *target == name), "{name} is for no parser");
    }
}

fn fuzz_target(name: &str) -> PathBuf {
    root().join("fuzz/fuzz_targets").join(name).with_extension("rs")
}
