//! What the system says of a failure, in words that can be said in another language.

use std::io;

use rustix::io::Errno;

use super::{IntoValue as _, Message, Value};
use crate::message;

/// The system's words for a failure with its number, which is what people search for; a [`Message`] within it as that. What
/// is seldom stands as the system says it.
pub fn said(error: &io::Error) -> Value {
    if let Some(message) = error.get_ref().and_then(|inner| inner.downcast_ref::<Message>()) {
        return message.clone().into_value();
    }
    match Errno::from_io_error(error).and_then(words) {
        Some(words) => {
            message!("{words} (os error {number})", words = words, number = error.raw_os_error().unwrap_or_default())
                .into_value()
        }
        None => error.to_string().into_value(),
    }
}

/// As the C library says them (strerror(3)).
fn words(number: Errno) -> Option<Message> {
    Some(match number {
        Errno::PERM => message!("Operation not permitted"),
        Errno::NOENT => message!("No such file or directory"),
        Errno::IO => message!("Input/output error"),
        Errno::ACCESS => message!("Permission denied"),
        Errno::EXIST => message!("File exists"),
        Errno::NOTDIR => message!("Not a directory"),
        Errno::ISDIR => message!("Is a directory"),
        Errno::NOSPC => message!("No space left on device"),
        Errno::ROFS => message!("Read-only file system"),
        Errno::PIPE => message!("Broken pipe"),
        Errno::ADDRINUSE => message!("Address already in use"),
        Errno::ADDRNOTAVAIL => message!("Cannot assign requested address"),
        Errno::NETUNREACH => message!("Network is unreachable"),
        Errno::CONNRESET => message!("Connection reset by peer"),
        Errno::TIMEDOUT => message!("Connection timed out"),
        Errno::CONNREFUSED => message!("Connection refused"),
        Errno::HOSTUNREACH => message!("No route to host"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn a_failure_is_said_as_the_system_says_it_and_in_japanese() {
        let gone = std::fs::File::open("/no/such/file").expect_err("nothing is there");
        assert_eq!(said(&gone).to_string(), "No such file or directory (os error 2)");
        let japanese = said(&gone).text(Language::Japanese);
        assert!(japanese.contains("(os error 2)") && !japanese.contains("file"), "{japanese}");
        assert_eq!(said(&io::Error::other("broken")).to_string(), "broken");
        let own = io::Error::new(io::ErrorKind::FileTooLarge, message!("longer than 1 MiB"));
        assert_eq!(said(&own), message!("longer than 1 MiB").into_value());
        assert_eq!(own.to_string(), "longer than 1 MiB");
    }
}
