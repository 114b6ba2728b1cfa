//! Which running agent is asked, and how its answer is shown: arguments that commands share.

use std::path::{Path, PathBuf};

use tidegate::config;
use tidegate::config::kept::Places;
use tidegate::store::disk::OsDisk;

use super::{CONFIG, Failure};

/// Which agent.
#[derive(Debug, clap::Args)]
pub(super) struct Agent {
    /// Ask the agent behind this control socket, and nothing else
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub(super) socket: Option<PathBuf>,
    /// The configuration that names control socket and store [default: /etc/tidegate/tidegate.toml if it is there]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl Agent {
    /// The configuration's path.
    pub(super) fn config_file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(CONFIG))
    }

    /// The control socket that the configuration that last worked names, as far as this user may read it.
    fn kept_socket(&self) -> Option<PathBuf> {
        let systemd = std::env::var_os("STATE_DIRECTORY");
        let (kept, _) = Places::new(self.config_file(), None, systemd.as_deref()).find(&OsDisk).kept?;
        kept.control_socket()
    }

    /// The control socket's path.
    pub(super) fn socket(&self) -> Result<PathBuf, Failure> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let named = config::control_socket(self.config_file());
        if !named.as_ref().is_ok_and(|socket| socket.exists()) {
            // A file that was cut short may not name it any more, and the agent runs with what was kept of it.
            if let Some(socket) = self.kept_socket().filter(|socket| socket.exists()) {
                return Ok(socket);
            }
        }
        // Without the file, or where this user may not read it, the socket is most likely where it is by default.
        if self.config.is_some() { Ok(named?) } else { Ok(named.unwrap_or_else(|_| config::DEFAULT_SOCKET.into())) }
    }
}

/// Which agent, and how to show what it says.
#[derive(Debug, clap::Args)]
pub(super) struct Service {
    /// Print JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) agent: Agent,
}
