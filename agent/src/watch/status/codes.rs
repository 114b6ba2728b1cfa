//! Which code stands beside what. Pure: the status as it was gathered is looked at, and nothing else.

use super::{BrokerState, GroundStatus, InboxStatus, OutageStatus, Status};
use crate::code::Code;

impl Status {
    /// Puts the codes beside what is wrong. What only the rooms can tell, the verdict's, is there already.
    pub fn mark(&mut self) {
        let refused = if self.config_kept { Code::ConfigKept } else { Code::ReloadRefused };
        put(&mut self.config_error_code, self.config_error.as_ref().map(|_| refused));
        put(
            &mut self.config_needs_restart_code,
            (!self.config_needs_restart.is_empty()).then_some(Code::RestartNeeded),
        );
        put(&mut self.clock.code, (!self.clock.trusted).then_some(Code::Clock));
        for ground in self.stance.grounds.iter_mut().chain(&mut self.stance.ahead) {
            let code = of_ground(ground);
            put(&mut ground.code, code);
        }
        if let Some(page) = &mut self.stance.page {
            put(&mut page.code, (!page.problem.is_empty()).then_some(Code::StatusPage));
        }
        of_inbox(&mut self.stance.inbox);
        of_outage(&mut self.outage);
        put(&mut self.store.code, self.store.stalled.as_ref().map(|_| Code::StoreStalled));
        if let Some(listener) = &mut self.listener {
            put(&mut listener.code, (listener.turned_away > 0).then_some(Code::DeviceRefused));
        }
        if let Some(broker) = &mut self.broker {
            let code = of_broker(broker);
            put(&mut broker.code, code);
        }
        if let Some(sim) = &mut self.terms.sim {
            put(&mut sim.code, (!sim.problem.is_empty()).then_some(Code::Metadata));
        }
        if let Some(file) = &mut self.terms.file {
            put(&mut file.code, file.error.as_ref().map(|_| Code::TermsFile));
        }
        for held in &mut self.budgets.held {
            // A window that is closed is no trouble: it opens.
            put(&mut held.code, (held.limit != "windows").then_some(Code::QuotaSpent));
        }
        let counts = &mut self.counts;
        counts.codes = [
            ("evicted", counts.evicted, Code::StoreFull),
            ("damaged", counts.damaged, Code::StoreDamaged),
            ("put_aside", counts.put_aside, Code::PutAside),
            ("refused", counts.refused, Code::RecordRefused),
        ]
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(name, _, code)| (name.to_owned(), code.to_string()))
        .collect();
        self.codes = self.asking();
    }

    /// The codes of what asks for action now. Counts do not: they never fall, and what they count may be years past. Nor does
    /// what ends by itself.
    fn asking(&self) -> Vec<String> {
        let by_itself = [Code::Restricted, Code::Maintenance, Code::Emergency].map(|code| code.to_string());
        let mut all = vec![&self.config_error_code, &self.store.code];
        all.extend(self.stance.grounds.iter().map(|ground| &ground.code));
        all.extend([&self.verdict.code, &self.outage.code]);
        all.extend(self.broker.iter().map(|broker| &broker.code));
        all.extend(self.terms.file.iter().map(|file| &file.code));
        all.extend(self.terms.sim.iter().map(|sim| &sim.code));
        all.extend(self.stance.page.iter().map(|page| &page.code));
        all.extend([&self.stance.inbox.folder_code, &self.clock.code, &self.config_needs_restart_code]);
        let mut codes: Vec<String> = Vec::new();
        for code in all {
            if !code.is_empty() && !by_itself.contains(code) && !codes.contains(code) {
                codes.push(code.clone());
            }
        }
        codes
    }
}

fn put(to: &mut String, code: Option<Code>) {
    *to = code.map_or_else(String::new, |code| code.to_string());
}

fn of_ground(ground: &GroundStatus) -> Option<Code> {
    Some(match ground.stance.as_str() {
        "ended" => Code::Ended,
        "suspended" => Code::Suspended,
        // The operator's own hold rests on no clause.
        "held" if ground.clause.is_empty() => Code::OperatorHold,
        "held" => Code::TermsHeld,
        "quota" => Code::QuotaSpent,
        "maintenance" => Code::Maintenance,
        "yield" => Code::Emergency,
        "restricted" => Code::Restricted,
        _ => return None,
    })
}

fn of_inbox(inbox: &mut InboxStatus) {
    put(&mut inbox.folder_code, inbox.folder_problem.as_ref().map(|_| Code::Permissions));
    for refused in &mut inbox.last {
        put(&mut refused.error_code, Some(Code::of_notice(&refused.code)));
    }
}

/// The alarm says more than that the ledger cannot be written.
fn of_outage(outage: &mut OutageStatus) {
    let problem = outage.problem.as_ref().map(|_| Code::CannotWrite);
    put(&mut outage.code, if outage.alarm { Some(Code::NothingDelivered) } else { problem });
}

fn of_broker(broker: &BrokerState) -> Option<Code> {
    let refuses = broker.last_error.starts_with("the broker refuse");
    match (broker.connected, refuses) {
        (true, false) => None,
        (_, true) => Some(Code::BrokerRefuses),
        (false, false) => Some(Code::BrokerUnreachable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::{ClockStatus, StanceStatus};

    fn quiet() -> Status {
        Status { clock: ClockStatus { trusted: true, ..ClockStatus::default() }, ..Status::default() }
    }

    #[test]
    fn where_nothing_is_wrong_there_is_no_code() {
        let mut status = quiet();
        status.mark();
        assert_eq!(status, quiet());
    }

    #[test]
    fn each_ground_has_its_code_and_what_ends_by_itself_asks_for_nothing() {
        for (stance, clause, code, asks) in [
            ("ended", "5.3", "TG-504", true),
            ("suspended", "5.1(3)", "TG-503", true),
            ("held", "1.2", "TG-505", true),
            ("held", "", "TG-506", true),
            ("quota", "10.1(6)", "TG-507", true),
            ("maintenance", "5.2(1)", "TG-509", false),
            ("yield", "5.1(1)", "TG-510", false),
            ("restricted", "5.1(2)", "TG-508", false),
        ] {
            let ground = GroundStatus { stance: stance.into(), clause: clause.into(), ..GroundStatus::default() };
            let mut status = quiet();
            status.stance = StanceStatus { grounds: vec![ground], ..StanceStatus::default() };
            status.mark();
            assert_eq!(status.stance.grounds[0].code, code);
            assert_eq!(status.codes.contains(&code.to_owned()), asks, "{stance}");
        }
    }

    #[test]
    fn what_was_lost_has_its_code_beside_the_count_for_good_and_asks_for_nothing() {
        let mut status = quiet();
        (status.counts.evicted, status.counts.put_aside) = (3, 1);
        status.mark();
        let codes: Vec<(&str, &str)> =
            status.counts.codes.iter().map(|(name, code)| (name.as_str(), code.as_str())).collect();
        assert_eq!(codes, [("evicted", "TG-306"), ("put_aside", "TG-511")]);
        assert!(status.codes.is_empty());
    }

    #[test]
    fn a_refused_edit_comes_first_and_each_code_once() {
        let mut status = quiet();
        status.clock.trusted = false;
        status.config_error = Some("mistake".into());
        status.outage.alarm = true;
        status.verdict.code = Code::Suspended.to_string();
        status.stance.grounds = vec![GroundStatus { stance: "suspended".into(), ..GroundStatus::default() }];
        status.mark();
        assert_eq!(status.codes, ["TG-106", "TG-503", "TG-512", "TG-401"]);
    }
}
