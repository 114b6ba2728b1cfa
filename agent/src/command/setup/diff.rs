//! What would change in a file, line by line, as `diff -u` shows it, without secrets.

use std::fmt::Write as _;

/// Lines around a change that are shown.
const AROUND: usize = 3;

/// Pairs of lines that are compared at most (a table of 16 MB); of a larger part all old and all new lines are shown. A full
/// configuration has 500 lines.
const PAIRS: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Same,
    Gone,
    New,
}

/// Shows the difference of two texts; empty if there is none.
pub(super) fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = compare(&old, &new);
    let near = |at: usize| {
        let (from, to) = (at.saturating_sub(AROUND), (at + AROUND + 1).min(lines.len()));
        lines[from..to].iter().any(|(kind, _)| *kind != Kind::Same)
    };
    let mut out = String::new();
    let mut before = true;
    for (at, (kind, line)) in lines.iter().enumerate() {
        let shown = near(at);
        if shown && !before {
            out.push_str("  ⋮\n");
        }
        before = shown;
        if shown {
            let mark = match kind {
                Kind::Same => ' ',
                Kind::Gone => '-',
                Kind::New => '+',
            };
            let _ = writeln!(out, "{mark} {}", masked(line));
        }
    }
    out
}

fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Kind, &'a str)> {
    let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(one, other)| one == other).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut out: Vec<_> = old[..head].iter().map(|line| (Kind::Same, *line)).collect();
    let (mut i, mut j) = (0, 0);
    if a.len().saturating_mul(b.len()) <= PAIRS {
        // The longest common subsequence, from the end, so that it can be walked from the beginning.
        let wide = b.len() + 1;
        let mut longest = vec![0_u32; (a.len() + 1) * wide];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                longest[i * wide + j] = if a[i] == b[j] {
                    longest[(i + 1) * wide + j + 1] + 1
                } else {
                    longest[(i + 1) * wide + j].max(longest[i * wide + j + 1])
                };
            }
        }
        while i < a.len() && j < b.len() {
            if a[i] == b[j] {
                out.push((Kind::Same, a[i]));
                (i, j) = (i + 1, j + 1);
            } else if longest[(i + 1) * wide + j] >= longest[i * wide + j + 1] {
                out.push((Kind::Gone, a[i]));
                i += 1;
            } else {
                out.push((Kind::New, b[j]));
                j += 1;
            }
        }
    }
    out.extend(a[i..].iter().map(|line| (Kind::Gone, *line)));
    out.extend(b[j..].iter().map(|line| (Kind::New, *line)));
    out.extend(old[old.len() - tail..].iter().map(|line| (Kind::Same, *line)));
    out
}

/// What the secrets of SORACOM are known by; what follows is not shown.
const MARKS: [&str; 2] = ["incoming_webhooks/", "secret-"];

/// A line with the secrets in it taken out, and with nothing that would steer a terminal.
pub(super) fn masked(line: &str) -> String {
    let mut out: String = line.chars().map(|c| if c.is_control() && c != '\t' { '�' } else { c }).collect();
    for mark in MARKS {
        let mut from = 0;
        while let Some(at) = out[from..].find(mark) {
            let begin = from + at + mark.len();
            let end = out[begin..].find(['"', '\'', ' ', ',']).map_or(out.len(), |more| begin + more);
            out.replace_range(begin..end, "…");
            from = begin + '…'.len_utf8();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_shown_with_what_is_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        assert_eq!(diff(old, old), "");
        assert_eq!(diff("", "a\n"), "+ a\n");
        assert_eq!(diff(old, "1\n2\n3\n4\nfive\n6\n7\n8\n9\nten\n"), {
            "  ⋮\n  2\n  3\n  4\n- 5\n+ five\n  6\n  7\n  8\n  9\n+ ten\n"
        });
        assert_eq!(diff("a\nx\nb\n", "x\nc\n"), "- a\n  x\n- b\n+ c\n");
    }

    #[test]
    fn secrets_in_a_line_are_not_shown() {
        let line = r#"url = "https://api.soracom.io/v1/flux/incoming_webhooks/A/s3cret" # secret-xyz "secret-""#;
        let shown = masked(line);
        assert!(!shown.contains("s3cret") && !shown.contains("xyz") && shown.contains("soracom.io"), "{shown}");
    }
}
