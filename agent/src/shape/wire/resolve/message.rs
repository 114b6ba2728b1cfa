//! Questions to a name server and what its answers hold. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};

/// Steps from one name to its other name that are followed; real chains have up to four or five.
const MAX_ALIASES: usize = 16;

/// Bytes of a message's head.
const HEAD: usize = 12;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What a server said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// The name's addresses, none perhaps, and for how long they hold.
    Addresses(Vec<IpAddr>, Duration),
    /// There is no such name.
    NoSuchName,
    /// It did not fit into a datagram.
    Truncated,
    /// The server will not or cannot answer.
    Refused(String),
}

/// The message that asks for a name's addresses. `None` if it is not a name: empty, with a label of over 63 bytes, or
/// over 253 in all.
pub(super) fn question(id: u16, name: &str, family: Family) -> Option<Vec<u8>> {
    if name.is_empty() || name.len() > 253 || name.split('.').any(str::is_empty) {
        return None;
    }
    let kind = match family {
        Family::V4 => TYPE::A,
        Family::V6 => TYPE::AAAA,
    };
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name).ok()?, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().ok()
}

/// Reads an answer to that question; `None` if it is none to it, which may be a forgery and is not heeded.
pub(super) fn answer(bytes: &[u8], id: u16, name: &str, family: Family) -> Option<Said> {
    let head = bytes.get(..HEAD)?;
    let (is_answer, is_cut) = (head[2] & 0x80 != 0, head[2] & 0x02 != 0);
    if u16::from_be_bytes([head[0], head[1]]) != id || !is_answer {
        return None;
    }
    if is_cut {
        // Whatever of it is here is not used, so it need not be proved to be an answer to this.
        return Some(Said::Truncated);
    }
    let packet = Packet::parse(bytes).ok()?;
    // A server that refuses may leave the question out.
    if packet.questions.iter().any(|question| !same(&question.qname, name)) {
        return None;
    }
    match packet.rcode() {
        RCODE::NoError if packet.questions.is_empty() => return None,
        RCODE::NoError => {}
        RCODE::NameError => return Some(Said::NoSuchName),
        other => return Some(Said::Refused(format!("the name server answered {other:?}"))),
    }
    Some(addresses(&packet, name, family))
}

/// Follows a name's other names to its addresses.
fn addresses(packet: &Packet<'_>, name: &str, family: Family) -> Said {
    let mut name = name.to_owned();
    let mut life = u32::MAX;
    for _ in 0..MAX_ALIASES {
        let mut found = Vec::new();
        let mut alias = None;
        for record in packet.answers.iter().filter(|record| same(&record.name, &name)) {
            let address = match (&record.rdata, family) {
                (RData::A(record), Family::V4) => IpAddr::from(Ipv4Addr::from(record.address)),
                (RData::AAAA(record), Family::V6) => IpAddr::from(Ipv6Addr::from(record.address)),
                (RData::CNAME(other), _) => {
                    alias = Some((other.0.to_string(), record.ttl));
                    continue;
                }
                _ => continue,
            };
            life = life.min(record.ttl);
            found.push(address);
        }
        match alias {
            Some((other, ttl)) if found.is_empty() => {
                life = life.min(ttl);
                name = other;
            }
            _ => {
                let life = if found.is_empty() { 0 } else { life };
                return Said::Addresses(found, Duration::from_secs(life.into()));
            }
        }
    }
    Said::Refused("the name leads through too many other names".into())
}

fn same(name: &Name<'_>, other: &str) -> bool {
    name.to_string().trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, AAAA, CNAME};

    /// A server's answer to a question, with these records.
    pub(in super::super) fn reply<'a>(question: &'a [u8], records: Vec<(&'a str, u32, RData<'a>)>) -> Packet<'a> {
        let asked = Packet::parse(question).expect("a question");
        let mut packet = Packet::new_reply(asked.id());
        packet.questions = asked.questions;
        for (name, ttl, data) in records {
            packet.answers.push(ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, ttl, data));
        }
        packet
    }

    pub(in super::super) fn v4(address: [u8; 4]) -> RData<'static> {
        RData::A(A { address: u32::from_be_bytes(address) })
    }

    fn alias(name: &str) -> RData<'_> {
        RData::CNAME(CNAME(Name::new_unchecked(name)))
    }

    fn read(packet: &Packet<'_>, family: Family) -> Option<Said> {
        answer(&packet.build_bytes_vec_compressed().expect("a message"), 7, "Flux.Example", family)
    }

    #[test]
    fn other_names_are_followed_and_the_shortest_life_counts() {
        let asked = question(7, "flux.example", Family::V4).expect("a name");
        let records = vec![
            ("c.example", 60, v4([192, 0, 2, 1])),
            ("FLUX.example", 30, alias("b.example")),
            ("b.example", 90, alias("c.example")),
            ("c.example", 70, v4([192, 0, 2, 2])),
            ("d.example", 1, v4([192, 0, 2, 3])),
        ];
        let addresses = vec!["192.0.2.1".parse().expect("one"), "192.0.2.2".parse().expect("one")];
        let found = read(&reply(&asked, records.clone()), Family::V4);
        assert_eq!(found, Some(Said::Addresses(addresses, Duration::from_secs(30))));
        assert_eq!(read(&reply(&asked, records), Family::V6), Some(Said::Addresses(vec![], Duration::ZERO)));
        let ring = vec![("flux.example", 30, alias("b.example")), ("b.example", 90, alias("flux.example"))];
        assert!(matches!(read(&reply(&asked, ring), Family::V4), Some(Said::Refused(_))));
        let six = vec![("flux.example", 30, RData::AAAA(AAAA { address: 1 }))];
        let one = vec!["::1".parse().expect("one")];
        assert_eq!(read(&reply(&asked, six), Family::V6), Some(Said::Addresses(one, Duration::from_secs(30))));
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_not_heeded() {
        let asked = question(7, "flux.example", Family::V4).expect("a name");
        let good = || reply(&asked, vec![("flux.example", 30, v4([192, 0, 2, 1]))]);
        assert!(read(&good(), Family::V4).is_some());
        let mut other = good();
        other.set_id(8);
        assert_eq!(read(&other, Family::V4), None);
        assert_eq!(answer(&asked, 7, "flux.example", Family::V4), None, "a question");
        let elsewhere = question(7, "evil.example", Family::V4).expect("a name");
        assert_eq!(read(&reply(&elsewhere, vec![("flux.example", 30, v4([192, 0, 2, 1]))]), Family::V4), None);
        let mut cut = good();
        cut.set_flags(PacketFlag::TRUNCATION);
        assert_eq!(read(&cut, Family::V4), Some(Said::Truncated));
        let mut none = reply(&asked, vec![]);
        *none.rcode_mut() = RCODE::NameError;
        assert_eq!(read(&none, Family::V4), Some(Said::NoSuchName));
        *none.rcode_mut() = RCODE::ServerFailure;
        assert!(matches!(read(&none, Family::V4), Some(Said::Refused(_))));
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        for name in ["", ".", "a..b", &"x".repeat(64), &"x.".repeat(130)] {
            assert_eq!(question(1, name, Family::V4), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_is_read_without_harm(
            tail in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0..60_usize,
        ) {
            let asked = question(7, "flux.example", Family::V4).expect("a name");
            let packet = reply(&asked, vec![("flux.example", 30, v4([192, 0, 2, 1]))]);
            let mut bytes = packet.build_bytes_vec_compressed().expect("a message");
            bytes.truncate(cut.max(2));
            bytes.extend(tail);
            let _ = answer(&bytes, 7, "flux.example", Family::V4);
        }
    }
}
