//! Counters of the kernel about one CPU or one task: what their files say, and nothing of what it means.
use std::fs::File;
use std::os::unix::fs::FileExt;

/// `/proc/stat` counts in ticks of this length, ns (USER_HZ is 100 on every Linux, see times(2)).
pub const TICK_NS: u64 = 10_000_000;
/// Where x86 counts system management interrupts (MSR_SMI_COUNT; Intel SDM volume 4).
const MSR_SMI_COUNT: u64 = 0x34;

/// Steal and idle (with iowait) of one CPU in `/proc/stat`, ticks.
#[must_use]
pub fn cpu_ticks(text: &str, cpu: usize) -> Option<(u64, u64)> {
    let line = text.lines().find_map(|line| {
        let (name, rest) = line.split_once(' ')?;
        (name.strip_prefix("cpu")?.parse() == Ok(cpu)).then_some(rest)
    })?;
    let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
    let (idle, waiting) = (fields.nth(3)?, fields.next()?);
    Some((fields.nth(2)?, idle + waiting))
}

/// Time on a CPU and time waiting for one, ns (`schedstat`).
#[must_use]
pub fn ran_and_waited(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.split_ascii_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Minor and major faults and the CPU it ran on last (`stat`; fields 10, 12 and 39 of proc(5)).
#[must_use]
pub fn faults_and_cpu(text: &str) -> Option<(u64, u64, usize)> {
    // Fields after the name in parentheses, which may hold anything; the first is field 3.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let minor = fields.nth(10 - 3)?.parse().ok()?;
    let major = fields.nth(1)?.parse().ok()?;
    Some((minor, major, fields.nth(39 - 12 - 1)?.parse().ok()?))
}

/// A line of a task's `status`, e.g. `nonvoluntary_ctxt_switches`, without its name.
#[must_use]
pub fn of_status<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    rest.map(str::trim)
}

/// One row of `/proc/interrupts` or `/proc/softirqs` as one CPU sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number or name, e.g. `24` or `LOC`.
    pub label: String,
    /// How often on this CPU.
    pub count: u64,
    /// What follows the counts: chip and names of the devices.
    pub about: String,
}

/// The rows of one CPU; none when it has no column.
pub fn rows(text: &str, cpu: usize) -> impl Iterator<Item = Row> + '_ {
    let mut lines = text.lines();
    let heads: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let name = format!("CPU{cpu}");
    let column = heads.iter().position(|head| *head == name);
    let columns = heads.len();
    lines.filter_map(move |line| {
        let (label, rest) = line.split_once(':')?;
        let mut fields = rest.split_ascii_whitespace();
        let count = fields.clone().nth(column?)?.parse().ok()?;
        let about = fields.by_ref().skip(columns).collect::<Vec<_>>().join(" ");
        Some(Row { label: label.trim().to_owned(), count, about })
    })
}

/// Sum of one CPU's column in `/proc/interrupts` or `/proc/softirqs`.
#[must_use]
pub fn column_sum(text: &str, cpu: usize) -> u64 {
    rows(text, cpu).map(|row| row.count).fold(0, u64::wrapping_add)
}

/// System management interrupts of a CPU, from its open `/dev/cpu/N/msr`; `None` where it counts none.
#[must_use]
pub fn smi_count(msr: &File) -> Option<u64> {
    let mut bytes = [0; 8];
    (msr.read_at(&mut bytes, MSR_SMI_COUNT).ok()? == bytes.len())
        .then(|| u64::from_le_bytes(bytes) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_as_the_kernel_writes_them() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 10 0 20 300 4 0 0 7 0 0\nintr 5\n";
        assert_eq!(cpu_ticks(stat, 1), Some((7, 304)));
        assert_eq!(cpu_ticks(stat, 2), None);
        assert_eq!(ran_and_waited("123 45 6\n"), Some((123, 45)));
        assert_eq!(faults_and_cpu("1 (a ) b) S 1"), None);
        let status = "Name:\tx\nCpus_allowed_list:\t0-1\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(of_status(status, "Cpus_allowed_list"), Some("0-1"));
        assert_eq!(of_status(status, "ctxt_switches"), None);
        let text = std::fs::read_to_string("/proc/self/stat").expect("procfs");
        let (_, _, cpu) = faults_and_cpu(&text).expect("stat");
        assert!(cpu < 4096);
    }

    #[test]
    fn interrupts_are_told_apart_by_cpu_and_by_device() {
        let interrupts = "      CPU0   CPU1\n  0:  5  7  IO-APIC  2-edge timer\nLOC: 10 20 Local timer interrupts\nERR: 0\n";
        assert_eq!((column_sum(interrupts, 0), column_sum(interrupts, 1)), (15, 27));
        assert_eq!(column_sum(interrupts, 9), 0);
        let rows: Vec<Row> = rows(interrupts, 1).collect();
        assert_eq!(rows.len(), 2, "ERR has no column of this CPU");
        assert_eq!((rows[0].label.as_str(), rows[0].about.as_str()), ("0", "IO-APIC 2-edge timer"));
    }
}
