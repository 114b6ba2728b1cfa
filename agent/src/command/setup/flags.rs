//! The flags: an answer each. Secrets come from files or standard input alone, because everybody can see a command line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::config::Secret;
use tidegate::message;
use tidegate::secret::MAX_FILE;

use super::answers::{Answers, Kind, Place, located, pasted};
use crate::command::{CONFIG, Coded};

/// What to set up; what is not given is asked, if there is a terminal.
#[derive(Debug, clap::Args)]
#[command(after_help = "A secret's FILE may be - for standard input, for one secret.\n\
                        Without a terminal nothing is asked: --yes writes, and what is missing is said.\n\
                        Exit codes: 0 written and nothing is bad, 1 nothing was written, 5 written, and check finds something bad, \
                        130 interrupted.")]
pub(in crate::command) struct Args {
    /// The configuration file to write or change
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    pub(super) config: PathBuf,
    /// Write without asking
    #[arg(long)]
    pub(super) yes: bool,
    /// Do not test the answers, nor check at the end
    #[arg(long)]
    pub(super) no_tests: bool,
    /// Write answers whose test is bad, too (a gateway that is set up before its line is there)
    #[arg(long)]
    pub(super) keep_bad: bool,
    /// Send a test event at the end: a flow runs for it, and it counts as an event
    #[arg(long)]
    pub(super) test_event: bool,
    /// Start the service now and at boot; with systemd, as root
    #[arg(long, conflicts_with = "no_start")]
    pub(super) start: bool,
    /// Leave the service as it is
    #[arg(long)]
    pub(super) no_start: bool,
    /// The gateway's name
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Where the devices are
    #[arg(long, value_name = "WHERE", value_enum)]
    devices: Option<Place>,
    /// Address and port that devices connect to
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The broker that is there: mqtt://host:port, or mqtts:// with TLS
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// A topic filter to subscribe on it; may be given again
    #[arg(long, value_name = "FILTER")]
    broker_topic: Vec<String>,
    /// The user name for it; '' for none
    #[arg(long, value_name = "NAME")]
    broker_user: Option<String>,
    /// A file with the password for it
    #[arg(long, value_name = "FILE")]
    broker_password_file: Option<PathBuf>,
    /// The CA of its certificate
    #[arg(long, value_name = "FILE")]
    broker_ca: Option<String>,
    /// The network interface that everything goes through, such as a SIM's wwan0; '' for any
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// How Flux is reached
    #[arg(long, value_name = "KIND", value_enum)]
    flux: Option<Kind>,
    /// A file with the webhook's whole URL
    #[arg(long, value_name = "FILE")]
    webhook_file: Option<PathBuf>,
    /// The API of the coverage (Global: g.api.soracom.io)
    #[arg(long, value_name = "URL")]
    api_url: Option<String>,
    /// The Flux app's id
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// The id of its channel
    #[arg(long, value_name = "ID")]
    channel: Option<String>,
    /// The authentication key's id (keyId-…)
    #[arg(long, value_name = "ID")]
    auth_key_id: Option<String>,
    /// A file with the authentication key's secret
    #[arg(long, value_name = "FILE")]
    auth_key_file: Option<PathBuf>,
    /// Where Unified Endpoint is, if not at its usual address
    #[arg(long, value_name = "URL")]
    unified_url: Option<String>,
    /// The CA of Flux's certificate, if it is not among the system's
    #[arg(long, value_name = "FILE")]
    flux_ca: Option<String>,
    /// Events that the account has in a month, or unlimited
    #[arg(long, value_name = "COUNT")]
    events_per_month: Option<String>,
    /// Bytes that the account has in a month, such as "500 MB"
    #[arg(long, value_name = "SIZE")]
    bytes_per_month: Option<String>,
    /// What may leave in a second, such as "512 kbit/s"
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// A file with the contract's limits
    #[arg(long, value_name = "FILE")]
    terms: Option<String>,
    /// No limits
    #[arg(long, conflicts_with_all = ["events_per_month", "bytes_per_month", "rate", "terms"])]
    no_limits: bool,
}

impl Args {
    /// The answers that were given.
    ///
    /// # Errors
    /// A secret that cannot be read.
    pub(super) fn answers(&self) -> Result<Answers, Coded> {
        let files = [&self.broker_password_file, &self.webhook_file, &self.auth_key_file];
        if files.iter().filter(|file| file.as_deref() == Some(Path::new("-"))).count() > 1 {
            return Err(Coded::new(
                message!("standard input can be one secret only; put the other into a file that only you can read"),
                Some(Code::Secret),
            ));
        }
        let [password, webhook, key] = files.map(|file| file.as_deref().map(secret).transpose());
        let (password, webhook, key) = (password?, webhook?, key?);
        let webhook = webhook.map(|text| Secret::new(pasted(&text)));
        // Whoever hands over a webhook has said how Flux is reached.
        let api = self.auth_key_file.is_some() || self.auth_key_id.is_some() || self.app.is_some();
        let meant = match (webhook.is_some(), api, self.unified_url.is_some()) {
            (true, false, false) => Some(Kind::Webhook),
            (false, true, false) => Some(Kind::Api),
            (false, false, true) => Some(Kind::Unified),
            _ => None,
        };
        Ok(Answers {
            id: self.id.clone(),
            place: self.devices,
            listen: self.listen.clone(),
            broker: self.broker.clone(),
            topics: self.broker_topic.clone(),
            broker_user: self.broker_user.clone(),
            broker_password: password.map(Secret::new),
            broker_ca: self.broker_ca.as_deref().map(located),
            interface: self.interface.clone(),
            kind: self.flux.or(meant),
            webhook,
            base_url: self.api_url.clone(),
            app: self.app.clone(),
            channel: self.channel.clone(),
            key_id: self.auth_key_id.clone(),
            key: key.map(Secret::new),
            unified_url: self.unified_url.clone(),
            flux_ca: self.flux_ca.as_deref().map(located),
            no_limits: self.no_limits,
            terms: self.terms.as_deref().map(located),
            events: self.events_per_month.clone(),
            bytes: self.bytes_per_month.clone(),
            rate: self.rate.clone(),
        })
    }
}

/// A secret that is a line of its own.
fn secret(path: &Path) -> Result<String, Coded> {
    let failed = |source| {
        let said = message!(
            "cannot read the secret from {path}; see that the path is right and that you may read it",
            path = path.display()
        );
        Coded { text: said, code: Some(Code::Secret), source: Some(source) }
    };
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(MAX_FILE).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
    }
    .map_err(failed)?;
    let mut lines = text.lines().map(|line| line.trim_matches(['\u{feff}', ' ', '\t'])).filter(|line| !line.is_empty());
    let path = if path == Path::new("-") { "-".into() } else { path.display().to_string() };
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        (None, _) => {
            Err(Coded::new(message!("{path} is empty; the secret belongs there", path = path), Some(Code::Secret)))
        }
        (Some(_), Some(_)) => Err(Coded::new(
            message!(
                "{path} has more than one line; a secret is one line, and nothing else may stand there",
                path = path
            ),
            Some(Code::Secret),
        )),
    }
}
