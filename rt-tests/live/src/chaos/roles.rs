//! A machine with a user for each role, and what these users, others and root can do to it.
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use nix::unistd::{Gid, User};
use shm_layout::code::Role;

use super::Hand;
use super::crowd::{Client, gather, pass_ms};
use super::domains::{files_of, set_mode};
use super::stage::{Scenery, Stage};
use crate::binary;

/// Users that every Debian has and that own nothing of ours: view, plan, operate. And one who is nobody here.
const USERS: [&str; 3] = ["daemon", "bin", "games"];
const GROUP: &str = "games";
const STRANGER: &str = "nobody";

fn uid_of(name: &str) -> anyhow::Result<u32> {
    let user = User::from_name(name)?.with_context(|| format!("there is no user {name:?}"))?;
    Ok(user.uid.as_raw())
}

/// Programs where any user can start them, and a machine file with roles.
fn scenery(hand: &Hand<'_>) -> anyhow::Result<Scenery> {
    let place = std::env::temp_dir().join(format!("kadenz-chaos-bin-{}", std::process::id()));
    fs::create_dir_all(&place)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
    for name in ["kadenz", "kadenzd", "kadenz-gateway", "kadenz-planner"] {
        fs::copy(binary(name)?, place.join(name)).with_context(|| format!("copying {name}"))?;
    }
    let demo = kadenz_config::demo("demo-arm").context("embedded machine")?;
    let mut text: String = demo
        .lines()
        .filter(|line| !line.trim_start().starts_with("\"one-user\""))
        .map(|line| format!("{line}\n"))
        .collect();
    let [view, plan, operate] = USERS;
    text += &format!(
        "\n[roles]\nview = \"{view}\"\nplan = \"{plan}\"\noperate = \"{operate}\"\noperate_group = \"{GROUP}\"\n"
    );
    let machine = hand.ground.out.join("roles.toml");
    fs::write(&machine, text)?;
    Ok(Scenery {
        program: Some(place.join("kadenz")),
        machine: Some(machine),
        recordings: None,
        without: vec!["logger".to_owned()],
    })
}

/// Removes the copies.
struct Copies(Option<PathBuf>);

impl Drop for Copies {
    fn drop(&mut self) {
        if let Some(folder) = self.0.as_deref().and_then(std::path::Path::parent) {
            let _stays_or_gone = fs::remove_dir_all(folder);
        }
    }
}

/// A machine with roles at speed, attacked by `attack`, then ended and judged.
fn with_roles(
    hand: &mut Hand<'_>,
    name: &str,
    attack: fn(&mut Stage, &mut Hand<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    ensure!(uid_of(STRANGER)? != 0, "{STRANGER} is root here");
    let scenery = scenery(hand)?;
    let _copies = Copies(scenery.program.clone());
    let mut stage = Stage::start(hand.ground, name, &scenery)?;
    stage.speed_up()?;
    let before = stage.tally()?;
    attack(&mut stage, hand)?;
    hand.recover(&mut stage)?;
    stage.settle(&before, &mut hand.evidence)?;
    let curtain = stage.end(true)?;
    hand.take_curtain(curtain);
    Ok(())
}

pub(super) fn foreign_files(hand: &mut Hand<'_>) -> anyhow::Result<()> {
    with_roles(hand, "foreign", |stage, hand| {
        for _ in 0..hand.ground.of(6, 1) {
            // Root may open the domain; its files are 0600 root's and nobody in it may open them.
            let mut clients = Vec::new();
            for role in ["view", "plan"] {
                for uid in [None, Some(uid_of(STRANGER)?)] {
                    let arguments = ["--role".into(), role.into(), "--ms".into(), "300".into()];
                    clients.push(Client::start(stage.dir(), "foreign", &arguments, uid)?);
                }
            }
            gather(hand, clients)?;
            hand.recover(stage)?;
            stage.speed_up()?;
            let stranger = uid_of(STRANGER)?;
            for role in [Role::View, Role::Plan] {
                let files = files_of(stage, role);
                for _ in 0..hand.random.within(2, 8) {
                    let Some(file) = (!files.is_empty()).then(|| hand.random.pick(&files)) else {
                        break;
                    };
                    let _gone = lchown(file, Some(stranger), Some(Gid::from_raw(0).as_raw()));
                    let _gone = set_mode(file, 0o600);
                    hand.did(1, 0);
                    pass_ms(hand.random.within(1, 40));
                }
                hand.recover(stage)?;
            }
            stage.speed_up()?;
        }
        Ok(())
    })
}

pub(super) fn punched_lanes(hand: &mut Hand<'_>) -> anyhow::Result<()> {
    with_roles(hand, "lanes", |stage, hand| {
        let roles = ["view", "plan", "operate"];
        for _ in 0..hand.ground.of(3, 1) {
            let mut pids = stage.set.pids(&["kadenz-gateway"]);
            pids.extend(stage.set.pids(&["kadenzd"]));
            let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
            let pids = ["--pids".into(), list.join(",")];
            let mut clients = Vec::new();
            for user in USERS.into_iter().chain([STRANGER]) {
                clients.push(Client::start(stage.dir(), "reach", &pids, Some(uid_of(user)?))?);
            }
            let before = hand.evidence.actions;
            gather(hand, clients)?;
            ensure!(hand.evidence.actions > before, "nobody could be started as another user");
            for (role, user) in roles.into_iter().zip(USERS) {
                stage.speed_up()?;
                let gateway = stage.process(&["kadenz-gateway", &format!("--role {role}")])?;
                let arguments = [
                    "--role".into(),
                    role.into(),
                    "--ms".into(),
                    "400".into(),
                    "--pids".into(),
                    gateway.to_string(),
                ];
                let usurper = Client::start(stage.dir(), "usurp", &arguments, Some(uid_of(user)?))?;
                gather(hand, vec![usurper])?;
                hand.recover(stage)?;
            }
        }
        stage.speed_up()?;
        Ok(())
    })
}
