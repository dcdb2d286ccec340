//! The operating verbs: one request, its outcome in words, and for `enable` and `disable` the wait
//! until the machine is there.
use std::time::Duration;

use kadenz_host::{Files, fingerprint};
use kadenz_link::{Answer, Operate, OperateError};
use kadenz_paths::RuntimeDir;
use shm_layout::code::{Outcome, Phase, Reason, RequestKind, Verdict};
use shm_layout::state::StateHeader;

use crate::machine::{Machine, what_to_start};
use crate::reply::{
    EXIT_NO_ANSWER, EXIT_PERMISSION, EXIT_REFUSED, EXIT_UNAVAILABLE, EXIT_USAGE, Failure, Reply,
};

/// The loop refuses a request that reaches it later: a person would not expect it to act any more.
const DEADLINE: Duration = Duration::from_secs(2);
/// Drives are given less by kadenzd; a stop from full speed on a slow machine may take this long.
const SETTLE_TIME: Duration = Duration::from_secs(30);

/// Asks to enable; `acknowledges_host` says that the host may be another than the one that was judged.
pub(crate) fn enable(dir: &RuntimeDir, acknowledges_host: bool) -> Result<Reply, Failure> {
    let value = if acknowledges_host { 1.0 } else { 0.0 };
    let reply = ask(dir, RequestKind::Enable, value)?;
    match reply.fields.get("outcome") {
        Some(outcome) if outcome == Outcome::HostChanged.word() => Ok(with_changes(reply)),
        _ => Ok(reply),
    }
}

/// The refusal with what has changed on the host, as far as this process can read it.
fn with_changes(reply: Reply) -> Reply {
    let file = fingerprint::file();
    let changes = fingerprint::changes_since_judged(&Files::here(), &file).unwrap_or_default();
    let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let told = match words.is_empty() {
        true => format!("{} fits the host now; start kadenzd again", file.display()),
        false => words.join("\n  "),
    };
    let text = format!("{}\n  {told}", reply.text);
    Reply { text, ..reply }.with("host_changes", words)
}

/// Asks for `kind`; `enable` and `disable` end when the machine is enabled or disabled.
pub(crate) fn ask(dir: &RuntimeDir, kind: RequestKind, value: f64) -> Result<Reply, Failure> {
    let mut operate = Operate::connect(dir).map_err(|error| unanswered(dir, &error))?;
    let answer = operate.request(kind, value, DEADLINE).map_err(|error| unanswered(dir, &error))?;
    let reply = reply_to(kind, &answer);
    // Only now is the machine looked at: torque does not wait for that, and looking may make root
    // the view's user.
    let is_watched = matches!(kind, RequestKind::Enable | RequestKind::Disable);
    let reply = match is_watched && answer.is_granted() {
        true => settle(reply, kind, &answer, Machine::enter(dir))?,
        false => reply,
    };
    let text = match reply.code {
        0 => format!("{}: {}", kind.word(), reply.text),
        _ => reply.text,
    };
    Ok(Reply { text, ..reply })
}

/// Asks for a hold on behalf of a verb that is interrupted; what came of it, in words. `operate` is
/// a connection made before, which a restarted gateway may have left behind.
pub(crate) fn hold(dir: &RuntimeDir, operate: Option<Operate>) -> String {
    let ask = |mut operate: Operate| operate.request(RequestKind::Hold, 0.0, DEADLINE);
    let asked = match operate.map(ask) {
        None | Some(Err(OperateError::Broken { .. })) => Operate::connect(dir).and_then(ask),
        Some(asked) => asked,
    };
    match asked {
        Ok(answer) => format!("hold {}", reply_to(RequestKind::Hold, &answer).text),
        Err(error) => format!("no hold: {}", unanswered(dir, &error).text),
    }
}

fn reply_to(kind: RequestKind, answer: &Answer) -> Reply {
    let Answer { outcome, cycle, .. } = answer;
    let (code, text) = match outcome {
        Outcome::Accepted => (0, format!("accepted in cycle {cycle}")),
        Outcome::Already if matches!(kind, RequestKind::Resume) => {
            let text = format!(
                "nothing is held (cycle {cycle}); if the path stands all the same, its override is 0"
            );
            (0, text)
        }
        Outcome::Already => (0, format!("it is so already (cycle {cycle})")),
        refused => (
            EXIT_REFUSED,
            format!("refused ({}) in cycle {cycle}: {}", refused.word(), remedy(kind, *refused)),
        ),
    };
    Reply::new(code, text).with("outcome", outcome.word()).with("cycle", *cycle)
}

/// Why an outcome came, and what to do next.
fn remedy(kind: RequestKind, outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted | Outcome::Already => "nothing is left to do",
        Outcome::Expired => {
            "it reached the loop after its deadline and was not carried out; look at \
             `kadenz status`, then ask again"
        }
        Outcome::Malformed => {
            "kadenzd does not know this request or value; install the same version of both"
        }
        Outcome::NotEnabled if matches!(kind, RequestKind::Stop | RequestKind::Hold) => {
            "torque is off, nothing moves; nothing is left to do"
        }
        Outcome::NotEnabled => "the axes are not enabled; `kadenz enable` first",
        Outcome::StopLatched => "a stop is latched; `kadenz enable` clears it",
        Outcome::Moving if matches!(kind, RequestKind::Enable) => {
            "a stop or a disable is still being carried out; ask again at rest"
        }
        Outcome::Moving => "axes move; `kadenz hold` or `kadenz stop` first",
        Outcome::ShuttingDown => "kadenzd is ending; start it again",
        Outcome::HostChanged => {
            "the host is not the one that was judged; run `kadenz doctor` and start kadenzd again, or \
             `kadenz enable --acknowledge-host`"
        }
        Outcome::FeedbackStale => {
            "feedback is missing or stale; check the drives' supply and the bus, `kadenz status` \
             shows the axis"
        }
    }
}

/// Where the machine has come to after `enable` or `disable`.
#[derive(Debug, PartialEq, Eq)]
enum Settled {
    There,
    Elsewhere,
}

/// Judges a state that is newer than the answer.
fn settled(kind: RequestKind, phase: Phase) -> Option<Settled> {
    match (kind, phase) {
        (RequestKind::Enable, Phase::Standstill | Phase::Moving)
        | (RequestKind::Disable, Phase::Disabled) => Some(Settled::There),
        (RequestKind::Enable, Phase::Stopped | Phase::Disabled) => Some(Settled::Elsewhere),
        _ => None,
    }
}

fn settle(
    reply: Reply,
    kind: RequestKind,
    answer: &Answer,
    machine: Result<Machine, Failure>,
) -> Result<Reply, Failure> {
    let mut machine = match machine {
        Ok(machine) => machine,
        // Whoever may operate need not be allowed to look.
        Err(failure) if failure.code == EXIT_PERMISSION => {
            let text = format!("{}; not watched: {}", reply.text, failure.text);
            return Ok(Reply { text, ..reply });
        }
        Err(failure) => {
            let text = format!("{}, but what came of it is not seen: {}", reply.text, failure.text);
            return Err(Failure::new(EXIT_NO_ANSWER, text));
        }
    };
    let mut last: Option<StateHeader> = None;
    let ended = machine.find(SETTLE_TIME, |(header, _)| {
        last = Some(*header);
        let is_newer = header.cycle > answer.cycle;
        let phase = Phase::try_from(header.phase).ok().filter(|_| is_newer)?;
        settled(kind, phase).map(|settled| (settled, phase))
    })?;
    let Some(last) = last else { return Err(machine.silence()) };
    let phase = Phase::word_of(last.phase);
    let reply = reply
        .with("phase", phase)
        .with("verdict", Verdict::word_of(last.verdict))
        .with("reason", Reason::word_of(last.reason));
    let text = match ended {
        Some((Settled::There, _)) => format!("{}; {phase}", reply.text),
        Some((Settled::Elsewhere, _)) => {
            let reason = machine.reason(&last);
            let text = format!(
                "{}, but the machine is {phase} ({reason}); `kadenz status` shows more, \
                 `kadenz enable` tries again",
                reply.text
            );
            return Ok(Reply { code: EXIT_REFUSED, text, ..reply });
        }
        None => {
            let reason = machine.reason(&last);
            let text = format!(
                "{}, but after {} s the machine is still {phase} ({reason}); `kadenz status` \
                 shows more",
                reply.text,
                SETTLE_TIME.as_secs()
            );
            return Ok(Reply { code: EXIT_NO_ANSWER, text, ..reply });
        }
    };
    Ok(Reply { text, ..reply })
}

/// Why there is no answer, as a failure.
pub(crate) fn unanswered(dir: &RuntimeDir, error: &OperateError) -> Failure {
    use std::io::ErrorKind;
    match error {
        OperateError::Connect { source, .. } => match source.kind() {
            ErrorKind::PermissionDenied => Failure::new(EXIT_PERMISSION, error.to_string()),
            _ => {
                let start = what_to_start(dir, "operate");
                Failure::new(EXIT_UNAVAILABLE, format!("{error}; {start}"))
            }
        },
        OperateError::NoAnswer { .. } => Failure::new(EXIT_NO_ANSWER, error.to_string()),
        OperateError::Broken { .. } | OperateError::Garbage { .. } => {
            Failure::new(EXIT_UNAVAILABLE, error.to_string())
        }
        OperateError::Request { .. } => Failure::new(EXIT_USAGE, error.to_string()),
        OperateError::Refused { .. } => Failure::new(EXIT_REFUSED, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do_next() {
        for (outcome, word, _) in Outcome::ALL {
            let answer = Answer { outcome: *outcome, cycle: 12_345, message: String::new() };
            let reply = reply_to(RequestKind::Hold, &answer);
            assert_eq!(reply.code == 0, answer.is_granted(), "{word}");
            assert!(reply.text.contains("12345"), "{}", reply.text);
            assert!(answer.is_granted() || reply.text.contains(word), "{}", reply.text);
        }
        assert!(remedy(RequestKind::Hold, Outcome::StopLatched).contains("`kadenz enable`"));
        // Nobody should have to switch torque on in order to stop.
        assert!(!remedy(RequestKind::Stop, Outcome::NotEnabled).contains("enable"));
        assert!(remedy(RequestKind::Resume, Outcome::NotEnabled).contains("`kadenz enable`"));
    }

    #[test]
    fn enable_ends_enabled_stopped_or_fallen_back_and_never_on_the_way() {
        let enable = |phase| settled(RequestKind::Enable, phase);
        assert_eq!(enable(Phase::Standstill), Some(Settled::There));
        assert_eq!(enable(Phase::Stopped), Some(Settled::Elsewhere));
        assert_eq!(enable(Phase::Disabled), Some(Settled::Elsewhere));
        for on_the_way in [Phase::Enabling, Phase::Stopping, Phase::Disabling] {
            assert_eq!(enable(on_the_way), None);
        }
    }

    #[test]
    fn disable_ends_only_when_torque_is_off() {
        for (phase, word, _) in Phase::ALL {
            let ended = settled(RequestKind::Disable, *phase).is_some();
            assert_eq!(ended, *phase == Phase::Disabled, "{word}");
        }
    }
}
