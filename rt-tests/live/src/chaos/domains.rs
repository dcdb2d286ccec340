//! Whatever a client's user can do to the files of its domain: tree and shared memory.
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rt_tests::random::Random;
use shm_layout::code::Role;

use super::Hand;
use super::crowd::{Client, pass_ms};
use super::leaks::SHM_DIR;
use super::stage::Stage;

/// How long one burst lasts, ms.
const BURST_MS: u64 = 150;

/// Every file and folder of the announced epoch of `role`.
pub(super) fn files_of(stage: &Stage, role: Role) -> Vec<PathBuf> {
    let Ok(Some(token)) = stage.dir().read_epoch(role) else { return Vec::new() };
    let Ok(place) = stage.dir().epoch_place(role, token) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in fs::read_dir(SHM_DIR).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&place.prefix) {
            files.push(entry.path());
        }
    }
    walk(&place.root, &mut files);
    // The order of a directory is not the seed's.
    files.sort();
    files
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, files);
        }
        files.push(path);
    }
}

type Deed = fn(&Path, &mut Random) -> std::io::Result<()>;

/// Bursts of `deed` on files of the domain of `role`, with light clients in it; after each, all is served again.
fn bursts(stage: &mut Stage, hand: &mut Hand<'_>, role: Role, deed: Deed) -> anyhow::Result<()> {
    for _ in 0..hand.ground.of(10, 1) {
        stage.speed_up()?;
        let kind = if role == Role::View { "view" } else { "knots" };
        let clients = (0..2)
            .map(|_| Client::start(stage.dir(), kind, &[], None))
            .collect::<anyhow::Result<Vec<_>>>()?;
        pass_ms(60);
        let until = Instant::now() + Duration::from_millis(BURST_MS);
        while Instant::now() < until {
            let files = files_of(stage, role);
            for _ in 0..hand.random.within(1, 6) {
                if files.is_empty() {
                    break;
                }
                let file = hand.random.pick(&files).clone();
                // Gone by now, or not ours to change: as good as done.
                let done = deed(&file, &mut hand.random);
                hand.did(1, u64::from(done.is_err()));
            }
            pass_ms(hand.random.within(1, 12));
        }
        for client in clients {
            client.kill();
            hand.evidence.lives += 1;
        }
        hand.recover(stage)?;
    }
    Ok(())
}

/// Opens a file of the domain for writing, and nothing that a link in its place leads to: what these attacks do ends
/// where the domain ends.
fn open_itself(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).custom_flags(nix::libc::O_NOFOLLOW).open(path)
}

/// Sets the mode of a file or folder of the domain; a link is left as it is.
pub(super) fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    // Opened without reading and without following, so that nothing can be put in its place in between.
    let flags = nix::libc::O_PATH | nix::libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_symlink() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let place = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(place, Permissions::from_mode(mode))
}

fn scribble(path: &Path, random: &mut Random) -> std::io::Result<()> {
    let file = open_itself(path)?;
    let length = file.metadata()?.len().max(8);
    // A few words, or a third of all there is.
    let words = if random.percent(70) { random.within(1, 8) } else { (length / 24).min(20_000) };
    for _ in 0..words {
        // Most of a large file is payload; its head says what the rest means.
        let reach = if random.percent(50) { length.min(4_096) } else { length };
        file.write_at(&random.bits().to_le_bytes(), random.below(reach) / 8 * 8)?;
    }
    Ok(())
}

fn truncate(path: &Path, random: &mut Random) -> std::io::Result<()> {
    if random.percent(20) {
        // A new, empty file where the old one stood.
        fs::remove_file(path)?;
        return File::create_new(path).map(|_| ());
    }
    let file = open_itself(path)?;
    let length = file.metadata()?.len();
    let odd = random.below(length.max(2)) | 1;
    file.set_len(*random.pick(&[0, 0, 1, 7, odd, length + 4_097]))
}

fn misplace(path: &Path, random: &mut Random) -> std::io::Result<()> {
    let remove = |path: &Path| match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match random.below(6) {
        0 => remove(path),
        1 => remove(path).and_then(|()| fs::create_dir(path)),
        2 => {
            remove(path)?;
            // To itself, or to nothing: never to anything that stands outside the domain.
            let own = path.file_name().unwrap_or_default();
            let nowhere = OsStr::new("nowhere");
            symlink(*random.pick(&[own, nowhere]), path)
        }
        3 => fs::rename(path, path.with_extension("moved")),
        4 => set_mode(path, *random.pick(&[0, 0o400, 0o777, 0o1000])),
        _ => fs::create_dir_all(path.with_extension("junk").join("deep").join("deeper")),
    }
}

pub(super) fn scribble_view(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    bursts(stage, hand, Role::View, scribble)
}
pub(super) fn scribble_plan(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    bursts(stage, hand, Role::Plan, scribble)
}
pub(super) fn truncate_view(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    bursts(stage, hand, Role::View, truncate)
}
pub(super) fn truncate_plan(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    bursts(stage, hand, Role::Plan, truncate)
}
pub(super) fn misplace_view(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    bursts(stage, hand, Role::View, misplace)
}
pub(super) fn misplace_plan(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    bursts(stage, hand, Role::Plan, misplace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_deed_follows_a_link_out_of_the_domain() {
        let place = std::env::temp_dir().join(format!("kadenz-chaos-deeds-{}", std::process::id()));
        fs::create_dir_all(place.join("domain")).unwrap();
        let (outside, link) = (place.join("outside"), place.join("domain/link"));
        let mut random = Random::stream(1, "deeds");
        for deed in [scribble, truncate, misplace] {
            for _ in 0..200 {
                fs::write(&outside, "as it was, and long enough for every deed").unwrap();
                fs::set_permissions(&outside, Permissions::from_mode(0o640)).unwrap();
                let _none_before = fs::remove_file(&link).or_else(|_| fs::remove_dir_all(&link));
                symlink(&outside, &link).unwrap();
                let _refused_or_done = deed(&link, &mut random);
                let text = fs::read_to_string(&outside).unwrap();
                assert_eq!(text, "as it was, and long enough for every deed");
                let mode = fs::metadata(&outside).unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, 0o640);
            }
        }
        fs::remove_dir_all(&place).unwrap();
    }
}
