//! A short run of every attack on real processes. Needs the programs: `cargo build --workspace --bins`.
use std::process::Command;

use live_tests::binary;
use live_tests::chaos::ATTACKS;

/// Client lives of the storm: enough to see every kind of client and end.
const LIVES: &str = "40";

/// The chaos program with these arguments; what it says, and whether every promise was kept.
fn chaos(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary("chaos").expect("the rig works"))
        .args(arguments)
        .output()
        .expect("the rig works");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn whatever_clients_do_no_cycle_is_missed_no_axis_moves_unexpectedly_and_service_comes_back() {
    let mut arguments = vec!["--lives", LIVES, "--seed", "7"];
    // Mounts, users and clocks are root's; CI is root.
    let of_root: Vec<&str> =
        ATTACKS.iter().filter(|attack| attack.needs_root).map(|attack| attack.name).collect();
    let without = of_root.join(",");
    if !nix::unistd::geteuid().is_root() {
        arguments.extend(["--without", &without]);
    }
    let (kept, said) = chaos(&arguments);
    assert!(kept, "{said}");
    println!("{said}");
}

#[test]
fn an_attack_that_cannot_be_carried_out_is_a_failure_and_an_unknown_one_is_refused() {
    let (kept, said) = chaos(&["--only", "no-such-attack"]);
    assert!(!kept && said.contains("no attack is called \"no-such-attack\""), "{said}");
    let (kept, said) = chaos(&["--list"]);
    assert!(kept && ATTACKS.iter().all(|attack| said.contains(attack.name)), "{said}");
}
