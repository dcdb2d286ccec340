//! Histograms as an SVG: one panel per arm, floor and daemon overlaid, latency on a logarithmic scale.
use std::fmt::Write;

/// Bars per factor of ten.
const BARS_PER_DECADE: usize = 20;
/// Left end of the scale, ns.
const FIRST_NS: f64 = 100.0;
/// Powers of ten on the scale: 100 ns to 1 s.
const DECADES: usize = 7;
const BARS: usize = BARS_PER_DECADE * DECADES;
const BAR_WIDTH: f64 = 5.0;
const WIDTH: f64 = BAR_WIDTH * BARS as f64;
const HEIGHT: f64 = 120.0;
const MARGIN: f64 = 50.0;
const PANEL: f64 = HEIGHT + 60.0;
const FLOOR_COLOUR: &str = "#888888";
const ARM_COLOUR: &str = "#d04a02";

/// One panel: its title, the floor's latencies and the daemon's, ns.
pub struct Panel {
    /// What was beside the loop.
    pub title: String,
    /// Latencies of the bare loop.
    pub floor_ns: Vec<u64>,
    /// Latencies of the daemon.
    pub arm_ns: Vec<u64>,
}

/// The whole picture.
#[must_use]
pub fn picture(panels: &[Panel]) -> String {
    let (width, height) = (WIDTH + 2.0 * MARGIN, PANEL * panels.len() as f64 + MARGIN);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\">Wake-up latency; share of cycles, logarithmic. \
         <tspan fill=\"{FLOOR_COLOUR}\">bare loop</tspan>, \
         <tspan fill=\"{ARM_COLOUR}\">kadenzd</tspan></text>"
    );
    for (index, panel) in panels.iter().enumerate() {
        let top = MARGIN + PANEL * index as f64;
        let _ = writeln!(
            out,
            "<g transform=\"translate({MARGIN} {top})\">\n<text y=\"-6\">{}</text>",
            escaped(&panel.title)
        );
        bars(&mut out, &panel.floor_ns, FLOOR_COLOUR, "fill");
        bars(&mut out, &panel.arm_ns, ARM_COLOUR, "stroke");
        axis(&mut out);
        out += "</g>\n";
    }
    out += "</svg>\n";
    out
}

/// The outline of a histogram, filled or drawn. Shares of a millionth to one fill the height.
fn bars(out: &mut String, latencies_ns: &[u64], colour: &str, how: &str) {
    let mut counts = [0_u64; BARS];
    for ns in latencies_ns {
        if let Some(count) = counts.get_mut(bar_of(*ns)) {
            *count += 1;
        }
    }
    let total = latencies_ns.len().max(1) as f64;
    let mut path = format!("M0 {HEIGHT}");
    for (bar, count) in counts.iter().enumerate() {
        let share = *count as f64 / total;
        let height = if *count == 0 { 0.0 } else { HEIGHT * (1.0 + share.log10() / 6.0).max(0.0) };
        let (left, y) = (BAR_WIDTH * bar as f64, HEIGHT - height);
        let _ = write!(path, "L{left} {y:.1}H{}", left + BAR_WIDTH);
    }
    let _ = write!(path, "V{HEIGHT}");
    let other = if how == "fill" { "stroke" } else { "fill" };
    let _ = writeln!(
        out,
        "<path d=\"{path}\" {how}=\"{colour}\" {other}=\"none\" fill-opacity=\"0.5\"/>"
    );
}

/// Place of a latency on the scale; what is beyond either end stands at that end.
fn bar_of(ns: u64) -> usize {
    let decades = (ns.max(1) as f64 / FIRST_NS).log10();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, saturates"
    )]
    let bar = (decades.max(0.0) * BARS_PER_DECADE as f64) as usize;
    bar.min(BARS - 1)
}

fn axis(out: &mut String) {
    let _ = writeln!(out, "<path d=\"M0 {HEIGHT}H{WIDTH}\" stroke=\"black\"/>");
    for (decade, label) in
        ["100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"].iter().enumerate()
    {
        let x = BAR_WIDTH * (BARS_PER_DECADE * decade) as f64;
        let _ = writeln!(
            out,
            "<path d=\"M{x} {HEIGHT}v5\" stroke=\"black\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            HEIGHT + 18.0
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_stand_where_the_scale_says() {
        assert_eq!(bar_of(0), 0);
        assert_eq!(bar_of(100), 0);
        assert_eq!(bar_of(1_001), BARS_PER_DECADE);
        assert_eq!(bar_of(100_001), 3 * BARS_PER_DECADE);
        assert_eq!(bar_of(u64::MAX), BARS - 1);
    }

    #[test]
    fn a_picture_has_both_outlines_of_every_panel() {
        let panel = |title: &str| Panel {
            title: title.to_owned(),
            floor_ns: vec![4_000; 90],
            arm_ns: vec![5_000; 90],
        };
        let picture = picture(&[panel("idle"), panel("a<b")]);
        assert_eq!(picture.matches("fill=\"#888888\" stroke").count(), 2);
        assert_eq!(picture.matches("stroke=\"#d04a02\" fill").count(), 2);
        assert!(picture.contains("a&lt;b") && picture.ends_with("</svg>\n"));
    }
}
