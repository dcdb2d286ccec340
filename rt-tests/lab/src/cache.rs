//! The lab's folder: what was built once, each entry whole or not there, and scratch that dies with its process.
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Hexadecimal digits of a key in an entry's name.
const KEY_DIGITS: usize = 12;

/// Where everything is kept: `$KADENZ_LAB_CACHE`, or `lab` in the build's target folder.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    /// Scratch of this process; nobody else's while the lock below is held.
    work: PathBuf,
    _work_lock: File,
}

impl Cache {
    /// Opens it, and clears away the scratch of processes that are gone.
    ///
    /// # Errors
    /// The folder cannot be made or locked.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        let at = || root.display().to_string();
        // Unpacked root file systems hold programs that are setuid: nobody else may reach them.
        DirBuilder::new().recursive(true).mode(0o700).create(root).with_context(at)?;
        let all_work = root.join("work");
        fs::create_dir_all(&all_work).with_context(at)?;
        let root = root.canonicalize().with_context(at)?;
        // Held while folders are swept and ours is made: a new one is never taken for a stale one.
        let _sweeping = locked(&root.join("sweep.lock"))?;
        for entry in fs::read_dir(&all_work).with_context(at)?.flatten() {
            let folder = entry.path();
            if File::open(&folder).is_ok_and(|lock| lock.try_lock().is_ok()) {
                fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
            }
        }
        let (work, lock) = own_work(&root.join("work"))?;
        Ok(Self { root, work, _work_lock: lock })
    }

    /// The folder of the cache.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A new, empty scratch folder; it is gone when this process and its successor's start are.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch(&self, what: &str) -> anyhow::Result<PathBuf> {
        for number in 0_u32.. {
            let folder = self.work.join(format!("{what}-{number}"));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| folder.display().to_string()),
            }
        }
        anyhow::bail!("{}: no name is free", self.work.display())
    }

    /// The entry `name` that was made from `ingredients`; made now by `make`, in a place that becomes the entry
    /// when all went well. An older one of other ingredients is removed then.
    ///
    /// # Errors
    /// What `make` says, or the file system.
    pub fn entry(
        &self,
        name: &str,
        ingredients: &[&str],
        make: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let entry = self.root.join(format!("{name}-{}", key(ingredients)));
        if entry.exists() {
            return Ok(entry);
        }
        // One builder at a time; who waited finds it made.
        let _building = locked(&self.root.join(format!("{name}.lock")))?;
        if entry.exists() {
            return Ok(entry);
        }
        let place = self.scratch(name)?.join("made");
        make(&place).with_context(|| format!("making {name} for the lab"))?;
        fs::rename(&place, &entry).with_context(|| entry.display().to_string())?;
        self.forget(name, Some(&entry))?;
        Ok(entry)
    }

    /// Removes the entries called `name`, except `kept`.
    ///
    /// # Errors
    /// The file system.
    pub fn forget(&self, name: &str, kept: Option<&Path>) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.root)?.flatten() {
            let path = entry.path();
            let file_name = entry.file_name().to_string_lossy().into_owned();
            let is_one = file_name.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            if !is_one.is_some_and(is_key) || Some(path.as_path()) == kept {
                continue;
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed =
                if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _left = fs::remove_dir_all(&self.work);
    }
}

/// Makes and locks this process's scratch; a second one of the same process gets another name.
fn own_work(all_work: &Path) -> anyhow::Result<(PathBuf, File)> {
    let id = std::process::id();
    for number in 0_u32.. {
        let work = all_work.join(format!("{id}-{number}"));
        match fs::create_dir(&work) {
            Ok(()) => {
                let lock = File::open(&work)?;
                lock.lock().with_context(|| work.display().to_string())?;
                return Ok((work, lock));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| work.display().to_string()),
        }
    }
    anyhow::bail!("{}: no name is free", all_work.display())
}

fn locked(path: &Path) -> anyhow::Result<File> {
    let at = || path.display().to_string();
    let file = File::options().create(true).append(true).open(path).with_context(at)?;
    file.lock().with_context(at)?;
    Ok(file)
}

fn key(ingredients: &[&str]) -> String {
    let mut hash = Sha256::new();
    for ingredient in ingredients {
        hash.update(ingredient.len().to_le_bytes());
        hash.update(ingredient.as_bytes());
    }
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits[..KEY_DIGITS].to_owned()
}

fn is_key(text: &str) -> bool {
    text.len() == KEY_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        (folder, cache)
    }

    fn made(cache: &Cache, of: &str, text: &str) -> anyhow::Result<PathBuf> {
        cache.entry("thing", &[of], |place| Ok(fs::write(place, text)?))
    }

    #[test]
    fn an_entry_is_made_once_for_the_same_ingredients_and_replaces_one_of_others() {
        let (_folder, cache) = cache();
        let first = made(&cache, "a", "one").unwrap();
        assert_eq!(made(&cache, "a", "two").unwrap(), first);
        assert_eq!(fs::read_to_string(&first).unwrap(), "one");
        let other = made(&cache, "b", "two").unwrap();
        assert!(other != first && other.exists() && !first.exists());
    }

    #[test]
    fn a_build_that_fails_half_way_leaves_no_entry() {
        let (folder, cache) = cache();
        let half = |place: &Path| {
            fs::write(place, "half")?;
            anyhow::bail!("the mirror is gone")
        };
        let error = cache.entry("thing", &["a"], half).unwrap_err();
        assert!(format!("{error:#}").ends_with("the mirror is gone"));
        drop(cache);
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        left.retain(|entry| !entry.file_name().to_string_lossy().ends_with(".lock"));
        assert_eq!(left.len(), 1, "only the folder of all scratch: {left:?}");
        assert_eq!(fs::read_dir(folder.path().join("work")).unwrap().count(), 0);
    }

    #[test]
    fn scratch_of_a_process_that_is_gone_is_removed_and_that_of_a_living_one_is_not() {
        let (folder, cache) = cache();
        let living = cache.scratch("living").unwrap();
        let stale = folder.path().join("work/12345-0/half/made");
        fs::create_dir_all(&stale).unwrap();
        let second = Cache::open(folder.path()).unwrap();
        assert!(living.exists() && !stale.exists());
        assert!(second.scratch("living").unwrap() != living);
    }

    #[test]
    fn an_entry_whose_name_merely_begins_alike_is_left_alone() {
        let (_folder, cache) = cache();
        let longer = cache.entry("thing-else", &[], |place| Ok(fs::write(place, "x")?)).unwrap();
        let one = made(&cache, "a", "one").unwrap();
        cache.forget("thing", None).unwrap();
        assert!(longer.exists() && !one.exists());
    }
}
