//! Named checks: small functions that are run one after another, each with its own verdict and time.
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as promised.
    Passed,
    /// It is not: what was found instead.
    Failed(String),
    /// It could not be tried here: why.
    Skipped(String),
}

/// One check over a `Ground` that all of a series share, a running guest for example.
pub struct Check<Ground> {
    /// The sentence that it proves.
    pub name: &'static str,
    /// Tries it. An error is a failure.
    pub run: fn(&mut Ground) -> anyhow::Result<Verdict>,
}

/// One check that was run.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its name.
    pub name: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Runs all of a series, going on after a failure. Each is told on the terminal as it ends.
pub fn run<Ground>(series: &[Check<Ground>], ground: &mut Ground) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in series {
        let begun = Instant::now();
        let tried = (check.run)(ground);
        let verdict = tried.unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
        let finding = Finding { name: check.name, verdict, took: begun.elapsed() };
        println!("{}", line(&finding));
        findings.push(finding);
    }
    findings
}

/// A series whose ground could not be had: every check of it failed for that reason.
#[must_use]
pub fn groundless<Ground>(series: &[Check<Ground>], reason: &anyhow::Error) -> Vec<Finding> {
    let failed = |check: &Check<Ground>| Finding {
        name: check.name,
        verdict: Verdict::Failed(format!("{reason:#}")),
        took: Duration::ZERO,
    };
    series.iter().map(failed).inspect(|finding| println!("{}", line(finding))).collect()
}

fn line(finding: &Finding) -> String {
    let seconds = finding.took.as_secs_f64();
    match &finding.verdict {
        Verdict::Passed => format!("passed  {seconds:6.1} s  {}", finding.name),
        Verdict::Failed(why) => format!("FAILED  {seconds:6.1} s  {}\n  {why}", finding.name),
        Verdict::Skipped(why) => format!("skipped {seconds:6.1} s  {}: {why}", finding.name),
    }
}

/// How many of each: passed, failed, skipped.
#[must_use]
pub fn counts(findings: &[Finding]) -> (usize, usize, usize) {
    let count = |is: fn(&Verdict) -> bool| findings.iter().filter(|one| is(&one.verdict)).count();
    (
        count(|verdict| matches!(verdict, Verdict::Passed)),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Skipped(_))),
    )
}

/// For programs: `passed`, `failed`, `skipped` and `checks`.
#[must_use]
pub fn json(findings: &[Finding]) -> Value {
    let (passed, failed, skipped) = counts(findings);
    let told = |finding: &Finding| {
        let (verdict, why) = match &finding.verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(why) => ("failed", Some(why)),
            Verdict::Skipped(why) => ("skipped", Some(why)),
        };
        let took_ms = u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX);
        json!({"name": finding.name, "verdict": verdict, "why": why, "took_ms": took_ms})
    };
    json!({
        "schema_version": 1,
        "passed": passed,
        "failed": failed,
        "skipped": skipped,
        "checks": findings.iter().map(told).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: [Check<u32>; 3] = [
        Check {
            name: "counts",
            run: |ground| {
                *ground += 1;
                Ok(Verdict::Passed)
            },
        },
        Check { name: "breaks", run: |_| anyhow::bail!("it is broken") },
        Check { name: "cannot", run: |_| Ok(Verdict::Skipped("no root".to_owned())) },
    ];

    #[test]
    fn a_failure_ends_no_series_and_is_told_with_its_reason() {
        let mut ground = 0;
        let findings = run(&SERIES, &mut ground);
        assert_eq!((ground, counts(&findings)), (1, (1, 1, 1)));
        let value = json(&findings);
        assert_eq!((&value["passed"], &value["failed"]), (&json!(1), &json!(1)));
        assert_eq!(value["checks"][1]["why"], "it is broken");
    }

    #[test]
    fn without_its_ground_a_series_has_failed() {
        let findings = groundless(&SERIES, &anyhow::anyhow!("no guest"));
        assert_eq!(counts(&findings), (0, 3, 0));
    }
}
