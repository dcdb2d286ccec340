//! The shipped trajectories as text: geometry, speeds and number format; writes no file.

pub mod arm;
pub mod mill;
pub mod path;

/// Distance of rows in milliseconds.
const ROW_MS: usize = 20;

/// Name and content of every shipped trajectory.
pub fn files() -> Vec<(&'static str, String)> {
    vec![("iso9283_arm.csv", arm::csv()), ("pocket_contour.csv", mill::csv())]
}

/// Comments, header and rows; values are rounded to 1e-9, which at this row distance costs less
/// than 0.02 rad/s³ of jerk. Standstill at either end is left out: a file is at rest there anyway.
fn csv_text<const N: usize>(comments: &[&str], header: &str, rows: &[[f64; N]]) -> String {
    // Adding 0 turns -0 into 0.
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|v| format!("{}", (v * 1e9).round() / 1e9 + 0.0)).collect())
        .collect();
    let (start, end) = (&rows[0], &rows[rows.len() - 1]);
    let first = rows.iter().take_while(|row| *row == start).count() - 1;
    let last = rows.len() - rows.iter().rev().take_while(|row| *row == end).count();
    let mut text = String::new();
    for comment in comments {
        text += &format!("# {comment}\n");
    }
    text += header;
    for (index, row) in rows[first..=last].iter().enumerate() {
        let ms = index * ROW_MS;
        text += &format!("\n{}.{:02},{}", ms / 1000, ms % 1000 / 10, row.join(","));
    }
    text + "\n"
}
