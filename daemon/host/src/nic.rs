//! Network interfaces that a bus runs over: driver, interrupts, and how they gather frames.
use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::{CpuList, Files, counters, sys};

/// The interrupts of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Number.
    pub number: u32,
    /// CPUs it comes on.
    pub cpus: CpuList,
}

/// How an interface gathers frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalescing {
    /// µs to wait after a frame came in.
    pub rx_us: u32,
    /// Frames to wait for before an interrupt tells of them; 0 and 1 do not wait.
    pub rx_frames: u32,
    /// µs to wait after a frame went out.
    pub tx_us: u32,
    /// Frames to wait for.
    pub tx_frames: u32,
    /// The driver chooses by itself.
    pub is_adaptive: bool,
}

/// Whether there is such an interface.
#[must_use]
pub fn exists(files: &Files, interface: &str) -> bool {
    !interface.contains('/') && files.has(&format!("/sys/class/net/{interface}"))
}

/// The driver of the device behind an interface; `None` when there is no device.
#[must_use]
pub fn driver(files: &Files, interface: &str) -> Option<String> {
    let link = fs::read_link(files.path(&format!("/sys/class/net/{interface}/device/driver")));
    Some(link.ok()?.file_name()?.to_str()?.to_owned())
}

/// The interrupts of an interface: those of its device, and those that carry its name (a virtio device has
/// its interrupts at the bus below).
#[must_use]
pub fn interrupts(files: &Files, interface: &str) -> Vec<Interrupt> {
    let device = format!("/sys/class/net/{interface}/device");
    let of = |directory: &str| {
        let names = files.names(&format!("{directory}/msi_irqs"));
        names.iter().filter_map(|name| name.parse::<u32>().ok()).collect::<Vec<_>>()
    };
    let mut numbers: BTreeSet<u32> =
        of(&device).into_iter().chain(of(&format!("{device}/.."))).collect();
    let table = files.text("/proc/interrupts").unwrap_or_default();
    let is_named = |about: &str| {
        about.split([' ', ',']).any(|word| {
            word.strip_prefix(interface)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    numbers.extend(
        counters::rows(&table, 0)
            .filter(|row| is_named(&row.about))
            .filter_map(|row| row.label.parse::<u32>().ok()),
    );
    let at = |number: u32, name: &str| files.text(&format!("/proc/irq/{number}/{name}"));
    let interrupt = |number| {
        let cpus = at(number, "effective_affinity_list").filter(|list| !list.is_empty());
        let cpus = cpus.or_else(|| at(number, "smp_affinity_list"))?;
        Some(Interrupt { number, cpus: CpuList::of(&cpus) })
    };
    numbers.into_iter().filter_map(interrupt).collect()
}

/// How an interface gathers frames, asked of its driver.
///
/// # Errors
/// The driver does not say.
pub fn coalescing(interface: &str) -> io::Result<Coalescing> {
    let told = sys::coalesce(interface)?;
    Ok(Coalescing {
        rx_us: told.rx_usecs,
        rx_frames: told.rx_max_frames,
        tx_us: told.tx_usecs,
        tx_frames: told.tx_max_frames,
        is_adaptive: told.adaptive_rx != 0 || told.adaptive_tx != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_are_found_by_device_and_by_name_with_the_cpus_they_come_on() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/class/net/eth1/device/msi_irqs/40", "msi");
        write("proc/irq/40/effective_affinity_list", "0");
        write("proc/irq/41/effective_affinity_list", "1");
        write("proc/irq/42/smp_affinity_list", "0-1");
        let table =
            "  CPU0 CPU1\n 41: 0 1 PCI-MSI 1-edge eth1-rx-0\n 42: 0 0 PCI-MSI 2-edge eth10\n";
        write("proc/interrupts", table);
        let files = Files::under(root.path());
        let found = interrupts(&files, "eth1");
        let numbers: Vec<u32> = found.iter().map(|one| one.number).collect();
        assert_eq!(numbers, [40, 41]);
        assert!(found[1].cpus.contains(1) && !found[0].cpus.contains(1));
        assert!(
            exists(&files, "eth1") && !exists(&files, "eth9") && !exists(&files, "../net/eth1")
        );
        assert_eq!(driver(&files, "eth1"), None);
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error_of_the_kernel() {
        assert!(coalescing("nosuchinterface0").is_err());
        assert!(coalescing("a-name-that-is-too-long").is_err());
    }
}
