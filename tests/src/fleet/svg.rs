//! Draws a run: connections and events a second over time, both fleets beside each other.

use std::fmt::Write as _;

use super::figures::{Course, Figures};
use super::{MINUTE, SECOND, Scenario};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 60.0;

/// Points of a line.
const STEP: u64 = 10 * SECOND;

/// An SVG document with two panels: connections, and events.
pub fn draw(scenario: Scenario, ours: &Figures, alone: &Figures) -> String {
    let (width, height) = (WIDTH + 2.0 * MARGIN, 2.0 * (HEIGHT + MARGIN) + MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"16\">{}: Tidegate (blue), back-off alone (red)</text>\n",
        scenario.name()
    );
    panel(&mut svg, scenario, "connections a second", MARGIN, [&ours.connections, &alone.connections]);
    panel(&mut svg, scenario, "events a second", 2.0 * MARGIN + HEIGHT, [&ours.events, &alone.events]);
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, scenario: Scenario, title: &str, top: f64, courses: [&Course; 2]) {
    let length = scenario.length();
    let x = |at: u64| MARGIN + WIDTH * at as f64 / length as f64;
    let points = |course: &Course| -> Vec<(u64, f64)> {
        (0..length / STEP).map(|step| (step * STEP, course.rate(step * STEP, (step + 1) * STEP))).collect()
    };
    let lines = courses.map(points);
    let most = lines.iter().flatten().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let y = |rate: f64| top + HEIGHT * (1.0 - rate / most);
    let (from, until) = scenario.span();
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"#eee\"/>\n\
         <text x=\"{MARGIN}\" y=\"{:.1}\">{title}, at most {most:.0}</text>",
        x(from),
        x(until) - x(from),
        top - 6.0
    );
    for minute in (0..=length / MINUTE).step_by(10) {
        let at = x(minute * MINUTE);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#ccc\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{minute} min</text>",
            top + HEIGHT,
            top + HEIGHT + 14.0
        );
    }
    for (line, colour) in lines.iter().zip(["#1565c0", "#c62828"]) {
        let points: Vec<String> = line.iter().map(|(at, rate)| format!("{:.1},{:.1}", x(*at), y(*rate))).collect();
        let _ = writeln!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>", points.join(" "));
    }
}
