//! What a finding of `tidegate check` tells a person, for tests of its words and steps.

use crate::checked::Checked;

impl Checked {
    /// The findings of what is called so: result, code, what was said, what to do.
    #[must_use]
    pub fn lines(&self, what: &str) -> Vec<[String; 4]> {
        let findings = self.all["findings"].as_array().map_or(&[][..], Vec::as_slice);
        let lines = findings.iter().map(|finding| {
            ["what", "result", "code", "said", "next"].map(|key| finding[key].as_str().unwrap_or_default().to_owned())
        });
        let of_it = lines.filter(|[named, ..]| named.starts_with(what));
        of_it.map(|[_, result, code, said, next]| [result, code, said, next]).collect()
    }

    /// The one finding of what is called so has this result and this code; hands out what was said, and what to do.
    #[track_caller]
    #[must_use]
    pub fn told(&self, what: &str, result: &str, code: &str) -> [String; 2] {
        self.assert(what, result, code);
        let [_, _, said, next] = self.lines(what).remove(0);
        [said, next]
    }
}
