//! Every broken file gets one message with place, value and remedy; no bytes make the parser panic.

mod machine;

use kadenz_planner::csv::{TrajectoryRows, parse};
use machine::two_axes;
use proptest::prelude::*;

fn read(text: &str) -> Result<TrajectoryRows, String> {
    parse("a.csv", text.as_bytes(), &two_axes()).map_err(|e| e.to_string())
}

#[track_caller]
fn refused(text: &str, message: &str) {
    assert_eq!(read(text), Err(message.to_owned()));
}

#[test]
fn comments_blank_lines_crlf_bom_spaces_and_any_column_order_are_accepted() {
    let rows = read("\u{feff}# made by hand\r\nt_s, lift_m ,j1_rad\r\n\r\n0, 0.5,1\r\n# half way\r\n0.5,0.25 , 1.5e0\r\n\"1\",-0,+2").unwrap();
    assert_eq!(rows.axes, [1, 0]);
    assert_eq!(rows.t_s, [0.0, 0.5, 1.0]);
    assert_eq!(rows.positions, [[0.5, 0.25, 0.0], [1.0, 1.5, 2.0]]);
    assert_eq!(rows.lines, [4, 6, 7]);
}

#[test]
fn a_subset_of_the_axes_is_accepted_and_lone_carriage_returns_end_lines() {
    let rows = read("t_s,lift_m\r0,0\r1,0.1\r").unwrap();
    assert_eq!((rows.axes, rows.lines), (vec![1], vec![2, 3]));
}

#[test]
fn an_empty_file_is_told_what_a_header_looks_like() {
    refused(
        "# nothing\n\n",
        "a.csv:1:1: no header; the first line must be `t_s` and axis columns, such as `t_s,j1_rad,lift_m`",
    );
}

#[test]
fn a_file_with_semicolons_is_told_to_use_commas() {
    refused(
        "t_s;j1_rad\n0;0,5\n",
        "a.csv:1:1: fields are separated by `;`; separate them by `,` and write decimal fractions with `.`",
    );
}

#[test]
fn a_missing_time_column_is_named() {
    refused(
        "# x\ntime,j1_rad\n0,0\n",
        "a.csv:2:1: the first column is `time`; it must be `t_s`, the time in seconds",
    );
}

#[test]
fn a_header_without_axes_lists_them() {
    refused("t_s\n0\n1\n", "a.csv:1:1: no axis column; add at least one of: j1_rad, lift_m");
}

#[test]
fn an_unknown_axis_gets_the_nearest_name() {
    refused(
        "t_s,j1_rad, lfit_m\n0,0,0\n",
        "a.csv:1:13: unknown column `lfit_m`, did you mean `lift_m`?; this machine has: j1_rad, lift_m",
    );
    refused(
        "t_s,spindle_rpm\n0,0\n",
        "a.csv:1:5: unknown column `spindle_rpm`; this machine has: j1_rad, lift_m",
    );
}

#[test]
fn a_wrong_or_missing_unit_is_told_the_right_one() {
    let rotary = "j1 is a rotary axis; convert its values to radians and name the column `j1_rad`";
    let linear = "lift is a linear axis; convert its values to metres and name the column `lift_m`";
    refused("t_s,j1_m\n0,0\n", &format!("a.csv:1:5: column `j1_m`: {rotary}"));
    refused("t_s,j1_deg\n0,0\n", &format!("a.csv:1:5: column `j1_deg`: {rotary}"));
    refused("t_s,j1\n0,0\n", &format!("a.csv:1:5: column `j1`: {rotary}"));
    refused("t_s,j1_rad,lift_mm\n", &format!("a.csv:1:12: column `lift_mm`: {linear}"));
}

#[test]
fn a_repeated_column_is_refused() {
    refused(
        "t_s,j1_rad,j1_rad\n0,0,0\n",
        "a.csv:1:12: column `j1_rad` appears twice; keep one of them",
    );
}

#[test]
fn a_short_or_long_row_is_counted() {
    refused(
        "t_s,j1_rad,lift_m\n0,0,0\n1,0\n",
        "a.csv:3:3: 2 fields where the header has 3; give every row 3",
    );
    refused(
        "t_s,j1_rad\n0,0\n1,0,7\n",
        "a.csv:3:5: 3 fields where the header has 2; give every row 2",
    );
}

#[test]
fn text_instead_of_a_number_is_quoted_at_its_character() {
    refused(
        "t_s,j1_rad,lift_m\n0,0,0\n# ü\n1,\"é\"  ,abc\n",
        "a.csv:4:3: `é` in column `j1_rad` is not a number; write it like -0.125 or 1.5e-3",
    );
    refused(
        "t_s,j1_rad,lift_m\n0,0,0\n1, \u{e9}\u{e9} ,abc\n",
        "a.csv:3:4: `éé` in column `j1_rad` is not a number; write it like -0.125 or 1.5e-3",
    );
    refused(
        "t_s,j1_rad,lift_m\r\n0,0,0\r\n1,0.1,\r\n",
        "a.csv:3:7: `` in column `lift_m` is not a number; write it like -0.125 or 1.5e-3",
    );
    let long = format!("t_s,j1_rad\n0,{}\n", "\u{1b}x".repeat(40));
    let message = read(&long).unwrap_err();
    assert!(message.starts_with("a.csv:2:3: `\\u{1b}x\\u{1b}x"), "{message}");
    assert!(message.contains("…` in column") && !message.contains('\u{1b}'));
}

#[test]
fn a_number_no_machine_can_mean_gets_its_range() {
    for value in ["inf", "NaN", "1e400", "-2e6"] {
        refused(
            &format!("t_s,j1_rad\n0,0\n1,{value}\n"),
            &format!(
                "a.csv:3:3: `{value}` in column `j1_rad` is outside -1000000 to 1000000 rad; correct the value or its unit"
            ),
        );
    }
    refused(
        "t_s,j1_rad\n0,0\n1e5,0\n",
        "a.csv:3:1: `1e5` in column `t_s` is outside 0 to 86400 s; correct the value or its unit",
    );
}

#[test]
fn time_must_start_at_0_and_rise() {
    refused(
        "t_s,j1_rad\n0.5,0\n1,0\n",
        "a.csv:2:1: time starts at 0.5 s; it must start at 0: subtract 0.5 from every time",
    );
    refused(
        "t_s,j1_rad\n0,0\n1,0\n  1,0\n",
        "a.csv:4:3: time 1 s does not rise above 1 s of the row before; sort the rows and remove repeated times",
    );
}

#[test]
fn one_row_is_not_a_trajectory() {
    refused("t_s,j1_rad\n0,0\n", "a.csv:2:1: 1 row(s) of numbers; a trajectory needs at least 2");
}

#[test]
fn other_encodings_are_refused_at_their_byte() {
    let error = parse("a.csv", b"t_s,j1_rad\n0,0\n1,\xB5\n", &two_axes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.csv:3:3: byte 0xB5 is not UTF-8 text; save the file as UTF-8 CSV"
    );
    let utf16 = parse("a.csv", b"\xFF\xFEt\0_\0s\0", &two_axes()).unwrap_err();
    assert!(utf16.to_string().starts_with("a.csv:1:1: byte 0xFF is not UTF-8"));
}

#[test]
fn more_rows_than_fit_are_refused_at_the_first_too_many() {
    let mut text = String::from("t_s,j1_rad\n");
    for i in 0..=2_000_000 {
        text.push_str(&format!("{}e-5,0\n", i));
    }
    refused(
        &text,
        "a.csv:2000002:1: more than 2000000 rows; split the file or write fewer rows per second",
    );
}

#[test]
fn a_path_that_cannot_be_read_says_why() {
    let error = kadenz_planner::csv::read_bytes(std::path::Path::new("no/such.csv")).unwrap_err();
    assert!(error.to_string().starts_with("no/such.csv:1:1: cannot be read: "), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse("a.csv", &bytes, &two_axes());
    }

    #[test]
    fn no_likely_text_makes_it_panic_and_every_refusal_names_a_place_in_the_file(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "t_s", "j1_rad", "lift_m", ",", "\n", "\r\n", "\r", "#", "\"", " ", "0", "1", "2.5",
                "-1e-3", "nan", "é", ";", "\u{feff}", "t_s,j1_rad\n", "0,0\n", "1,1\n", "\t",
            ]),
            0..40,
        )
    ) {
        let text = words.concat();
        match parse("a.csv", text.as_bytes(), &two_axes()) {
            Ok(rows) => {
                prop_assert!(rows.t_s.len() >= 2 && rows.t_s[0] == 0.0);
                prop_assert!(rows.t_s.windows(2).all(|t| t[0] < t[1]));
                let mut lines = text.replace("\r\n", "\n").replace('\r', "\n");
                lines.push('\n');
                let count = lines.matches('\n').count();
                prop_assert!(rows.lines.iter().all(|l| (1..=count).contains(&(*l as usize))));
            }
            Err(error) => {
                let lines = 1 + text.matches(['\n', '\r']).count();
                prop_assert!((1..=lines).contains(&(error.line as usize)), "{}", error);
                prop_assert!((1..=text.chars().count().max(1) + 1).contains(&(error.column as usize)));
            }
        }
    }

    #[test]
    fn what_is_written_is_read(
        steps in proptest::collection::vec((1e-4..1.0_f64, -3.0..3.0_f64, -1.0..1.0_f64), 2..30),
        crlf in any::<bool>(),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut t = 0.0;
        let mut text = format!("t_s,j1_rad,lift_m{end}");
        let mut expected = Vec::new();
        for (step, a, b) in &steps {
            text += &format!("{t},{a},{b}{end}");
            expected.push((t, *a, *b));
            t += step;
        }
        let rows = read(&text).unwrap();
        let got: Vec<_> = (0..rows.t_s.len())
            .map(|i| (rows.t_s[i], rows.positions[0][i], rows.positions[1][i]))
            .collect();
        prop_assert_eq!(got, expected);
    }
}
