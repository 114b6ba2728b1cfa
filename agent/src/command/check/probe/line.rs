//! The way out of this gateway: the interface that is configured, or a route.

use tidegate::code::Code;
use tidegate::message;
use tidegate::provider::line::{Links, System};

use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id};

/// Reads what the kernel says of routes and interfaces.
pub(in crate::command) fn look(interface: Option<&str>, tell: Tell<'_>) {
    tell(judge(interface, &System::default().look()));
}

fn judge(interface: Option<&str>, links: &Links) -> Finding {
    let what = Id::WayOut.of(message!("way out"));
    let names = || links.interfaces.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = interface {
        let Some(found) = links.interfaces.iter().find(|one| one.name == name) else {
            return if links.listed {
                Finding::bad(
                    what,
                    message!("there is no interface {name}; there are: {names}", name = name, names = names()),
                    Code::NoRoute,
                    message!("plug the modem in or start it, or correct [forward] interface"),
                )
            } else {
                Finding::unknown(what, message!("the interfaces of this machine cannot be listed"), None)
            };
        };
        if found.is_down() {
            return Finding::bad(
                what,
                message!("the interface {name} is down ({state})", name = name, state = found.state()),
                Code::NoRoute,
                message!("see to the modem, the SIM and the antenna: mmcli -m 0, nmcli device"),
            );
        }
    }
    let Some(routes) = &links.default_routes else {
        return Finding::unknown(what, message!("the routes of this machine cannot be read"), None);
    };
    match interface {
        Some(name) if routes.iter().any(|route| route == name) => {
            Finding::good(what, message!("through {names}", names = name))
        }
        // A route to the endpoint's network is enough, and only a connection shows whether there is one.
        Some(name) => Finding::attention(
            what,
            message!("the interface {name} is up, and no default route leads through it", name = name),
            Code::NoRoute,
            message!("if Flux cannot be reached either, see what the modem's connection sets up: ip route"),
        ),
        None if routes.is_empty() => Finding::attention(
            what,
            message!("there is no default route; interfaces: {names}", names = names()),
            Code::NoRoute,
            message!("if Flux cannot be reached either, connect the modem or the LAN: nmcli device, ip route"),
        ),
        None => Finding::good(what, message!("through {names}", names = routes.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;
    use tidegate::provider::line::Interface;

    #[test]
    fn only_what_is_missing_or_down_for_certain_is_bad() {
        let one =
            |name: &str, operstate: &str| Interface { name: name.into(), operstate: operstate.into(), carrier: None };
        let links = Links {
            default_routes: Some(vec!["wwan0".into()]),
            interfaces: vec![one("eth0", "down"), one("wlan0", "up"), one("wwan0", "unknown")],
            listed: true,
        };
        let result = |interface, links: &Links| judge(interface, links).result;
        assert_eq!(result(None, &links), Outcome::Good);
        assert_eq!(result(Some("wwan0"), &links), Outcome::Good);
        assert_eq!(result(Some("wlan0"), &links), Outcome::Attention);
        assert_eq!(result(Some("eth0"), &links), Outcome::Bad);
        assert_eq!(result(Some("ppp0"), &links), Outcome::Bad);
        assert_eq!(result(Some("ppp0"), &Links { listed: false, ..links.clone() }), Outcome::Unknown);
        assert_eq!(result(None, &Links { default_routes: Some(vec![]), ..links.clone() }), Outcome::Attention);
        assert_eq!(result(None, &Links { default_routes: None, ..links }), Outcome::Unknown);
    }
}
