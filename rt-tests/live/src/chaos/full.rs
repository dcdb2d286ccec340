//! Places that run full: the disk of recordings, shared memory.
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};

use super::Hand;
use super::crowd::{Client, pass_ms};
use super::ground::mount_tmpfs;
use super::leaks::SHM_DIR;
use super::stage::{Scenery, Stage};

/// Writes into `path` until nothing more goes in; gives how many bytes went.
fn fill(path: &Path) -> anyhow::Result<u64> {
    let mut file = File::create(path)?;
    let mut written = 0;
    let mut block: &[u8] = &vec![0x5a; 1 << 20];
    loop {
        match file.write(block) {
            Ok(0) => break,
            Ok(count) => written += count as u64,
            // The last bytes one page at a time.
            Err(_) if block.len() > 4_096 => block = &block[..4_096],
            Err(_) => break,
        }
    }
    Ok(written)
}

pub(super) fn disk(hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let tiny = hand.ground.out.join("tiny");
    fs::create_dir_all(&tiny)?;
    mount_tmpfs(&tiny, "size=6m")?;
    // What is said goes to a disk that has room.
    symlink(hand.ground.out.join("disk-up.log"), tiny.join("up.log"))?;
    let scenery = Scenery { recordings: Some(tiny.clone()), ..Scenery::default() };
    let mut stage = Stage::start(hand.ground, "disk", &scenery)?;
    stage.speed_up()?;
    let before = stage.tally()?;
    for _ in 0..hand.ground.of(3, 1) {
        fill(&tiny.join("filler"))?;
        hand.did(1, 0);
        pass_ms(hand.ground.of(1_500, 600));
        fs::remove_file(tiny.join("filler"))?;
        pass_ms(hand.ground.of(700, 300));
    }
    let after = stage.until("a look at the machine", |_| Ok(true))?;
    if after.reason != 0 || after.path_rate < 1.0 {
        hand.fail(format!("the motion was disturbed: {}", after.in_words()));
    }
    hand.recover(&mut stage)?;
    stage.settle(&before, &mut hand.evidence)?;
    let told = stage.set.log();
    if !told.to_lowercase().contains("no space left") {
        hand.fail("nobody says that the disk is full");
    }
    // Its recordings end where the disk did: the observer has watched the motion.
    let curtain = stage.end(false)?;
    hand.take_curtain(curtain);
    nix::mount::umount2(&tiny, nix::mount::MntFlags::MNT_DETACH).context("umount")?;
    Ok(())
}

pub(super) fn shared_memory(hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let mut stage = Stage::start(hand.ground, "full", &Scenery::default())?;
    stage.speed_up()?;
    let before = stage.tally()?;
    let filler = Path::new(SHM_DIR).join("filler");
    for round in 0..hand.ground.of(4, 1) {
        stage.speed_up()?;
        let bytes = fill(&filler)?;
        ensure!(
            bytes < 2 << 30,
            "{SHM_DIR} is not the small one of this run: {bytes} bytes went in"
        );
        hand.did(1, 0);
        let role = *hand.random.pick(&["--role view", "--role plan", "--role operate"]);
        let role = if round == 0 { "--role view" } else { role };
        let victim = stage.process(&["kadenz-gateway", role])?;
        let _gone = kill(victim, Signal::SIGKILL);
        hand.did(1, 0);
        for _ in 0..4 {
            let client = Client::start(stage.dir(), "view", &[], None)?;
            pass_ms(hand.random.within(20, 150));
            client.kill();
            hand.evidence.lives += 1;
        }
        fs::remove_file(&filler)?;
        hand.recover(&mut stage)?;
    }
    stage.settle(&before, &mut hand.evidence)?;
    let curtain = stage.end(true)?;
    hand.take_curtain(curtain);
    Ok(())
}
