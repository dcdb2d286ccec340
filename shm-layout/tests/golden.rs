//! The contract is what the golden files say: layout and meaning change only on purpose.
//!
//! `KADENZ_BLESS=1 cargo test -p shm-layout` writes them anew; a changed golden file needs a line in
//! CHANGELOG.md.
use std::fmt::Write as _;
use std::path::Path;

use shm_layout::{LAYOUT_HASH, RECORDS, VERSION_MAJOR, VERSION_MINOR, code};

fn layout_text() -> String {
    let mut out = format!("contract {VERSION_MAJOR}.{VERSION_MINOR} hash {LAYOUT_HASH:#018x}\n");
    for record in RECORDS {
        writeln!(out, "\n{} {} bytes", record.name, record.size).unwrap();
        for field in record.fields {
            writeln!(out, "{:6} {:5} {} : {}", field.offset, field.size, field.name, field.kind)
                .unwrap();
        }
    }
    out
}

fn sentence(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

macro_rules! code_tables {
    ($out:ident, $($name:ident),*) => { $(
        writeln!($out, "\n### {}\n\n| code | word | meaning |\n|---|---|---|", stringify!($name)).unwrap();
        for (value, word, meaning) in code::$name::ALL {
            writeln!($out, "| {} | `{word}` | {} |", value.code(), sentence(meaning)).unwrap();
        }
    )* };
}

fn contract_text() -> String {
    let mut out = format!(
        "# Contract {VERSION_MAJOR}.{VERSION_MINOR}\n\n\
         Generated from `shm-layout` by its golden test; do not edit. Layout hash `{LAYOUT_HASH:#018x}`.\n\n\
         All numbers are little-endian. Any bit pattern may arrive: readers check ranges at their border.\n\
         Times are CLOCK_MONOTONIC. Freshness of a state record counts from its `wake_ns`.\n\n## Records\n"
    );
    for record in RECORDS {
        writeln!(
            out,
            "\n### {} ({} bytes)\n\n{}\n\n| offset | field | type | unit | range | writer | meaning |\n|---|---|---|---|---|---|---|",
            record.name,
            record.size,
            sentence(record.meaning)
        )
        .unwrap();
        for f in record.fields {
            writeln!(
                out,
                "| {} | `{}` | `{}` | {} | {} | {} | {} |",
                f.offset,
                f.name,
                f.kind,
                f.unit.replace('|', "or"),
                f.range.replace('|', "or"),
                f.writer,
                sentence(f.meaning)
            )
            .unwrap();
        }
    }
    out.push_str("\n## Codes\n");
    code_tables!(
        out,
        Verdict,
        Phase,
        Reason,
        RequestKind,
        Outcome,
        KnotRefusal,
        EventKind,
        AxisKind,
        BusKind,
        Cause,
        IncidentKind,
        Finding,
        Role
    );
    out
}

fn compare(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("KADENZ_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{} differs from the source. Meant? `KADENZ_BLESS=1 cargo test -p shm-layout`, and say why in CHANGELOG.md",
        path.display()
    );
}

#[test]
fn the_layout_is_the_golden_one() {
    compare("golden/layout.txt", &layout_text());
}

#[test]
fn contract_md_is_generated_from_the_source() {
    compare("../docs/CONTRACT.md", &contract_text());
}

#[test]
fn every_field_says_what_it_means() {
    for record in RECORDS {
        for field in record.fields {
            assert!(!sentence(field.meaning).is_empty(), "{}.{}", record.name, field.name);
            assert!(!field.unit.is_empty() && !field.range.is_empty() && !field.writer.is_empty());
        }
    }
}

#[test]
fn fields_lie_in_order_without_gaps() {
    for record in RECORDS {
        let mut end = 0;
        for field in record.fields {
            assert_eq!(field.offset, end, "{}.{}", record.name, field.name);
            end = field.offset + field.size;
        }
        assert_eq!(end, record.size, "{}", record.name);
    }
}
