//! A metadata service of a SIM that does as it is told.

use crate::lookalike::{self, Answer, LookAlike};

/// What it says.
#[derive(Debug, Clone, Default)]
pub enum Says {
    /// A status and a body.
    Status(u16, String),
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, and keeps the connection.
    #[default]
    Nothing,
}

impl Says {
    /// An active line of this speed class, with the documented fields around it.
    #[must_use]
    pub fn class(class: &str) -> Self {
        Self::line(class, "active")
    }

    /// The same of a line with this status.
    #[must_use]
    pub fn line(class: &str, status: &str) -> Self {
        Self::subscriber(class, status, None)
    }

    /// An active line of class `s1.fast` that is to be stopped so at this time, in ms since the Unix epoch.
    #[must_use]
    pub fn expiring(at_ms: u64, action: &str) -> Self {
        Self::subscriber("s1.fast", "active", Some((at_ms, action)))
    }

    fn subscriber(class: &str, status: &str, expiry: Option<(u64, &str)>) -> Self {
        let (at_ms, action) = expiry.unzip();
        let body = serde_json::json!({
            "imsi": "001010000000001", "simId": "8981000000000000001", "operatorId": "OP0000000000", "groupId": "g",
            "status": status, "speedClass": class, "subscription": "plan01s", "type": class, "moduleType": "trio",
            "tags": {"name": "gw-test"}, "expiryTime": at_ms, "expiryAction": action, "terminationEnabled": false,
            "lastModifiedTime": 1_745_309_392_313_u64,
            "sessionStatus": {"sessionId": "s", "online": true, "ueIpAddress": "10.0.0.2", "cell": {"radioType": "LTE"}},
        });
        Self::Status(200, body.to_string())
    }
}

impl lookalike::Says for Says {
    const WHO: &'static str = "metadata service";

    fn answer(&self, _: &str) -> Answer {
        match self {
            Self::Status(status, body) => {
                let status = format!("{status} So");
                Answer::Bytes(Answer::whole(&status, "content-type: application/json\r\n", body))
            }
            Self::Bytes(bytes) => Answer::Bytes(bytes.clone()),
            Self::Nothing => Answer::Nothing,
        }
    }
}

/// A handle.
pub type Metadata = LookAlike<Says>;
