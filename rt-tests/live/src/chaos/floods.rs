//! Floods: of connections to every socket, of participants, of knots. In each, honest work goes on.
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use kadenz_link::Operate;
use shm_layout::code::RequestKind;

use super::Hand;
use super::crowd::{Client, gather, pass_ms};
use super::stage::Stage;

/// What a connection does before it is dropped.
fn visit(
    path: &Path,
    random: &mut rt_tests::random::Random,
    line: &str,
    kept: &mut Vec<UnixStream>,
) -> bool {
    let Ok(mut stream) = UnixStream::connect(path) else { return true };
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    // Whatever the socket does not take at once is not sent: nobody here waits.
    let _taken_or_not = match random.below(5) {
        0 => Ok(0),
        1 => stream.write(&line.as_bytes()[..line.len() / 2]),
        2 => stream.write(line.as_bytes()),
        3 => {
            let noise: Vec<u8> =
                (0..random.within(1, 3_000)).map(|_| random.bits().to_le_bytes()[0]).collect();
            stream.write(&noise)
        }
        _ => stream.write(&vec![b'x'; 200_000]),
    };
    if random.percent(10) {
        kept.push(stream);
        if kept.len() > 40 {
            kept.remove(0);
        }
        return false;
    }
    let mut said = [0_u8; 256];
    let heard = stream.read(&mut said).unwrap_or(0);
    String::from_utf8_lossy(&said[..heard]).to_lowercase().contains("refused")
        || String::from_utf8_lossy(&said[..heard]).contains("error")
}

/// Visits for as long as the ground wants, and does `honest` work now and then.
fn flood(
    hand: &mut Hand<'_>,
    path: &Path,
    line: &str,
    mut honest: impl FnMut() -> Result<(), String>,
) {
    let until = Instant::now() + Duration::from_millis(hand.ground.of(4_000, 500));
    let mut kept = Vec::new();
    let mut next_honest = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        for _ in 0..16 {
            let refused = visit(path, &mut hand.random, line, &mut kept);
            hand.did(1, u64::from(refused));
        }
        if Instant::now() > next_honest {
            if let Err(why) = honest() {
                hand.fail(why);
            }
            next_honest = Instant::now() + Duration::from_millis(300);
        }
        pass_ms(1);
    }
}

pub(super) fn handover(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let path = stage.dir().handover_socket();
    let line = "{\"role\":\"view\",\"layout_hash\":\"0x0\",\"version\":\"1.0\",\"pid\":1}\n";
    let pids = stage.set.pids(&["kadenz-gateway"]);
    flood(hand, &path, line, || Ok(()));
    if stage.set.pids(&["kadenz-gateway"]) != pids {
        hand.fail("a living gateway was ended by the flood");
    }
    Ok(())
}

pub(super) fn operate(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let path = stage.dir().operate_socket();
    let dir = stage.dir().clone();
    let line = "{\"id\":1,\"request\":\"override\",\"value\":1.0}\n";
    flood(hand, &path, line, || {
        // Asked like a person would: once more when the door was closed.
        let ask = || {
            let mut operate = Operate::connect(&dir)?;
            operate.request(RequestKind::Override, 1.0, Duration::from_secs(2))
        };
        let answered = (0..20).any(|_| {
            let is_answered = ask().is_ok();
            if !is_answered {
                pass_ms(50);
            }
            is_answered
        });
        if answered {
            Ok(())
        } else {
            Err("an honest request was not answered within a second".to_owned())
        }
    });
    Ok(())
}

pub(super) fn planner(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let path = stage.dir().planner_socket();
    flood(hand, &path, "{\"status\":{}}\n", || Ok(()));
    Ok(())
}

pub(super) fn nodes(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let ms = hand.ground.of(4_000, 500);
    let mut lasting = Vec::new();
    for role in ["view", "plan"] {
        let arguments = ["--role".into(), role.into(), "--ms".into(), ms.to_string()];
        lasting.push(Client::start(stage.dir(), "nodes", &arguments, None)?);
    }
    let until = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < until {
        let role = *hand.random.pick(&["view", "plan"]);
        let arguments = ["--role".into(), role.into(), "--ms".into(), "60000".into()];
        let client = Client::start(stage.dir(), "nodes", &arguments, None)?;
        pass_ms(hand.random.within(5, 120));
        client.kill();
        hand.evidence.lives += 1;
    }
    gather(hand, lasting)
}

pub(super) fn knots(stage: &mut Stage, hand: &mut Hand<'_>) -> anyhow::Result<()> {
    let ms = hand.ground.of(4_000, 500).to_string();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let seed = hand.random.bits().to_string();
        let arguments = ["--seed".into(), seed, "--ms".into(), ms.clone()];
        clients.push(Client::start(stage.dir(), "flood", &arguments, None)?);
    }
    gather(hand, clients)
}
