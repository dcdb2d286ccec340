//! Drop-ins that give CPUs to the loop, or keep everybody else off them, for hosts where boot parameters do not.
use std::path::Path;

use super::files::Planned;

/// Where an administrator's own settings for units are, beneath the root.
const SETTINGS: &str = "/etc/systemd/system";
/// What of the host, and of ours, is to stay on housekeeping CPUs.
const HOUSEKEEPING: [&str; 5] =
    ["init.scope", "system.slice", "user.slice", "kadenz-gateways.slice", "kadenz-clients.slice"];

/// A partition of its own for kadenzd (cgroup v2), isolated from the scheduler's balancing as
/// `isolcpus=domain` would. The slice stands at the top: the parent of a partition must be one too.
pub(crate) fn isolated(cpus: &str) -> [Planned; 2] {
    let slice = format!(
        "# CPUs for kadenzd alone. Made by `kadenz install-units --isolate-cpus {cpus}`.\n\
         [Unit]\n\
         Description=Kadenz: isolated CPUs\n\n\
         [Slice]\n\
         AllowedCPUs={cpus}\n"
    );
    let partition = "/sys/fs/cgroup/kadenzrt.slice/cpuset.cpus.partition";
    let service = format!(
        "# kadenzd on CPUs of its own. Made by `kadenz install-units --isolate-cpus {cpus}`.\n\
         # The kernel answers a partition that it cannot make with `isolated invalid (why)`; kadenzd is not\n\
         # started then. With isolcpus= on the kernel's command line it always answers so: use one of the two.\n\
         [Service]\n\
         Slice=kadenzrt.slice\n\
         ExecStartPre=+/bin/sh -c 'echo isolated >{partition}; read -r is <{partition}; \
         [ \"$$is\" = isolated ] || {{ echo \"<3>{partition}: $$is; see Isolation in systemd.md\" >&2; \
         exit 1; }}'\n"
    );
    let at = |name: &str, text: String| Planned { path: Path::new(SETTINGS).join(name), text };
    [at("kadenzrt.slice", slice), at("kadenzd.service.d/50-isolated-cpus.conf", service)]
}

/// Keeps the host's services, people and Kadenz's own clients on `cpus`.
pub(crate) fn housekeeping(cpus: &str) -> Vec<Planned> {
    let planned = HOUSEKEEPING.iter().map(|unit| {
        let section = if unit.ends_with(".scope") { "Scope" } else { "Slice" };
        let path = Path::new(SETTINGS).join(format!("{unit}.d/50-kadenz-housekeeping.conf"));
        let text = format!(
            "# Made by `kadenz install-units --housekeeping-cpus {cpus}`.\n[{section}]\nAllowedCPUs={cpus}\n"
        );
        Planned { path, text }
    });
    planned.collect()
}

/// Every file that this room may have written, for removal.
pub(crate) fn all() -> Vec<Planned> {
    isolated("").into_iter().chain(housekeeping("")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_may_be_written_is_found_again() {
        let written = isolated("2-3").into_iter().chain(housekeeping("0-1"));
        let all: Vec<_> = all().into_iter().map(|planned| planned.path).collect();
        assert!(written.map(|planned| planned.path).eq(all));
    }
}
