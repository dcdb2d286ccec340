//! The operate client against a gateway played by a thread, well-behaved and otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kadenz_link::operate::{Answer, Operate, OperateError};
use kadenz_link::paths::RuntimeDir;
use shm_layout::code::{Outcome, RequestKind};

const DEADLINE: Duration = Duration::from_millis(500);
static SERVERS: AtomicU32 = AtomicU32::new(0);

struct Server {
    dir: RuntimeDir,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Takes one connection and gives it to `serve`.
    fn start(serve: impl FnOnce(BufReader<UnixStream>, UnixStream) + Send + 'static) -> Self {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kdzo{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let dir = RuntimeDir::at(path).unwrap();
        let listener = UnixListener::bind(dir.operate_socket()).unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            serve(BufReader::new(stream.try_clone().unwrap()), stream);
        });
        Self { dir, thread: Some(thread) }
    }

    /// Answers each line with what `reply` gives for it.
    fn replying(reply: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        Self::start(move |lines, mut stream| {
            for line in lines.lines().map_while(Result::ok) {
                if stream.write_all(&reply(&line)).is_err() {
                    break;
                }
            }
        })
    }

    fn ask(&self, kind: RequestKind) -> Result<Answer, OperateError> {
        Operate::connect(&self.dir).unwrap().request(kind, 0.0, DEADLINE)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A client that never came would leave the thread in accept.
        let _woken = UnixStream::connect(self.dir.operate_socket());
        self.thread.take().unwrap().join().unwrap();
        std::fs::remove_dir_all(self.dir.as_path()).unwrap();
    }
}

fn reply_bytes(text: &'static str) -> impl Fn(&str) -> Vec<u8> + Send + 'static {
    move |_| text.as_bytes().to_vec()
}

#[test]
fn a_request_is_one_json_line_and_its_answer_is_typed() {
    let server = Server::replying(|line| {
        assert_eq!(line, r#"{"id":1,"request":"override","value":0.5,"deadline_ms":500}"#);
        b"{\"id\":1,\"outcome\":\"accepted\",\"cycle\":123,\"message\":\"rate 0.5\"}\n".to_vec()
    });
    let mut operate = Operate::connect(&server.dir).unwrap();
    let answer = operate.request(RequestKind::Override, 0.5, DEADLINE).unwrap();
    let expected =
        Answer { outcome: Outcome::Accepted, cycle: 123, message: "rate 0.5".to_owned() };
    assert_eq!(answer, expected);
    assert!(answer.is_granted());
}

#[test]
fn every_outcome_of_the_contract_is_understood() {
    for (outcome, word, _) in Outcome::ALL {
        let server =
            Server::replying(move |_| format!("{{\"id\":1,\"outcome\":\"{word}\"}}\n").into());
        assert_eq!(server.ask(RequestKind::Stop).unwrap().outcome, *outcome);
    }
}

#[test]
fn a_refusal_of_the_gateway_comes_in_its_words_without_control_characters() {
    let server =
        Server::replying(reply_bytes("{\"id\":1,\"error\":\"uid 7 \\u001b[2J may not\"}\n"));
    let words = server.ask(RequestKind::Enable).unwrap_err().to_string();
    assert_eq!(words, "refused by the operate gateway: uid 7 \u{fffd}[2J may not");
}

#[test]
fn a_refusal_to_serve_at_all_is_a_refusal_even_when_the_gateway_has_hung_up_meanwhile() {
    let refusal = "{\"error\":\"32 clients are connected already\",\"id\":null}\n";
    let served = Server::replying(reply_bytes(refusal)).ask(RequestKind::Stop).unwrap_err();
    let (gone, hung_up) = std::sync::mpsc::channel();
    let server = Server::start(move |lines, mut stream| {
        stream.write_all(refusal.as_bytes()).unwrap();
        drop((lines, stream));
        gone.send(()).unwrap();
    });
    let mut operate = Operate::connect(&server.dir).unwrap();
    hung_up.recv().unwrap();
    let unserved = operate.request(RequestKind::Stop, 0.0, DEADLINE).unwrap_err();
    for error in [served, unserved] {
        let words = error.to_string();
        assert_eq!(words, "refused by the operate gateway: 32 clients are connected already");
    }
}

#[test]
fn garbage_is_told_with_place_and_text() {
    let cases: [(&str, &str); 7] = [
        ("no json\n", "no json"),
        ("\n", "EOF"),
        ("{\"id\":1}\n", "neither `outcome` nor `error`"),
        ("{\"id\":1,\"outcome\":\"perhaps\"}\n", "outcome \"perhaps\" is unknown"),
        ("{\"id\":9,\"outcome\":\"accepted\"}\n", "its id is 9, ours was 1"),
        ("{\"id\":-1,\"outcome\":\"accepted\"}\n", "invalid value"),
        ("{\"id\":1,\"outcome\":\"accepted\",\"cycle\":1e400}\n", "number out of range"),
    ];
    for (reply, part) in cases {
        let server = Server::replying(reply_bytes(reply));
        let error = server.ask(RequestKind::Hold).unwrap_err();
        assert!(matches!(error, OperateError::Garbage { .. }), "{reply:?}: {error}");
        let words = error.to_string();
        assert!(words.contains(part) && words.contains("operate.sock"), "{reply:?}: {words}");
    }
}

#[test]
fn bytes_that_are_no_text_and_lines_without_end_are_garbage() {
    let server = Server::replying(|_| vec![0xff, 0xfe, 0, b'\n']);
    assert!(matches!(server.ask(RequestKind::Hold), Err(OperateError::Garbage { .. })));
    let server = Server::replying(|_| vec![b'x'; 200_000]);
    let words = server.ask(RequestKind::Hold).unwrap_err().to_string();
    assert!(words.contains("no line end within 65536 bytes") && words.len() < 500, "{words}");
}

#[test]
fn a_reply_in_pieces_is_one_reply_and_a_late_one_is_skipped() {
    let server = Server::start(|lines, mut stream| {
        for (number, _) in lines.lines().map_while(Result::ok).enumerate() {
            // The first request stays without an answer until the second has come.
            if number == 1 {
                for piece in
                    ["{\"id\":1,\"outcome\":\"expired\"}\n{\"id\":2,\"outco", "me\":\"already\"}\n"]
                {
                    stream.write_all(piece.as_bytes()).unwrap();
                    stream.flush().unwrap();
                }
            }
        }
    });
    let mut operate = Operate::connect(&server.dir).unwrap();
    let first = operate.request(RequestKind::Enable, 0.0, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(first, OperateError::NoAnswer { request: "enable", .. }), "{first}");
    let second = operate.request(RequestKind::Enable, 0.0, DEADLINE).unwrap();
    assert_eq!(second.outcome, Outcome::Already);
}

#[test]
fn a_gateway_that_hangs_up_is_told() {
    let server = Server::start(|mut lines, _| {
        lines.read_line(&mut String::new()).unwrap();
    });
    assert!(matches!(server.ask(RequestKind::Hold), Err(OperateError::Broken { .. })));
}

#[test]
fn a_missing_gateway_is_told_with_the_remedy() {
    let nowhere = RuntimeDir::at("/dev/shm/kdz-no-such-machine").unwrap();
    let words = Operate::connect(&nowhere).unwrap_err().to_string();
    assert!(words.contains("operate.sock") && words.contains("start kadenzd"), "{words}");
}

#[test]
fn values_and_deadlines_outside_their_range_are_not_sent() {
    let server = Server::replying(|line| panic!("sent {line}"));
    let mut operate = Operate::connect(&server.dir).unwrap();
    for (value, deadline) in
        [(f64::NAN, DEADLINE), (f64::INFINITY, DEADLINE), (0.0, Duration::ZERO)]
    {
        let error = operate.request(RequestKind::Override, value, deadline).unwrap_err();
        assert!(matches!(error, OperateError::Request { .. }), "{error}");
    }
    let long = Duration::from_secs(61);
    assert!(operate.request(RequestKind::Override, 0.5, long).is_err());
}

#[test]
fn a_status_is_asked_by_its_word_alone_and_a_refusal_is_heard() {
    let server = Server::replying(|line| {
        assert_eq!(line, r#"{"id":1,"request":"status"}"#);
        b"{\"id\":1,\"error\":\"no state has come\"}\n".to_vec()
    });
    let error = Operate::connect(&server.dir).unwrap().outlook().unwrap_err();
    assert!(matches!(error, OperateError::Refused { .. }), "{error}");
    let server = Server::replying(|_| b"{\"id\":1,\"outcome\":\"accepted\"}\n".to_vec());
    let error = Operate::connect(&server.dir).unwrap().outlook().unwrap_err();
    assert!(error.to_string().contains("neither `status` nor `error`"), "{error}");
}
