//! One pass over a payload: what is untouched is copied, what is named is treated.

use super::json::{Cursor, Fault, characters};
use super::treatment::{Action, Deed, Did, Node, Refused, Treatment, Why};
use super::{MAX_DEPTH, MAX_OUTPUT, MAX_PSEUDONYMS};
use crate::field::canonical;
use crate::language::Message;
use crate::message;

/// Most that is told of one payload in a dry run.
const MAX_TOLD: usize = 1_000;

/// The payload as it is to be stored; `told` takes what was done.
pub(super) fn rewrite(treatment: &Treatment, payload: &[u8], told: Option<&mut Vec<Did>>) -> Result<Vec<u8>, Refused> {
    let cursor = Cursor::new(payload).map_err(of_payload)?;
    let out = Vec::with_capacity(payload.len());
    let mut pass = Pass { treatment, cursor, out, pseudonyms: 0, told };
    let root = &treatment.root;
    let written = pass.value(root, root.keep, 0)?;
    pass.cursor.end().map_err(of_payload)?;
    if written { Ok(pass.out) } else { Err(at(root, Why::NothingKept)) }
}

/// A fault of the text is one of the payload as a whole.
fn of_payload(fault: Fault) -> Refused {
    let why = match fault {
        Fault::NotJson(at) => Why::NotJson(at),
        Fault::TooDeep => Why::TooDeep,
    };
    Refused { path: Box::default(), why }
}

fn at(node: &Node, why: Why) -> Refused {
    Refused { path: node.path.clone(), why }
}

/// What begins with this byte, in words.
fn kind(first: u8) -> Message {
    match first {
        b'{' => message!("an object"),
        b'[' => message!("a list"),
        b'"' => message!("a text"),
        b't' | b'f' => message!("true or false"),
        b'n' => message!("null"),
        _ => message!("a number"),
    }
}

struct Pass<'a, 'b> {
    treatment: &'b Treatment,
    cursor: Cursor<'a>,
    out: Vec<u8>,
    pseudonyms: usize,
    told: Option<&'b mut Vec<Did>>,
}

impl<'a> Pass<'a, '_> {
    /// Takes the value of a field and writes what becomes of it; `false` if nothing does. `kept`: it is in what is kept.
    fn value(&mut self, node: &Node, kept: bool, depth: usize) -> Result<bool, Refused> {
        let kept = kept || node.keep;
        let first = self.cursor.peek();
        match node.action {
            Some(Action::Drop) => {
                let from = self.cursor.value(depth).map_err(of_payload)?;
                self.tell(|| node.path.to_string(), Deed::Dropped, from, None);
                return Ok(false);
            }
            Some(action) if kept => return self.treat(node, action, first, depth).map(|()| true),
            _ => {}
        }
        match first {
            b'{' if node.has_members() && node.action.is_none() => return self.object(node, kept, depth + 1),
            b'[' if node.elements.is_some() && node.action.is_none() => return self.list(node, kept, depth + 1),
            _ => {}
        }
        let written = self.cursor.value(depth).map_err(of_payload)?;
        if !kept {
            self.tell(|| node.path.to_string(), Deed::NotKept, written, None);
            return Ok(false);
        }
        if node.must_fit && first != b'n' {
            let wanted = match (node.has_members(), node.elements.is_some()) {
                (true, true) => message!("an object or a list"),
                (true, false) => message!("an object"),
                _ => message!("a list"),
            };
            return Err(at(node, Why::Wrong(kind(first), wanted)));
        }
        self.out.extend_from_slice(written.as_bytes());
        Ok(true)
    }

    fn object(&mut self, node: &Node, kept: bool, depth: usize) -> Result<bool, Refused> {
        let fault = |pass: &Self| pass.cursor.fault().map_err(of_payload);
        self.enter(b'{', depth)?;
        let (mut any, mut first) = (false, true);
        while !self.cursor.take(b'}') {
            if !std::mem::take(&mut first) && !self.cursor.take(b',') {
                return fault(self);
            }
            let name = self.cursor.string().map_err(of_payload)?;
            if !self.cursor.take(b':') {
                return fault(self);
            }
            let mark = self.out.len();
            if any {
                self.out.push(b',');
            }
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b':');
            let characters = characters(name).ok_or_else(|| at(node, Why::NotWritten))?;
            let written = match node.member(&characters) {
                Some(member) => self.value(member, kept, depth)?,
                None => self.unnamed(|| below(node, &characters), kept, depth)?,
            };
            any |= written;
            if !written {
                self.out.truncate(mark);
            }
        }
        self.out.push(b'}');
        Ok(true)
    }

    fn list(&mut self, node: &Node, kept: bool, depth: usize) -> Result<bool, Refused> {
        self.enter(b'[', depth)?;
        let Some(element) = node.elements.as_deref() else { return self.cursor.fault().map_err(of_payload) };
        let (mut any, mut first) = (false, true);
        while !self.cursor.take(b']') {
            if !std::mem::take(&mut first) && !self.cursor.take(b',') {
                return self.cursor.fault().map_err(of_payload);
            }
            let mark = self.out.len();
            if any {
                self.out.push(b',');
            }
            let written = self.value(element, kept, depth)?;
            any |= written;
            if !written {
                self.out.truncate(mark);
            }
        }
        self.out.push(b']');
        Ok(true)
    }

    fn enter(&mut self, bracket: u8, depth: usize) -> Result<(), Refused> {
        if depth > MAX_DEPTH {
            return Err(of_payload(Fault::TooDeep));
        }
        self.cursor.take(bracket);
        self.out.push(bracket);
        Ok(())
    }

    /// A member that the rule does not name.
    fn unnamed(&mut self, path: impl FnOnce() -> String, kept: bool, depth: usize) -> Result<bool, Refused> {
        let written = self.cursor.value(depth).map_err(of_payload)?;
        if kept {
            self.out.extend_from_slice(written.as_bytes());
        } else {
            self.tell(path, Deed::NotKept, written, None);
        }
        Ok(kept)
    }

    /// Makes a pseudonym or rounds.
    fn treat(&mut self, node: &Node, action: Action, first: u8, depth: usize) -> Result<(), Refused> {
        let from = self.cursor.value(depth).map_err(of_payload)?;
        if first == b'n' {
            self.out.extend_from_slice(from.as_bytes());
            return Ok(());
        }
        let number = matches!(first, b'-' | b'0'..=b'9');
        let (deed, to) = match action {
            Action::Round(step) if number => {
                (Deed::Rounded, step.round(from).ok_or_else(|| at(node, Why::NotRounded))?)
            }
            Action::Pseudonymise if number => {
                let value = canonical(from).ok_or_else(|| at(node, Why::NotWritten))?;
                (Deed::Pseudonymised, self.pseudonym(node, &value)?)
            }
            Action::Pseudonymise if first == b'"' => {
                let value = characters(from).ok_or_else(|| at(node, Why::NotWritten))?;
                (Deed::Pseudonymised, self.pseudonym(node, &value)?)
            }
            Action::Pseudonymise => return Err(at(node, Why::Wrong(kind(first), message!("a text or a number")))),
            Action::Round(_) | Action::Drop => return Err(at(node, Why::Wrong(kind(first), message!("a number")))),
        };
        self.out.extend_from_slice(to.as_bytes());
        if self.out.len() > MAX_OUTPUT {
            return Err(at(&self.treatment.root, Why::TooLong));
        }
        self.tell(|| node.path.to_string(), deed, from, Some(to));
        Ok(())
    }

    /// A pseudonym in quotes.
    fn pseudonym(&mut self, node: &Node, value: &str) -> Result<String, Refused> {
        self.pseudonyms += 1;
        if self.pseudonyms > MAX_PSEUDONYMS {
            return Err(at(&self.treatment.root, Why::TooMany));
        }
        // There is no rule that makes pseudonyms without one.
        let key = self.treatment.key.as_ref().ok_or_else(|| at(node, Why::NotWritten))?;
        Ok(format!("\"{}\"", key.pseudonym(value)))
    }

    fn tell(&mut self, path: impl FnOnce() -> String, deed: Deed, from: &'a str, to: Option<String>) {
        if let Some(told) = self.told.as_deref_mut().filter(|told| told.len() < MAX_TOLD) {
            told.push(Did { path: path(), deed, from: from.to_owned(), to });
        }
    }
}

/// How a rule would name a member of a field.
fn below(node: &Node, name: &str) -> String {
    let name = crate::field::member(name);
    if node.path.is_empty() { name } else { format!("{}.{name}", node.path) }
}
