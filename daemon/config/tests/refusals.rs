//! Bad files and the exact words they are refused with; `KADENZ_BLESS=1` rewrites the expected texts.
#![expect(clippy::unwrap_used, reason = "in a test helper a panic is the verdict")]

use std::fs;
use std::path::{Path, PathBuf};

use kadenz_config::{Error, Exemption, FILE_BYTES_MAX, Machine};

const MINIMAL: &str = include_str!("minimal.toml");

fn bad_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

fn refusal(text: &str) -> String {
    Machine::from_toml("f.toml", text).unwrap_err().to_string()
}

#[test]
fn every_bad_file_is_refused_in_the_expected_words() {
    let files = bad_files();
    assert!(files.len() >= 20, "only {} bad files", files.len());
    let bless = std::env::var_os("KADENZ_BLESS").is_some();
    let mut wrong = String::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let findings = Machine::from_bytes(name, &fs::read(&path).unwrap()).unwrap_err();
        let said = format!("{findings}\n");
        let expected_path = path.with_extension("txt");
        if bless {
            fs::write(&expected_path, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected {
            wrong.push_str(&format!("--- {name} expected\n{expected}--- said\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_file_that_the_bad_ones_are_made_from_is_accepted() {
    Machine::from_toml("minimal.toml", MINIMAL).unwrap();
}

#[test]
fn findings_come_sorted_by_position_and_all_at_once() {
    let text = MINIMAL.replace("= 3.0", "= -3e9").replace("= 0.4", "= nan").replace("two", "T");
    let findings = Machine::from_toml("f.toml", &text).unwrap_err();
    let places: Vec<_> = findings.shown.iter().map(|one| (one.line, one.column)).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(places.len(), 4, "{findings}");
}

#[test]
fn a_file_with_thousands_of_mistakes_shows_the_first_and_counts_the_rest() {
    let mistakes: String = (0..5000).map(|index| format!("x{index} = 1\n")).collect();
    let findings = Machine::from_toml("f.toml", &format!("{mistakes}{MINIMAL}")).unwrap_err();
    assert_eq!((findings.shown.len(), findings.hidden_count), (64, 4936));
    assert!(findings.to_string().ends_with("\nf.toml: and 4936 more like these"));
}

#[test]
fn carets_stand_under_their_place_on_lines_with_tabs_and_wide_text() {
    let findings = Machine::from_toml("f.toml", "[machine]\nname\t=\t\"übung\"").unwrap_err();
    let snippet = &findings.shown.iter().find(|one| one.line == 2).unwrap().snippet;
    assert_eq!(snippet, "  |\n2 | name = \"übung\"\n  |        ^^^^^^^");
}

#[test]
fn a_long_line_is_shown_around_the_place() {
    let text =
        format!("[machine]\nname = \"{}\"\nx = [{}\"y\"]", "n".repeat(500), "1, ".repeat(90));
    let findings = Machine::from_toml("f.toml", &text).unwrap_err();
    for finding in &findings.shown {
        let lines: Vec<_> = finding.snippet.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 130), "{findings}");
        assert!(lines[2].contains('^'), "{findings}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_where_they_begin() {
    let findings = Machine::from_bytes("f.toml", b"[machine]\nname = \"\xff\"").unwrap_err();
    let first = findings.to_string();
    assert!(first.starts_with("f.toml:2:9: not UTF-8 from here on; save the file as UTF-8\n"));
}

#[test]
fn more_axes_than_the_contract_holds_are_refused_with_the_number() {
    let (head, axes) = MINIMAL.split_at(MINIMAL.find("[[axis]]").unwrap());
    let axis = &axes[..axes[1..].find("[[axis]]").unwrap() + 1];
    let many = |count: usize| -> String {
        let axes = (0..count).map(|index| axis.replace("turn", &format!("turn{index}")));
        head.chars().chain(axes.collect::<String>().chars()).collect()
    };
    assert_eq!(Machine::from_toml("f.toml", &many(64)).unwrap().axes.len(), 64);
    let said = refusal(&many(66));
    assert!(said.contains("there are 66 [[axis]]: at most 64; remove the rest"), "{said}");
}

#[test]
fn a_file_that_never_ends_is_refused_by_its_length() {
    let said = refusal(&"#".repeat(FILE_BYTES_MAX + 1));
    assert!(said.contains("longer than 1048576 bytes"), "{said}");
    #[cfg(target_os = "linux")]
    {
        let error = Machine::load(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(&error, Error::Refused(_)));
        assert!(error.to_string().contains("longer than 1048576 bytes"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Machine::load(Path::new("/nonexistent/machine.toml")).unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
    assert!(error.to_string().starts_with("/nonexistent/machine.toml: cannot be read: "));
}

#[test]
fn every_exemption_is_accepted_by_its_name() {
    for exemption in Exemption::ALL {
        let list = format!("[\"one-user\", \"{exemption}\"]");
        let list = if exemption == Exemption::OneUser { "[\"one-user\"]".to_owned() } else { list };
        let text = MINIMAL.replace("[\"one-user\"]", &list);
        assert!(Machine::from_toml("f.toml", &text).unwrap().is_exempt(exemption));
        assert!(!exemption.meaning().is_empty());
    }
}

#[test]
fn torque_and_horizon_named_in_a_refusal_are_enough_when_copied() {
    let weak = MINIMAL.replace("limit_n_m = 90.0", "limit_n_m = 1\ncoulomb_n_m = 0.123456");
    let said = refusal(&weak);
    let needed = said.split("needs ").nth(1).unwrap().split(' ').next().unwrap();
    Machine::from_toml("f.toml", &weak.replace("= 1\n", &format!("= {needed}\n"))).unwrap();

    let short = format!("[source]\nhorizon_ms = 100\n{MINIMAL}");
    let said = refusal(&short);
    let least = said.split("at least ").nth(1).unwrap().split(' ').next().unwrap();
    let machine = Machine::from_toml("f.toml", &short.replace("100\n", &format!("{least}\n")));
    assert!(
        f64::from(machine.unwrap().source.horizon_ms) - 1.0 < {
            let machine = Machine::from_toml("f.toml", MINIMAL).unwrap();
            machine.horizon_ms_min()
        }
    );
}
