//! A plot: lag against polls, one point a policy, as plain SVG.

use std::fmt::Write as _;

/// One policy: its name (what follows a comma is left out), polls a session, lag in seconds at the median and at the 95th percentile.
pub struct Point {
    pub name: String,
    pub polls: f64,
    pub p50: f64,
    pub p95: f64,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 360.0;
/// Both axes are logarithmic, from these to those.
const POLLS: (f64, f64) = (0.8, 60.0);
const LAG: (f64, f64) = (5.0, 40_000.0);

fn x(polls: f64) -> f64 {
    LEFT + (WIDTH - LEFT - 40.0) * (polls.clamp(POLLS.0, POLLS.1) / POLLS.0).ln() / (POLLS.1 / POLLS.0).ln()
}

fn y(lag: f64) -> f64 {
    BOTTOM - (BOTTOM - 40.0) * (lag.clamp(LAG.0, LAG.1) / LAG.0).ln() / (LAG.1 / LAG.0).ln()
}

/// The plot as text.
pub fn svg(title: &str, points: &[Point]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{title}</text>\n"
    );
    for polls in [1.0, 2.0, 5.0, 10.0, 20.0, 50.0] {
        let x = x(polls);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} 40V{BOTTOM}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"376\" text-anchor=\"middle\">{polls}</text>"
        );
    }
    for (lag, label) in [(10.0, "10 s"), (60.0, "1 min"), (300.0, "5 min"), (1800.0, "30 min"), (10_800.0, "3 h")] {
        let y = y(lag);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H720\" stroke=\"#ddd\"/><text x=\"62\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            y + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"395\" y=\"400\" text-anchor=\"middle\">polls a session; bar: lag from the median (dot) to the 95th percentile</text>"
    );
    for point in points {
        let (x, low, high) = (x(point.polls), y(point.p50), y(point.p95));
        let colour = if point.name == "adaptive" { "#c0392b" } else { "#2c3e50" };
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {low:.1}V{high:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/><circle cx=\"{x:.1}\" cy=\"{low:.1}\" r=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            x + 7.0,
            high + 4.0,
            point.name.split(',').next().unwrap_or_default()
        );
    }
    svg + "</svg>\n"
}
