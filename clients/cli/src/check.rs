//! `kadenz check`: machine and trajectory files judged completely, without a machine. Nothing moves.
use std::path::Path;

use kadenz_config::machine::AxisKind as ConfigKind;
use kadenz_config::{Error as ConfigError, Machine, effective_toml, hash, json_schema};
use kadenz_planner::{AxisInfo, AxisKind, AxisLimits, PlanError, Program, ProgramOptions, csv};
use serde_json::{Map, Value, json};

use crate::args::CheckOptions;
use crate::reply::{EXIT_REFUSED, EXIT_USAGE, Failure, Reply};

/// What was found in one file.
struct Finding {
    code: u8,
    text: String,
    fields: Map<String, Value>,
}

impl Finding {
    fn new(code: u8, text: String, fields: Value) -> Self {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { code, text, fields }
    }
}

/// Judges every file of `options`; one bad file does not hide the next.
pub(crate) fn check(options: &CheckOptions) -> Result<Reply, Failure> {
    if options.schema {
        let text = json_schema();
        let schema: Value = serde_json::from_str(&text).unwrap_or_default();
        return Ok(Reply::new(0, text.trim_end()).with("schema", schema));
    }
    let kinds = options.files.iter().map(|file| kind_of(file)).collect::<Result<Vec<_>, _>>()?;
    let machine = match kinds.contains(&Kind::Trajectory) {
        true => Some(machine_for_trajectories(options)?),
        false => None,
    };
    let mut findings = Vec::new();
    for (file, kind) in options.files.iter().zip(kinds) {
        findings.push(match (kind, &machine) {
            (Kind::Trajectory, Some(machine)) => trajectory(file, machine, options.speed),
            _ => machine_file(file, options.print_config),
        });
    }
    // 78 tells a service manager more than 1 does.
    let code = findings.iter().map(|finding| finding.code).max().unwrap_or(0);
    let text: Vec<&str> = findings.iter().map(|finding| finding.text.as_str()).collect();
    let text = match code {
        0 => text.join("\n"),
        _ => format!("refused\n{}", text.join("\n")),
    };
    let files: Vec<Value> = findings
        .into_iter()
        .zip(&options.files)
        .map(|(mut finding, file)| {
            finding.fields.insert("file".to_owned(), file.display().to_string().into());
            finding.fields.insert("ok".to_owned(), (finding.code == 0).into());
            Value::Object(finding.fields)
        })
        .collect();
    Ok(Reply::new(code, text).with("files", files))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Machine,
    Trajectory,
}

fn kind_of(file: &Path) -> Result<Kind, Failure> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Ok(Kind::Machine),
        Some("csv") => Ok(Kind::Trajectory),
        _ => {
            let text = format!(
                "{}: neither .toml (a machine) nor .csv (a trajectory); rename the file",
                file.display()
            );
            Err(Failure::new(EXIT_USAGE, text))
        }
    }
}

fn machine_for_trajectories(options: &CheckOptions) -> Result<Machine, Failure> {
    match (&options.machine, &options.demo) {
        (Some(file), _) => Machine::load(file)
            .map_err(|error| Failure::new(kadenz_config::EXIT_CODE, error.to_string())),
        (None, Some(name)) => demo(name),
        (None, None) => {
            let text = "a trajectory is checked against a machine; add --machine FILE.toml or \
                        --demo NAME";
            Err(Failure::new(EXIT_USAGE, text))
        }
    }
}

/// An embedded machine.
pub(crate) fn demo(name: &str) -> Result<Machine, Failure> {
    let Some(text) = kadenz_config::demo(name) else {
        let known = kadenz_config::DEMO_NAMES.join(" and ");
        return Err(Failure::new(EXIT_USAGE, format!("--demo {name}: there is {known}")));
    };
    Machine::from_toml(name, text)
        .map_err(|error| Failure::new(kadenz_config::EXIT_CODE, error.to_string()))
}

fn machine_file(file: &Path, print_config: bool) -> Finding {
    let name = file.display();
    match Machine::load(file) {
        Ok(machine) => {
            let hash = hex(&hash(&machine));
            let text = if print_config {
                // Still TOML: the output can be read back.
                format!(
                    "{}\n# {name}: effective configuration, sha256 {hash}",
                    effective_toml(&machine)
                )
            } else {
                format!(
                    "{name}: machine {}, {} axes, {} µs, horizon {} ms of which a full stop needs \
                     {:.0} ms; nothing wrong, sha256 {hash}",
                    machine.name,
                    machine.axes.len(),
                    machine.period_us,
                    machine.source.horizon_ms,
                    machine.horizon_ms_min()
                )
            };
            let mut fields = json!({
                "kind": "machine", "name": machine.name, "axes": machine.axes.len(),
                "period_us": machine.period_us, "config_sha256": hash, "findings": [],
            });
            if print_config {
                fields["effective_toml"] = effective_toml(&machine).into();
            }
            Finding::new(0, text, fields)
        }
        Err(error) => {
            let findings: Vec<Value> = match &error {
                ConfigError::Refused(all) => all
                    .shown
                    .iter()
                    .map(|f| json!({"line": f.line, "column": f.column, "message": f.message}))
                    .collect(),
                ConfigError::Read { .. } => Vec::new(),
            };
            let text = error.to_string();
            let fields = json!({"kind": "machine", "findings": findings, "message": text});
            Finding::new(kadenz_config::EXIT_CODE, text, fields)
        }
    }
}

fn trajectory(file: &Path, machine: &Machine, speed: f64) -> Finding {
    match plan(file, machine, speed) {
        Ok(program) => {
            let report = program.report();
            let text = format!(
                "{report}\n  {:.3} s, {} rows, {} knots; the longest stop needs {:.3} s of path time",
                program.duration_s(),
                report.row_count,
                program.knot_count(),
                report.stop_path_time_s
            );
            let peaks: Vec<Value> = report
                .peaks
                .iter()
                .map(|peak| {
                    json!({
                        "axis": peak.axis, "velocity": peak.velocity_share,
                        "acceleration": peak.acceleration_share, "jerk": peak.jerk_share,
                    })
                })
                .collect();
            let fields = json!({
                "kind": "trajectory", "machine": machine.name, "speed": speed,
                "duration_s": program.duration_s(), "rows": report.row_count,
                "knots": program.knot_count(), "stop_path_time_s": report.stop_path_time_s,
                "utilisation": peaks, "violations": 0,
            });
            Finding::new(0, text, fields)
        }
        Err(error) => {
            let text = error.to_string();
            let violations = match &error {
                PlanError::Refused(report) => report.violation_count,
                _ => 1,
            };
            let fields = json!({
                "kind": "trajectory", "machine": machine.name, "speed": speed,
                "violations": violations, "message": text,
            });
            Finding::new(EXIT_REFUSED, text, fields)
        }
    }
}

/// The program of a file whose axes stand on its first row: the approach depends on the day.
fn plan(file: &Path, machine: &Machine, speed: f64) -> Result<Program, PlanError> {
    let axes: Vec<AxisInfo> = machine.axes.iter().map(axis_info).collect();
    let mut start: Vec<f64> = machine.axes.iter().map(|axis| axis.position_start).collect();
    let name = file.display().to_string();
    let bytes = csv::read_bytes(file)?;
    let rows = csv::parse(&name, &bytes, &axes)?;
    for (column, axis) in rows.axes.iter().enumerate() {
        if let (Some(place), Some(first)) = (start.get_mut(*axis), rows.positions[column].first()) {
            *place = *first;
        }
    }
    let mut options = ProgramOptions { speed, ..ProgramOptions::default() };
    options.check.stop_path_time_s = machine.stop_path_time_s();
    Program::from_bytes(&name, &bytes, &axes, &start, &options)
}

fn axis_info(axis: &kadenz_config::machine::Axis) -> AxisInfo {
    let limits = &axis.limits;
    AxisInfo {
        name: axis.name.clone(),
        kind: match axis.kind {
            ConfigKind::Rotary => AxisKind::Rotary,
            ConfigKind::Linear => AxisKind::Linear,
        },
        limits: AxisLimits {
            position_min: limits.position_min,
            position_max: limits.position_max,
            velocity: limits.velocity,
            acceleration: limits.acceleration,
            jerk: limits.jerk,
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
