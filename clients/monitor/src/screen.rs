//! One frame for a terminal: painted over the last one without flicker, cut to its size. Pure.
use kadenz_link::status::{Line, Tone};

const HOME: &str = "\x1b[H";
const CLEAR_LINE_END: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const RESET: &str = "\x1b[0m";

fn code(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Title => "\x1b[1m",
        Tone::Warn => "\x1b[33m",
        Tone::Bad => "\x1b[1;31m",
    }
}

/// The bytes that paint `lines` on a terminal of `rows` by `columns`.
pub fn frame(lines: &[Line], (rows, columns): (usize, usize), color: bool) -> String {
    let mut out = String::from(HOME);
    // The last row stays free: a line end there would scroll.
    let room = rows.saturating_sub(1).max(1);
    let hidden = lines.len().saturating_sub(room);
    let shown = if hidden > 0 { room - 1 } else { lines.len() };
    for line in &lines[..shown] {
        push(&mut out, &line.text, line.tone, columns, color);
    }
    if hidden > 0 {
        let more = format!("… {} more lines: make the terminal taller", lines.len() - shown);
        push(&mut out, &more, Tone::Warn, columns, color);
    }
    out.push_str(CLEAR_BELOW);
    out
}

fn push(out: &mut String, text: &str, tone: Tone, columns: usize, color: bool) {
    let code = if color { code(tone) } else { "" };
    out.push_str(code);
    out.extend(text.chars().take(columns));
    if !code.is_empty() {
        out.push_str(RESET);
    }
    out.push_str(CLEAR_LINE_END);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<Line> {
        (0..count).map(|n| Line { text: format!("line {n} é"), tone: Tone::Bad }).collect()
    }

    #[test]
    fn a_frame_starts_at_home_and_clears_what_it_does_not_paint() {
        let painted = frame(&lines(2), (24, 80), false);
        assert_eq!(painted, "\x1b[Hline 0 é\x1b[K\nline 1 é\x1b[K\n\x1b[J");
    }

    #[test]
    fn no_color_means_no_color_codes() {
        assert!(frame(&lines(2), (24, 80), true).contains("\x1b[1;31m"));
        assert!(!frame(&lines(2), (24, 80), false).contains("\x1b[1;31m"));
    }

    #[test]
    fn no_frame_scrolls_or_wraps_whatever_the_size() {
        for rows in 1..30 {
            for columns in 1..12 {
                let painted = frame(&lines(9), (rows, columns), false);
                assert!(painted.matches("\n").count() < rows.max(2), "{rows} x {columns}");
                let plain =
                    painted.replace(HOME, "").replace(CLEAR_LINE_END, "").replace(CLEAR_BELOW, "");
                assert!(plain.split("\n").all(|line| line.chars().count() <= columns));
            }
        }
    }
}
