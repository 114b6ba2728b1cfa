//! What the metadata service says of a line, as far as it can be used. Fields come and go, and nulls are common.

use serde_json::Value;

/// Longest word that is taken for a speed class, a status or an action: SORACOM's have up to 14 characters.
const WORD: usize = 64;

/// What is known of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// `s1.slow` and the like: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub speed_class: Option<String>,
    /// `active`, `inactive`, `suspended` and so on, of the same characters.
    pub status: Option<String>,
    /// What is announced to happen to the line.
    pub expiry: Option<Expiry>,
}

/// An announced change of the line's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What happens then: `doNothing`, `deleteSession`, `deactivate`, `suspend`, `terminate`; empty if that is not said.
    pub action: String,
}

impl Subscriber {
    /// Reads an answer. A field that is not what it should be counts as missing.
    ///
    /// # Errors
    /// It is no JSON, or (`None`) no object.
    pub(in crate::provider) fn read(body: &[u8]) -> Result<Self, Option<serde_json::Error>> {
        let answer: Value = serde_json::from_slice(body).map_err(Some)?;
        let Value::Object(fields) = answer else { return Err(None) };
        let word =
            |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| is_word(text)).map(str::to_owned);
        let at_ms = fields.get("expiryTime").and_then(number);
        Ok(Self {
            speed_class: word("speedClass"),
            status: word("status"),
            expiry: at_ms.map(|at_ms| Expiry { at_ms, action: word("expiryAction").unwrap_or_default() }),
        })
    }

    /// Takes over what was told now; what was left out stays. The expiry alone ends with an answer that has none: null is
    /// how the service says that there is none.
    pub(in crate::provider) fn learn(&mut self, told: Self) {
        self.speed_class = told.speed_class.or(self.speed_class.take());
        self.status = told.status.or(self.status.take());
        self.expiry = told.expiry;
    }
}

fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=WORD).contains(&text.len()) && text.bytes().all(plain)
}

/// A time in ms, as a number or as the text of one; 0 is none.
fn number(value: &Value) -> Option<u64> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Subscriber {
        Subscriber::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn the_documented_answer_is_read() {
        let text = r#"{"imsi":"001010000000001","simId":"8981","operatorId":"OP00","groupId":"g","status":"active",
            "speedClass":"s1.standard","subscription":"plan01s","type":"s1.standard","moduleType":"trio",
            "tags":{"name":"gw-1"},"expiryTime":1745309392313,"expiryAction":"suspend","terminationEnabled":false,
            "lastModifiedTime":1745309392313,"sessionStatus":{"online":true,"cell":{"radioType":"LTE"}}}"#;
        let told = read(text);
        assert_eq!((told.speed_class.as_deref(), told.status.as_deref()), (Some("s1.standard"), Some("active")));
        assert_eq!(told.expiry, Some(Expiry { at_ms: 1_745_309_392_313, action: "suspend".into() }));
    }

    #[test]
    fn what_is_missing_null_or_nonsense_counts_as_not_told() {
        let nulls = r#"{"speedClass":null,"status":null,"expiryTime":null,"expiryAction":null}"#;
        for text in ["{}", nulls, r#"{"speedClass":7,"status":["active"],"expiryTime":-1}"#, r#"{"speedClass":"a b"}"#]
        {
            assert_eq!(read(text), Subscriber::default(), "{text}");
        }
        let long = format!(r#"{{"speedClass":"{}","expiryTime":"1745309392313"}}"#, "s".repeat(65));
        let told = read(&long);
        assert_eq!(
            (told.speed_class, told.expiry.map(|it| (it.at_ms, it.action))),
            (None, Some((1_745_309_392_313, String::new())))
        );
        for text in ["", "<html>", "[]", "null", "\"s1.slow\"", "{"] {
            assert!(Subscriber::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_class_stays_until_another_is_told_and_an_expiry_ends_with_the_answer_that_has_none() {
        let mut known = Subscriber::default();
        known.learn(read(r#"{"speedClass":"s1.slow","status":"active","expiryTime":5}"#));
        known.learn(read("{}"));
        assert_eq!((known.speed_class.as_deref(), known.status.as_deref()), (Some("s1.slow"), Some("active")));
        assert_eq!(known.expiry, None);
        known.learn(read(r#"{"speedClass":"s1.fast"}"#));
        assert_eq!(known.speed_class.as_deref(), Some("s1.fast"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "\\{(\"(speedClass|status|expiryTime)\":[0-9a-z\"\\[{]{0,12},?){0,3}\\PC{0,9}") {
            let _ = Subscriber::read(text.as_bytes());
        }
    }
}
