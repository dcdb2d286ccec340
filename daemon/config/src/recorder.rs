//! The table `[recorder]`: how far back, how often to disk, where and how much.
use std::path::{Path, PathBuf};

use crate::machine::Recorder;
use crate::schema;
use crate::walk::Section;

/// Reads the table; `None` when something in it was refused (and reported).
pub(crate) fn read(mut section: Section<'_>) -> Option<Recorder> {
    let enabled = section.truth_or(&schema::ENABLED, true);
    let ring_s = section.whole_or(&schema::RING_S, 10);
    let save_every_ms = section.whole_or(&schema::SAVE_EVERY_MS, 100);
    let directory = directory(&mut section);
    let limit_mb = section.whole_or(&schema::LIMIT_MB, 512);
    section.finish();
    Some(Recorder {
        enabled: enabled?,
        ring_s: ring_s?,
        save_every_ms: save_every_ms?,
        directory: directory?,
        limit_mb: limit_mb?,
    })
}

/// `Some(None)` is a recorder that saves nothing unless asked to.
fn directory(section: &mut Section<'_>) -> Option<Option<PathBuf>> {
    let key = schema::DIRECTORY.key;
    let Some(given) = section.text_if_present(&schema::DIRECTORY) else {
        return (!section.has(key)).then_some(None);
    };
    if Path::new(given.value).is_absolute() && !given.value.contains('\0') {
        return Some(Some(PathBuf::from(given.value)));
    }
    section.refuse(key, &format!("must begin with /; {}", schema::DIRECTORY.remedy));
    None
}
