//! What a person is told by this crate: a template and its values, so that who shows it can say it in another language.
//!
//! [`Display`](fmt::Display) writes the English. The agent's catalogue knows the templates (`agent/src/language.rs`).

use std::fmt;

/// A sentence, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The English, with `{name}` where a value belongs and `{{`, `}}` for braces.
    pub template: &'static str,
    /// The values by name.
    pub values: Vec<(&'static str, Worth)>,
}

/// What stands in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worth {
    /// As it is in every language.
    Text(String),
    /// Something that is said differently in each.
    Said(Said),
}

impl fmt::Display for Worth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Said(said) => said.fmt(f),
        }
    }
}

/// What can stand in a place: texts, numbers and what is said.
pub trait IntoWorth {
    /// It, as what stands there.
    fn into_worth(self) -> Worth;
}

impl IntoWorth for Said {
    fn into_worth(self) -> Worth {
        Worth::Said(self)
    }
}

impl<T: IntoWorth + Clone> IntoWorth for &T {
    fn into_worth(self) -> Worth {
        self.clone().into_worth()
    }
}

macro_rules! texts {
    ($($text:ty),*) => {
        $(impl IntoWorth for $text {
            fn into_worth(self) -> Worth {
                Worth::Text(self.to_string())
            }
        })*
    };
}

texts!(&str, String, u8, u32, u64, usize);

impl Said {
    /// Of a template and its values; [`said!`](crate::said!) has the compiler hold the two to each other.
    pub fn new<const N: usize>(template: &'static str, values: [(&'static str, Worth); N]) -> Self {
        Self { template, values: values.into() }
    }

    /// Of a template without values.
    pub const fn plain(template: &'static str) -> Self {
        Self { template, values: Vec::new() }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in parts(self.template) {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Name(name) => {
                    let value = self.values.iter().find(|(of, _)| *of == name);
                    match value {
                        Some((_, value)) => value.fmt(f)?,
                        None => f.write_str(name)?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// Makes a [`Said`]: a template with named places, then the values.
#[macro_export]
macro_rules! said {
    ($template:literal $(,)?) => {{
        // Never run, and made of nothing outside: has the compiler see that there is no place, also where this is a constant.
        const _: fn() = || {
            let _ = ::std::format_args!($template);
        };
        $crate::said::Said::plain($template)
    }};
    ($template:literal $(, $name:ident = $value:expr)+ $(,)?) => {{
        // Never run: has the compiler hold places and values to each other.
        if false {
            let _ = ::std::format_args!($template $(, $name = "")+);
        }
        $crate::said::Said::new($template, [$((::std::stringify!($name), $crate::said::IntoWorth::into_worth($value))),+])
    }};
}

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// As it stands.
    Text(&'a str),
    /// The name of a value.
    Name(&'a str),
}

/// The pieces of a template, in order. A brace that is not closed is text.
pub fn parts(template: &str) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        out.push(Part::Text(before));
        if brace.starts_with("{{") || brace.starts_with("}}") {
            out.push(Part::Text(&brace[..1]));
            rest = &brace[2..];
        } else if let Some((name, after)) = brace.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            out.push(Part::Name(name));
            rest = after;
        } else {
            out.push(Part::Text(&brace[..1]));
            rest = &brace[1..];
        }
    }
    out.push(Part::Text(rest));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Said = crate::said!("as it {{stands}}");

    #[test]
    fn values_stand_in_their_places_and_braces_where_they_are_doubled() {
        let number = 3_u64;
        assert_eq!(crate::said!("{{{number}}} of {what}", number = number, what = "them").to_string(), "{3} of them");
        assert_eq!(crate::said!("so: {why}", why = PLAIN).to_string(), "so: as it {stands}");
        assert_eq!(PLAIN.to_string(), "as it {stands}");
        assert_eq!(parts("{a} {"), [Part::Text(""), Part::Name("a"), Part::Text(" "), Part::Text("{"), Part::Text("")]);
    }
}
