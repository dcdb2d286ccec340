//! The engine: libFuzzer makes bytes for the target named in `FUZZ_TARGET`; with `FUZZ_PLANTED` set, for that
//! target with its defect. Started by xtask.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let names: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
    let Some(target) = fuzz::target(&name) else { panic!("FUZZ_TARGET={name}: one of {names:?}") };
    if std::env::var_os("FUZZ_PLANTED").is_some() { target.planted } else { target.run }
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
