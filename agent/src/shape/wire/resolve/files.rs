//! What the machine says about names: `/etc/hosts` and `/etc/resolv.conf` (hosts(5), resolv.conf(5)). Pure.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Name servers that are asked, as in glibc.
const MAX_SERVERS: usize = 3;

/// Domains to search, as in glibc before 2.26; each costs a question.
const MAX_SEARCH: usize = 6;

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// The name servers; this machine's own if the file names none.
    pub(super) servers: Vec<IpAddr>,
    /// Domains that a short name may be in.
    pub(super) search: Vec<String>,
    /// A name with so many dots is tried as it is before the domains are searched.
    pub(super) dots: usize,
    /// How long a server may take.
    pub(super) timeout: Duration,
    /// How often each is asked.
    pub(super) attempts: u32,
    /// Ask over TCP only.
    pub(super) tcp: bool,
}

impl Settings {
    /// Reads the text of a `resolv.conf`. What is not understood is passed over, as every resolver does. A server's scope
    /// (`fe80::1%eth0`) is not supported; such a server is passed over too.
    pub(super) fn parse(text: &str) -> Self {
        let mut settings = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            // glibc's 5 s twice are too long to notice in time that one of two servers is gone; a modem that wakes takes
            // two to five seconds, which three attempts outlast.
            timeout: Duration::from_secs(3),
            attempts: 3,
            tcp: false,
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if settings.servers.len() < MAX_SERVERS => {
                    settings.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                // The last of them counts.
                Some("search" | "domain") => {
                    let domains = words.map(|word| word.trim_matches('.').to_owned());
                    settings.search = domains.filter(|word| !word.is_empty()).take(MAX_SEARCH).collect();
                }
                Some("options") => words.for_each(|word| settings.option(word)),
                _ => {}
            }
        }
        if settings.servers.is_empty() {
            settings.servers.push(IpAddr::from([127, 0, 0, 1]));
        }
        settings
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match (name, value.parse::<u32>()) {
            ("ndots", Ok(dots)) => self.dots = dots.min(15) as usize,
            ("timeout", Ok(seconds)) => self.timeout = Duration::from_secs(seconds.clamp(1, 30).into()),
            ("attempts", Ok(attempts)) => self.attempts = attempts.clamp(1, 5),
            ("use-vc", _) => self.tcp = true,
            _ => {}
        }
    }

    /// The full names that a name may stand for, in the order in which they are tried.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let as_it_is = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.dots {
            as_it_is.chain(searched).collect()
        } else {
            searched.chain(as_it_is).collect()
        }
    }
}

/// The addresses that the text of a hosts file gives a name. `localhost` and names in it are this machine whatever the
/// file says (RFC 6761, 6.3).
pub(super) fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if found.is_empty() && last.eq_ignore_ascii_case("localhost") {
        return vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_its_manual_says() {
        let text = "# made by hand\nnameserver 192.0.2.53 # the modem\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\n\
                    nameserver 192.0.2.54\nnameserver 192.0.2.55\ndomain old.example\nsearch plant.example. site.example\n\
                    options ndots:2 timeout:60 attempts:0 rotate use-vc\nsortlist 1\n";
        let settings = Settings::parse(text);
        let servers =
            ["192.0.2.53", "2001:db8::53", "192.0.2.54"].map(|text| text.parse::<IpAddr>().expect("an address"));
        assert_eq!(settings.servers, servers);
        assert_eq!(settings.search, ["plant.example", "site.example"]);
        assert_eq!((settings.dots, settings.attempts, settings.tcp), (2, 1, true));
        assert_eq!(settings.timeout, Duration::from_secs(30));
        assert_eq!(Settings::parse("").servers, [IpAddr::from([127, 0, 0, 1])]);
    }

    #[test]
    fn short_names_are_searched_for_and_full_ones_are_not() {
        let settings = Settings::parse("search a.example b.example\n");
        assert_eq!(settings.candidates("gw"), ["gw.a.example", "gw.b.example", "gw"]);
        assert_eq!(settings.candidates("gw.x"), ["gw.x", "gw.x.a.example", "gw.x.b.example"]);
        assert_eq!(settings.candidates("gw."), ["gw"]);
        assert_eq!(Settings::parse("").candidates("gw"), ["gw"]);
    }

    #[test]
    fn a_hosts_file_gives_all_addresses_of_a_name() {
        let text = "192.0.2.1 flux.example flux # ours\n::5 FLUX\nnonsense flux\n#192.0.2.9 flux\n192.0.2.1 flux\n";
        let addresses = |name| hosts(text, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(addresses("Flux."), ["192.0.2.1", "::5"]);
        assert_eq!(addresses("ours"), [""; 0]);
        assert_eq!(addresses("db.localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(hosts("127.0.0.9 localhost", "localhost").len(), 1);
    }
}
