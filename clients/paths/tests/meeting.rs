//! The rule for the runtime directory, and announcements as they cross the file system.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

use std::fs;
use std::path::{Path, PathBuf};

use kadenz_paths::{PathsError, ROOT_AND_PREFIX_BYTES_MAX, RuntimeDir, Surroundings, Token};
use shm_layout::code::Role;

fn named(surroundings: &Surroundings) -> PathBuf {
    surroundings.runtime_dir().unwrap().as_path().to_path_buf()
}

fn temporary(name: &str) -> RuntimeDir {
    let path = std::env::temp_dir().join(format!("kdzpaths-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    RuntimeDir::at(path).unwrap()
}

#[test]
fn the_option_goes_before_the_environment_and_that_before_the_machine() {
    let mut around = Surroundings {
        option: Some("/a".into()),
        environment: Some("/b".into()),
        run_is_tmpfs: true,
        system_dir_exists: true,
        xdg_tmpfs: Some("/run/user/1000".into()),
        uid: 1000,
    };
    assert_eq!(named(&around), Path::new("/a"));
    around.option = None;
    assert_eq!(named(&around), Path::new("/b"));
    around.environment = None;
    assert_eq!(named(&around), Path::new("/run/kadenz"));
    around.system_dir_exists = false;
    assert_eq!(named(&around), Path::new("/run/user/1000/kadenz"));
    around.xdg_tmpfs = None;
    assert_eq!(named(&around), Path::new("/dev/shm/kadenz-1000"));
}

#[test]
fn root_takes_run_only_where_it_is_a_tmpfs() {
    let root = Surroundings { run_is_tmpfs: true, ..Surroundings::default() };
    assert_eq!(named(&root), Path::new("/run/kadenz"));
    let on_disk = Surroundings { run_is_tmpfs: false, system_dir_exists: true, ..root };
    assert_eq!(named(&on_disk), Path::new("/dev/shm/kadenz-0"));
}

#[test]
fn relative_directories_are_refused_and_superfluous_bytes_dropped() {
    for path in ["", "kadenz", "./kadenz"] {
        assert!(matches!(RuntimeDir::at(path), Err(PathsError::NotAbsolute { .. })), "{path:?}");
    }
    assert_eq!(RuntimeDir::at("/run/./kadenz//").unwrap().as_path(), Path::new("/run/kadenz"));
}

#[test]
fn the_names_inside_are_these() {
    let dir = RuntimeDir::at("/run/kadenz").unwrap();
    assert_eq!(dir.handover_socket(), Path::new("/run/kadenz/handover.sock"));
    assert_eq!(dir.operate_socket(), Path::new("/run/kadenz/operate.sock"));
    assert_eq!(dir.planner_socket(), Path::new("/run/kadenz/planner/planner.sock"));
    assert_eq!(dir.epoch_file(Role::Plan), Path::new("/run/kadenz/plan.epoch"));
    let place = dir.epoch_place(Role::View, Token::from_number(0xbeef)).unwrap();
    assert_eq!(place.root, Path::new("/run/kadenz/view/e0000beef"));
    assert_eq!(place.prefix, "kdzv0000beef_");
}

#[test]
fn a_directory_too_long_for_the_sockets_inside_is_refused_with_the_excess() {
    let token = Token::from_number(1);
    let fixed = "/view/e00000001".len() + "kdzv00000001_".len();
    let longest = format!("/{}", "x".repeat(ROOT_AND_PREFIX_BYTES_MAX - fixed - 1));
    assert!(RuntimeDir::at(&longest).unwrap().epoch_place(Role::View, token).is_ok());
    let words = RuntimeDir::at(format!("{longest}yyy"))
        .unwrap()
        .epoch_place(Role::View, token)
        .unwrap_err()
        .to_string();
    assert!(words.contains("63 bytes") && words.contains("3 bytes shorter"), "{words}");
}

#[test]
fn an_announcement_is_read_back_and_replaced() {
    let dir = temporary("announce");
    assert_eq!(dir.read_epoch(Role::View).unwrap(), None);
    for number in [0, 7, u32::MAX] {
        dir.announce_epoch(Role::View, Token::from_number(number)).unwrap();
        assert_eq!(dir.read_epoch(Role::View).unwrap(), Some(Token::from_number(number)));
    }
    assert_eq!(fs::read_to_string(dir.epoch_file(Role::View)).unwrap(), "ffffffff\n");
    assert_eq!(fs::read_dir(dir.as_path()).unwrap().count(), 1, "no draft is left");
    fs::remove_dir_all(dir.as_path()).unwrap();
}

#[test]
fn anything_but_a_token_is_refused_naming_file_and_text() {
    let dir = temporary("garbage");
    let endless = "0".repeat(1 << 20);
    let texts = [
        "",
        "\n",
        "beef",
        "0000BEEF\n",
        "0000beef\n\n",
        "+000beef",
        "0000beef0",
        "../../etc",
        &endless,
    ];
    for text in texts {
        fs::write(dir.epoch_file(Role::View), text).unwrap();
        let error = dir.read_epoch(Role::View).unwrap_err();
        let words = error.to_string();
        assert!(matches!(error, PathsError::BadToken { .. }), "{text:?}: {words}");
        assert!(words.contains("view.epoch") && words.len() < 300, "{words}");
    }
    fs::remove_file(dir.epoch_file(Role::View)).unwrap();
    fs::create_dir(dir.epoch_file(Role::View)).unwrap();
    assert!(matches!(dir.read_epoch(Role::View), Err(PathsError::Io { .. })));
    fs::remove_dir_all(dir.as_path()).unwrap();
}

#[test]
fn fresh_tokens_differ() {
    let tokens: std::collections::HashSet<Token> =
        (0..64).map(|_| Token::fresh().unwrap()).collect();
    // 64 draws of 32 bits: two alike in one of two million runs, four alike never.
    assert!(tokens.len() > 60);
}
