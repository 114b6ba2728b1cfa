//! What the Flux says to a request.

use std::time::Duration;

/// A request as a rule sees it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Path with query.
    pub path: &'a str,
    /// The body, complete.
    pub body: &'a [u8],
    /// Which request with events this is, counted from 0.
    pub number: usize,
}

impl Request<'_> {
    /// Whether the body holds `mark`.
    #[must_use]
    pub fn holds(&self, mark: &str) -> bool {
        self.body.windows(mark.len()).any(|window| window == mark.as_bytes())
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What this kind of entrance says when all is well.
    Accept,
    /// A status with headers and a body.
    Status {
        /// HTTP status.
        status: u16,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Body.
        body: String,
    },
    /// The answer, so much later.
    After(Duration, Box<Answer>),
    /// Reads the beginning of the request's body and closes the connection.
    CutRequest,
    /// Reads the request, sends status 200 and half of a body, and closes the connection.
    CutAnswer,
}

impl Answer {
    /// A status with SORACOM's error body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let body =
            format!(r#"{{"httpStatus":{status},"errorMessage":{{"code":"TST{status}","message":"as programmed"}}}}"#);
        Self::Status { status, headers: Vec::new(), body }
    }

    /// The same with a header more; only an [`Answer::Status`] takes it.
    #[must_use]
    pub fn with_header(self, name: &str, value: &str) -> Self {
        match self {
            Self::Status { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Status { status, headers, body }
            }
            other => panic!("{other:?} has no headers to add {name} to"),
        }
    }

    /// The Unified Endpoint's report that a destination failed.
    #[must_use]
    pub fn not_good(status: u16) -> Self {
        let body = format!(r#"{{"statusCode":{status},"body":{{"result":"ng","detail":{{}}}}}}"#);
        Self::Status { status, headers: Vec::new(), body }
    }

    /// The answer, so much later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    /// Whether the one who is answered so may take the events for accepted.
    #[must_use]
    pub fn accepts(&self) -> bool {
        match self {
            Self::Accept => true,
            Self::Status { status, body, .. } => {
                (200..300).contains(status) && *status != 207 && !body.contains(r#""result":"ng""#)
            }
            Self::After(_, answer) => answer.accepts(),
            Self::CutRequest | Self::CutAnswer => false,
        }
    }
}
