//! `cargo check-all`: runs the gates in order, goes on after a failure, and ends with one table.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::gates::{GATES, Gate};
use crate::workspace::Workspace;

/// What one gate came to.
struct Verdict {
    name: &'static str,
    took: Duration,
    outcome: Result<(), String>,
}

/// Runs all gates, or those named by `--only`.
///
/// # Errors
/// An option that is not understood; the number of gates that failed.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), String> {
    let Some(wanted) = wanted(arguments)? else {
        for gate in GATES {
            println!("{:13} {}", gate.name, gate.proves);
        }
        return Ok(());
    };
    let verdicts: Vec<Verdict> = wanted.into_iter().map(|gate| judge(gate, workspace)).collect();
    print!("\n{}", table(&verdicts));
    match verdicts.iter().filter(|verdict| verdict.outcome.is_err()).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} gates failed", verdicts.len())),
    }
}

/// The gates to run; `None` when they are only to be listed.
fn wanted(arguments: &[String]) -> Result<Option<Vec<&'static Gate>>, String> {
    let mut only = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--list" => return Ok(None),
            "--only" => {
                let name = words.next().ok_or("--only wants the name of a gate; see --list")?;
                let gate = GATES.iter().find(|gate| gate.name == name);
                only.push(gate.ok_or(format!("--only {name}: no such gate; see --list"))?);
            }
            _ => return Err(format!("unknown option {word}; there are --list and --only NAME")),
        }
    }
    Ok(Some(if only.is_empty() { GATES.iter().collect() } else { only }))
}

fn judge(gate: &Gate, workspace: &Workspace) -> Verdict {
    println!("\n==> {}: {}", gate.name, gate.proves);
    let began = Instant::now();
    let outcome = (gate.run)(workspace);
    if outcome.is_err() {
        println!("{}: FAILED", gate.name);
    }
    Verdict { name: gate.name, took: began.elapsed(), outcome }
}

/// The table, and under it what each failed gate complained of.
fn table(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    let mut line = |gate: &str, seconds: &str, result: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{gate:13} {seconds:>8} {result}");
    };
    line("gate", "seconds", "");
    for verdict in verdicts {
        let seconds = format!("{:.1}", verdict.took.as_secs_f64());
        line(verdict.name, &seconds, if verdict.outcome.is_ok() { "ok" } else { "FAILED" });
    }
    let total: Duration = verdicts.iter().map(|verdict| verdict.took).sum();
    line("total", &format!("{:.1}", total.as_secs_f64()), "");
    for verdict in verdicts {
        if let Err(message) = &verdict.outcome {
            let _ = write!(text, "\n{}: {message}\n", verdict.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn without_options_every_gate_runs_in_order() {
        let names: Vec<_> =
            wanted(&[]).unwrap().unwrap().into_iter().map(|gate| gate.name).collect();
        assert_eq!(names, GATES.iter().map(|gate| gate.name).collect::<Vec<_>>());
    }

    #[test]
    fn only_picks_gates_by_name_and_refuses_a_name_that_does_not_exist() {
        let picked = wanted(&words(&["--only", "docs", "--only", "fmt"])).unwrap().unwrap();
        assert_eq!(picked.iter().map(|gate| gate.name).collect::<Vec<_>>(), ["docs", "fmt"]);
        assert!(wanted(&words(&["--only", "fnt"])).is_err_and(|said| said.contains("--list")));
        assert!(wanted(&words(&["--only"])).is_err());
        assert!(wanted(&words(&["--fast"])).is_err());
        assert!(wanted(&words(&["--list"])).unwrap().is_none());
    }

    #[test]
    fn the_table_names_every_gate_and_says_why_one_failed() {
        let verdict = |name, outcome| Verdict { name, took: Duration::from_millis(1_250), outcome };
        let told = table(&[
            verdict("fmt", Ok(())),
            verdict("tests", Err("`cargo test`: exit status: 101".to_owned())),
        ]);
        assert!(told.contains("fmt                1.2 ok"), "{told}");
        assert!(told.contains("tests              1.2 FAILED"), "{told}");
        assert!(told.contains("total              2.5"), "{told}");
        assert!(told.contains("tests: `cargo test`: exit status: 101"), "{told}");
    }
}
