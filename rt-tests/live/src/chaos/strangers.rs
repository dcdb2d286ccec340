//! Who comes with another contract, or with no sense at all.
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use kadenz_link::Operate;
use rt_tests::random::Random;
use shm_layout::LAYOUT_HASH;
use shm_layout::code::RequestKind;

use super::Hand;
use super::crowd::{Client, gather};
use super::stage::Stage;

/// Until an answer has come, or never will.
const ANSWER: Duration = Duration::from_secs(3);

/// Says `line` and gives the answer; empty when there was none.
fn ask(path: &Path, line: &[u8]) -> String {
    let Ok(mut stream) = UnixStream::connect(path) else { return String::new() };
    let _taken_or_hung_up =
        stream.set_write_timeout(Some(ANSWER)).and_then(|()| stream.write_all(line));
    let _nothing_more = stream.shutdown(std::net::Shutdown::Write);
    let mut said = Vec::new();
    let _late_is_empty = stream
        .set_read_timeout(Some(ANSWER))
        .and_then(|()| (&mut stream).take(64 * 1024).read_to_end(&mut said).map(|_| ()));
    String::from_utf8_lossy(&said).into_owned()
}

pub(super) fn wrong_contract(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let hello = |role: &str, hash: &str, version: &str| {
        format!(
            "{{\"role\":\"{role}\",\"layout_hash\":\"{hash}\",\"version\":\"{version}\",\"pid\":1}}\n"
        )
    };
    let ours = format!("{LAYOUT_HASH:#018x}");
    let others = [
        hello("view", &format!("{:#018x}", LAYOUT_HASH ^ 1), "1.0"),
        hello("plan", "0x0000000000000000", "0.9"),
        hello("operate", &format!("{:#018x}", LAYOUT_HASH.wrapping_add(1)), "2.0"),
        hello("view", "", "99.99"),
        hello("control", &ours, "1.0"),
        // Ours in every respect, but the role is held.
        hello("view", &ours, "1.0"),
        hello("plan", &ours, "1.0"),
        ours.clone() + "\n",
        "{\"role\":\"view\",\"token\":\"00000000\"}\n".to_owned(),
    ];
    for line in others {
        let answer = ask(&stage.dir().handover_socket(), line.as_bytes());
        let refused = answer.contains("\"refused\"");
        hand.did(1, u64::from(refused));
        if !refused {
            hand.fail(format!("{line:?} was answered {answer:?}, not refused"));
        }
    }
    let clients = ["view", "plan"]
        .into_iter()
        .map(|role| Client::start(stage.dir(), "stranger", &["--role".into(), role.into()], None))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let before = hand.evidence.actions;
    gather(hand, clients)?;
    if hand.evidence.actions == before {
        hand.fail("no stranger lived to tell what it was refused");
    }
    Ok(())
}

pub(super) fn garbage_knots(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let source = stage.until("a source", |sight| Ok(sight.has_source()))?.source_id;
    let clients = (0..2)
        .map(|_| {
            let arguments = [
                "--seed".into(),
                hand.random.bits().to_string(),
                "--ms".into(),
                hand.ground.of(4_000, 500).to_string(),
                "--source".into(),
                source.to_string(),
            ];
            Client::start(stage.dir(), "garbage", &arguments, None)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let before = hand.evidence.actions;
    gather(hand, clients)?;
    if hand.evidence.actions == before {
        hand.fail("no garbage was sent");
    }
    Ok(())
}

/// A line that is almost one of `good`, or nothing like it.
fn bad_line(random: &mut Random, good: &[&str]) -> Vec<u8> {
    let mut line = random.pick(good).as_bytes().to_vec();
    match random.below(6) {
        0 => return (0..random.within(1, 500)).map(|_| random.bits().to_le_bytes()[0]).collect(),
        1 => line.truncate(usize::try_from(random.below(line.len() as u64)).unwrap_or(0)),
        2 => {
            for _ in 0..random.within(1, 4) {
                let place = usize::try_from(random.below(line.len() as u64)).unwrap_or(0);
                line[place] = random.bits().to_le_bytes()[0];
            }
        }
        3 => line = b"[".repeat(usize::try_from(random.within(100, 60_000)).unwrap_or(100)),
        4 => line.splice(1..1, b"\"x\":1e999,".iter().copied()).for_each(drop),
        _ => line = line.repeat(3),
    }
    if random.percent(80) {
        line.push(b'\n');
    }
    line
}

pub(super) fn garbage_lines(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let dir = stage.dir().clone();
    // Nothing that could be carried out: what is almost right stays harmless.
    let doors: [(std::path::PathBuf, &[&str]); 3] = [
        (
            dir.operate_socket(),
            &[
                "{\"id\":1,\"request\":\"resume\"}",
                "{\"id\":2,\"request\":\"override\",\"value\":1}",
            ],
        ),
        (
            dir.planner_socket(),
            &["{\"status\":{}}", "{\"run\":{\"name\":\"x\",\"csv\":\"t_s,j1_rad\\n0,nan\"}}"],
        ),
        (
            dir.handover_socket(),
            &["{\"role\":\"view\",\"layout_hash\":\"0x1\",\"version\":\"1\",\"pid\":1}"],
        ),
    ];
    for _ in 0..hand.ground.of(150, 25) {
        for (path, good) in &doors {
            let answer = ask(path, &bad_line(&mut hand.random, good));
            hand.did(1, u64::from(answer.contains("refused") || answer.contains("error")));
        }
    }
    let mut operate = Operate::connect(&dir)?;
    operate.request(RequestKind::Override, 1.0, Duration::from_secs(2))?;
    let answer = ask(&dir.planner_socket(), b"{\"status\":{}}\n");
    if !answer.contains("planner") {
        hand.fail(format!("the planner answers {answer:?} after garbage"));
    }
    Ok(())
}
