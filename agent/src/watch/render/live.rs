//! The live screen of `tidegate status --watch`, as lines of a terminal. Pure: what was asked and the time go in, lines come
//! out, none wider or more than the terminal has cells.
//!
//! What matters most stands highest, so that a small terminal cuts off what matters least: whether the agent answers, what
//! asks for action, what the provider allows, which limit binds, the course, notices, devices.

use std::collections::VecDeque;

use super::stance::{may, of_ground, of_notice};
use super::words::{stance_word, verdict_word};
use super::{number, plain, span, time, told};
use crate::code::Code;
use crate::language::sheet::{Sheet, cells, left, right};
use crate::language::{IntoValue, Language, Message};
use crate::message;
use crate::watch::{DeviceStatus, Status};

/// Samples that are kept: more than the cells of a line that are left for them on a wide terminal.
const SAMPLES: usize = 240;

/// Most notices that are shown, the last ones.
const NOTICES: usize = 3;

/// Cells of the column of names, and on a terminal of fewer than [`NARROW`] cells.
const NAMES: [usize; 2] = [14, 10];

/// Below this many cells the columns are narrow and the title is short.
const NARROW: usize = 60;

/// The levels of a chart: of Unicode's block elements, and for terminals without them.
const LEVELS: [[char; 8]; 2] = [['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'], ['_', '.', ':', '-', '=', '+', '*', '#']];

/// The course of the last minutes: a sample each time the agent was asked.
#[derive(Debug, Default)]
pub struct Course {
    /// Collected and forwarded, uptime, when last asked.
    before: Option<(u64, u64, u64)>,
    collected: VecDeque<u64>,
    delivered: VecDeque<u64>,
    waiting: VecDeque<u64>,
}

impl Course {
    /// Adds what the agent said. Counts become records a second; those of an agent that was started anew begin anew.
    pub fn add(&mut self, status: &Status) {
        let counts = &status.counts;
        let now = (counts.collected, counts.forwarded, status.uptime_ms);
        let before = self.before.replace(now).filter(|(_, _, uptime)| *uptime < now.2);
        if let Some((collected, forwarded, uptime)) = before {
            let ms = now.2 - uptime;
            let rate = |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1000).div_ceil(ms);
            push(&mut self.collected, rate(now.0, collected));
            push(&mut self.delivered, rate(now.1, forwarded));
        }
        push(&mut self.waiting, counts.waiting);
    }
}

fn push(samples: &mut VecDeque<u64>, sample: u64) {
    if samples.len() == SAMPLES {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// What is shown.
#[derive(Debug)]
pub struct View<'a> {
    /// What the agent said last; `None` if it never answered.
    pub status: Option<&'a Status>,
    /// The course until then.
    pub course: &'a Course,
    /// That the agent does not answer.
    pub trouble: Option<&'a Trouble>,
    /// Now (ms since the Unix epoch).
    pub now_ms: u64,
    /// The terminal has ASCII alone. What is said in Japanese, to somebody who asked for it there, stays Japanese.
    pub ascii: bool,
}

/// That the agent does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when (ms since the Unix epoch).
    pub since_ms: u64,
    /// Why.
    pub why: Message,
    /// What to read about it.
    pub code: Option<Code>,
}

/// The screen's lines: `rows` at most, each `width` cells at most.
pub fn draw(view: &View<'_>, width: usize, rows: usize, language: Language) -> Vec<String> {
    let names = NAMES[usize::from(width < NARROW)];
    let ascii = view.ascii && language == Language::English;
    let mut page = Page { lines: Vec::new(), width, names, ascii, sheet: Sheet::new(language, 0) };
    head(&mut page, view);
    if let Some(status) = view.status {
        state(&mut page, status, view.now_ms);
        let room = width.saturating_sub(names + 12).min(SAMPLES);
        for (name, samples, a_second) in [
            (message!("collected"), &view.course.collected, true),
            (message!("delivered"), &view.course.delivered, true),
            (message!("waiting"), &view.course.waiting, false),
        ] {
            let last = samples.back().map_or_else(|| "-".to_owned(), |last| number(*last));
            let last = if a_second { format!("{last}/s") } else { last };
            page.row(name, format!("{} {}", right(&last, 9), chart(samples, room, view.ascii)));
        }
        let left = rows.saturating_sub(page.lines.len() + 1);
        notices(&mut page, status, NOTICES.min(left.saturating_sub(3)));
        let left = rows.saturating_sub(page.lines.len() + 1);
        devices(&mut page, status, left);
    }
    page.lines.truncate(rows.saturating_sub(1));
    if rows > 0 {
        page.text(message!("q: end"));
    }
    page.lines
}

/// Lines within a width.
struct Page {
    lines: Vec<String>,
    width: usize,
    names: usize,
    /// Nothing but ASCII is to be written.
    ascii: bool,
    sheet: Sheet,
}

impl Page {
    fn text(&mut self, text: impl IntoValue) {
        let text = self.sheet.say(text);
        self.put(&text);
    }

    fn row(&mut self, name: impl IntoValue, value: impl IntoValue) {
        let (name, value) = (self.sheet.say(name), self.sheet.say(value));
        self.put(&format!("{} {value}", left(&name, self.names)));
    }

    /// What must be read to its end: on as many lines as it takes, each set in by two cells.
    fn whole(&mut self, text: impl IntoValue) {
        let text = self.sheet.say(text);
        let indent = if self.width > 2 { "  " } else { "" };
        for line in wrap(&text, self.width.saturating_sub(indent.len())) {
            self.put(&format!("{indent}{line}"));
        }
    }

    fn put(&mut self, line: &str) {
        self.lines.push(if self.ascii { cut(&asciified(line), self.width, "~") } else { cut(line, self.width, "…") });
    }
}

/// A text in ASCII: what separates stays readable, of what else there is it is seen that it was there.
fn asciified(text: &str) -> String {
    let one = |character: char| match character {
        '…' => '~',
        '“' | '”' | '„' => '"',
        '‘' | '’' => '\'',
        '·' | '–' | '—' => '-',
        '×' => 'x',
        ascii if ascii.is_ascii() => ascii,
        _ => '?',
    };
    text.chars().map(one).collect()
}

/// A text in lines of so many cells: broken at spaces where there are any, else where the line ends.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut used = 0;
        let fits = rest.char_indices().find_map(|(at, character)| {
            used += cells(character.encode_utf8(&mut [0; 4]));
            (used > width).then_some(at)
        });
        let end = match fits {
            None => rest.len(),
            // Not even one character does: what cannot be shown is left out.
            Some(0) => break,
            // A space may stand just behind the line.
            Some(at) if rest[at..].starts_with(' ') => at,
            Some(at) => rest[..at].rfind(' ').filter(|space| *space > 0).unwrap_or(at),
        };
        lines.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start();
    }
    lines
}

/// As much of a text as so many cells hold; that it was cut is shown.
fn cut(text: &str, width: usize, sign: &str) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for character in text.chars() {
        let wide = cells(character.encode_utf8(&mut [0; 4]));
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(character);
    }
    if width > 0 {
        out.push_str(sign);
    }
    out
}

/// The last `room` samples, each a level of the highest of them. What is not 0 is higher than what is.
fn chart(samples: &VecDeque<u64>, room: usize, ascii: bool) -> String {
    let levels = &LEVELS[usize::from(ascii)];
    let shown = samples.iter().skip(samples.len().saturating_sub(room));
    let most = shown.clone().max().copied().unwrap_or(0).max(1);
    let level = |sample: &u64| {
        let share = u128::from(*sample) * (levels.len() as u128 - 1);
        levels[share.div_ceil(u128::from(most)) as usize]
    };
    shown.map(level).collect()
}

fn head(page: &mut Page, view: &View<'_>) {
    let now = time(view.now_ms);
    let title = match view.status {
        Some(status) => format!("tidegate {} · {}", plain(&status.version), plain(&status.gateway)),
        None => "tidegate".to_owned(),
    };
    let title = if page.width < NARROW { title } else { format!("{title} · {now}") };
    page.text(title);
    if let Some(Trouble { since_ms, why, code }) = view.trouble {
        let gone = span(view.now_ms.saturating_sub(*since_ms));
        page.text(message!(
            "! no answer since {time} ({span}); asking again each second",
            time = time(*since_ms),
            span = gone
        ));
        let why = plain(&page.sheet.say(why.clone()));
        page.whole(code.map_or_else(|| why.clone(), |code| format!("{code}: {why}")));
        if let Some(code) = code {
            page.whole(message!("what to do: tidegate explain {code}", code = code.to_string()));
        }
    }
}

/// What asks for action, what is allowed, what binds, what Flux said.
fn state(page: &mut Page, status: &Status, now_ms: u64) {
    if !status.codes.is_empty() {
        let codes = page.sheet.list(status.codes.iter().map(|code| plain(code)));
        page.row(message!("to act on"), message!("{codes} (`tidegate explain CODE` says what to do)", codes = codes));
    }
    let stance = &status.stance;
    let may = may(stance);
    page.row(message!("stance"), message!("{stance}: {may}", stance = stance_word(&stance.stance), may = may));
    if let Some(ground) = stance.grounds.first() {
        let text = of_ground(&page.sheet, ground, now_ms);
        page.row("", text);
    }
    let limit = binding(page, status);
    page.row(message!("limit"), limit);
    let verdict = &status.verdict;
    let word = page.sheet.say(verdict_word(&verdict.word));
    let why = told(&page.sheet, &verdict.reason, verdict.reason_message.as_ref());
    let text = if why.is_empty() { word } else { format!("{word}: {why}") };
    page.row("Flux", text);
}

/// The limit that binds now: what holds a lane, or the line's rate.
fn binding(page: &Page, status: &Status) -> Message {
    if let Some(held) = status.budgets.held.first() {
        let why = told(&page.sheet, &held.reason, held.reason_message.as_ref());
        return message!(
            "{limit} holds {lane}: {why}",
            limit = plain(&held.limit),
            lane = plain(&held.lane),
            why = why
        );
    }
    if let Some(rate) = status.line.rate {
        message!("none holds anything up; at most {rate}", rate = super::format_rate(rate.saturating_mul(8)))
    } else {
        message!("none holds anything up")
    }
}

fn notices(page: &mut Page, status: &Status, most: usize) {
    let all = &status.stance.notices;
    for notice in &all[all.len().saturating_sub(most)..] {
        let text = of_notice(&page.sheet, notice);
        page.row(message!("notice"), text);
    }
}

fn devices(page: &mut Page, status: &Status, most: usize) {
    let devices = &status.devices;
    let Some(rows) = most.checked_sub(1).filter(|_| devices.known > 0) else { return };
    page.row(
        message!("devices"),
        message!("{known} heard, {silent} silent", known = number(devices.known), silent = number(devices.silent)),
    );
    for device in devices.list.iter().take(rows) {
        let text = of_device(&page.sheet, device);
        let name = cut(&plain(&device.name), page.names * 2, "…");
        let name = left(&name, page.names * 2);
        page.text(format!("  {name} {text}"));
    }
}

fn of_device(sheet: &Sheet, device: &DeviceStatus) -> String {
    let rate = match device.per_hour {
        0..120 => message!("{count}/h", count = device.per_hour),
        120..7200 => message!("{count}/min", count = device.per_hour / 60),
        _ => message!("{count}/s", count = number(device.per_hour / 3600)),
    };
    // One message is no pace, and of a pause of ten minutes there is none either.
    let text = sheet.say(if device.per_hour == 0 {
        message!("{span} ago", span = span(device.ago_ms))
    } else {
        message!("{span} ago, {rate}", span = span(device.ago_ms), rate = rate)
    });
    match device.usual_ms.filter(|_| device.silent) {
        Some(usual) => sheet.say(message!("! SILENT: {text}, usually within {span}", text = text, span = span(usual))),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::watch::{Counts, DevicesStatus, GroundStatus, NoticeStatus};

    fn status() -> Status {
        let mut status =
            Status { version: "1".into(), gateway: "屋上ゲートウェイ".into(), ..Status::default() };
        status.stance.stance = "maintenance".into();
        status.stance.telemetry = "nothing".into();
        status.stance.grounds =
            vec![GroundStatus { stance: "maintenance".into(), cause: "works\u{1b}".into(), ..GroundStatus::default() }];
        status.stance.notices =
            (0..9).map(|_| NoticeStatus { what: "hold".into(), ..NoticeStatus::default() }).collect();
        let device = |silent| DeviceStatus {
            name: if silent { "温度計".into() } else { "pump".into() },
            silent,
            usual_ms: Some(10_000),
            ..DeviceStatus::default()
        };
        let list = vec![device(true), device(false)];
        status.devices = DevicesStatus { known: 2, silent: 1, forgotten: 0, list };
        status
    }

    fn trouble() -> Trouble {
        let why = message!("nobody there on {path}, or somebody who says nothing", path = "/run/tidegate/control.sock");
        Trouble { since_ms: 1000, why, code: Some(Code::NotRunning) }
    }

    fn view<'a>(status: &'a Status, course: &'a Course, trouble: &'a Trouble) -> View<'a> {
        View { status: Some(status), course, trouble: Some(trouble), now_ms: 61_000, ascii: false }
    }

    #[test]
    fn everything_that_matters_is_on_a_small_terminal() {
        let (status, course) = (status(), Course::default());
        let text = draw(&view(&status, &course, &trouble()), 80, 24, Language::English).join("\n");
        for part in [
            "no answer since 1970-01-01 00:00:01 UTC (1 min 0 s)",
            "  TG-601: nobody there",
            "  what to do: tidegate explain TG-601",
            "maintenance: nothing is sent",
            "works\\u{1b}",
            "collected",
            "2 heard, 1 silent",
            "! SILENT",
            "q: end",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        let small = draw(&view(&status, &course, &trouble()), 40, 12, Language::English);
        let text = small.join("\n");
        assert!(small.len() <= 12 && text.contains("maintenance: nothing") && text.contains("TG-601"), "{text}");
        let text = draw(&View { trouble: None, ..view(&status, &course, &trouble()) }, 40, 12, Language::English);
        assert!(text.join("\n").contains("waiting"), "{text:?}");
    }

    #[test]
    fn a_text_is_broken_at_spaces_and_where_there_are_none_where_the_line_ends() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a /path/that/is/long", 8), ["a", "/path/th", "at/is/lo", "ng"]);
        assert_eq!(wrap("動いていません", 5), ["動い", "てい", "ませ", "ん"]);
        assert_eq!(wrap("動", 1), [""; 0]);
        assert_eq!(wrap("", 0), [""; 0]);
    }

    #[test]
    fn where_there_is_ascii_alone_english_has_nothing_else() {
        let (status, course, trouble) = (status(), Course::default(), trouble());
        let view = View { ascii: true, ..view(&status, &course, &trouble) };
        for width in [80, 20] {
            let text = draw(&view, width, 24, Language::English).join("\n");
            assert!(text.is_ascii() && text.contains('~') == (width == 20), "{text}");
        }
        assert!(draw(&view, 80, 24, Language::English).join("\n").contains("tidegate 1 - ????????"));
        assert!(draw(&view, 80, 24, Language::Japanese).join("\n").contains('温'));
    }

    #[test]
    fn counts_become_a_course_and_a_new_start_is_no_fall() {
        let mut course = Course::default();
        for (uptime_ms, collected) in [(1000, 0), (2000, 100), (4000, 100), (500, 7), (1500, 8)] {
            let counts = Counts { collected, ..Counts::default() };
            course.add(&Status { uptime_ms, counts, ..Status::default() });
        }
        assert_eq!(course.collected, [100, 0, 1]);
        assert_eq!(chart(&course.collected, 10, false), "█▁▂");
        assert_eq!(chart(&course.collected, 2, true), "_#");
        (0..1000).for_each(|_| push(&mut course.waiting, 1));
        assert_eq!(course.waiting.len(), SAMPLES);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_and_there_are_no_more_than_the_terminal_has(
            width in 0_usize..200,
            rows in 0_usize..60,
            japanese in any::<bool>(),
        ) {
            let (status, mut course) = (status(), Course::default());
            (0..300).for_each(|n| push(&mut course.collected, n));
            let language = if japanese { Language::Japanese } else { Language::English };
            let lines = draw(&view(&status, &course, &trouble()), width, rows, language);
            prop_assert!(lines.len() <= rows);
            for line in lines {
                prop_assert!(cells(&line) <= width, "{line:?} in {width}");
            }
        }
    }
}
