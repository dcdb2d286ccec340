//! Operate: the unix socket, from request line to the loop and back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kadenz_handover::{RoleTable, own_operate_socket};
use serde_json::{Value, json};
use shm_layout::code::RequestKind;

use crate::machine::Machine;

struct Person {
    stream: BufReader<UnixStream>,
}

impl Person {
    fn at(machine: &Machine) -> Self {
        let stream = UnixStream::connect(machine.dir.operate_socket()).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("time-out");
        Self { stream: BufReader::new(stream) }
    }

    fn say(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).expect("write");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, line: &str) -> Value {
        self.say(line);
        self.hear()
    }
}

fn start() -> (Machine, crate::machine::Gateway) {
    let machine = Machine::start(RoleTable::one_user());
    let gateway = machine.gateway("operate");
    machine.wait_ready(1);
    (machine, gateway)
}

#[test]
fn a_request_reaches_the_loop_and_its_answer_comes_back() {
    let (machine, _gateway) = start();
    let mode = std::fs::metadata(own_operate_socket(&machine.dir)).unwrap();
    assert!(mode.file_type().is_socket());
    assert_eq!(mode.permissions().mode() & 0o777, 0o660);
    let mut person = Person::at(&machine);
    let answer = person.ask(r#"{"id":7,"request":"stop","axes":[1],"trace_id":3}"#);
    assert_eq!((&answer["id"], &answer["outcome"]), (&json!(7), &json!("accepted")));
    assert!(answer["cycle"].as_u64().is_some() && answer["message"].is_string(), "{answer}");
    let seen = machine.seen.lock().unwrap();
    let [request] = seen.requests[..] else { panic!("{:?}", seen.requests) };
    assert_eq!(
        (request.kind, request.axis_mask, request.trace_id),
        (RequestKind::Stop.code(), 2, 3)
    );
    assert_eq!(request.peer_uid, nix::unistd::geteuid().as_raw());
    assert_ne!(request.request_id >> 32, 0, "numbers carry the token");
    drop(seen);
    let answer = person.ask(r#"{"id":8,"request":"override","value":0.5}"#);
    assert_eq!(answer["outcome"], "not-enabled");
}

#[test]
fn what_cannot_be_asked_is_refused_in_words_and_the_connection_lives_on() {
    let (machine, _gateway) = start();
    let mut person = Person::at(&machine);
    let refusals = [
        (r#"{"id":1,"request":"state"}"#, json!(1), "request \"state\" is unknown"),
        (
            r#"{"id":2,"request":"stop","axes":[2]}"#,
            json!(2),
            "axes [2]: a list of numbers from 0 to 1",
        ),
        ("hello", Value::Null, "not JSON"),
    ];
    for (line, id, place) in refusals {
        let answer = person.ask(line);
        assert_eq!(answer["id"], id);
        assert!(answer["error"].as_str().unwrap().starts_with(place), "{answer}");
    }
    assert_eq!(person.ask(r#"{"id":3,"request":"stop"}"#)["outcome"], "accepted");
}

#[test]
fn a_loop_that_does_not_answer_is_reported_and_outstanding_requests_are_bounded() {
    let (machine, _gateway) = start();
    machine.answers.store(false, Ordering::Relaxed);
    let mut person = Person::at(&machine);
    for id in 0..17 {
        person.say(&format!(r#"{{"id":{id},"request":"resume","deadline_ms":300}}"#));
    }
    let first = person.hear();
    assert_eq!(first["id"], 16, "{first}");
    assert!(first["error"].as_str().unwrap().starts_with("16 requests of this client"), "{first}");
    // Nor by another connection; but what takes motion away is not refused for that.
    let mut other = Person::at(&machine);
    let answer = other.ask(r#"{"id":1,"request":"resume"}"#);
    assert!(answer["error"].as_str().unwrap().starts_with("16 requests of uid"), "{answer}");
    other.say(r#"{"id":2,"request":"stop"}"#);
    machine.wait_for("the stop", |seen| {
        seen.requests.iter().any(|one| one.kind == RequestKind::Stop.code()).then_some(())
    });
    let mut ids: Vec<u64> = (0..16)
        .map(|_| {
            let answer = person.hear();
            let error = answer["error"].as_str().unwrap();
            assert!(error.starts_with("no answer from the loop within 300 ms"), "{error}");
            answer["id"].as_u64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..16).collect::<Vec<_>>());
}

#[test]
fn hostile_clients_are_cut_off_and_an_honest_one_is_served_among_them() {
    let (machine, _gateway) = start();
    let mut overlong = Person::at(&machine);
    // The other side hangs up before it has taken everything.
    let _hung_up = overlong.stream.get_mut().write_all(&vec![b'x'; 200_000]);
    let answer = overlong.hear();
    assert!(answer["error"].as_str().unwrap().contains("65536 bytes"), "{answer}");

    let mut silent: Vec<Person> = (0..20).map(|_| Person::at(&machine)).collect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for person in silent.iter_mut().take(4) {
            scope.spawn(|| {
                // Says much and reads nothing, until it is hung up on.
                let garbage = "{\n".repeat(2000);
                while !stop.load(Ordering::Relaxed) {
                    if person.stream.get_mut().write_all(garbage.as_bytes()).is_err() {
                        return true;
                    }
                }
                false
            });
        }
        let mut honest = Person::at(&machine);
        for id in 0..200 {
            let answer = honest.ask(&format!(r#"{{"id":{id},"request":"stop"}}"#));
            assert_eq!((&answer["id"], &answer["outcome"]), (&json!(id), &json!("accepted")));
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(silent);
    let mut next = Person::at(&machine);
    assert_eq!(next.ask(r#"{"id":1,"request":"stop"}"#)["outcome"], "accepted");
}

#[test]
fn the_thirty_third_client_is_sent_away_in_words_while_all_others_wait_for_an_answer() {
    let (machine, _gateway) = start();
    machine.answers.store(false, Ordering::Relaxed);
    let mut people: Vec<Person> = (0..32).map(|_| Person::at(&machine)).collect();
    for (id, person) in people.iter_mut().enumerate() {
        person.say(&format!(r#"{{"id":{id},"request":"stop","deadline_ms":60000}}"#));
        // Told in the order of asking: this one is admitted once the second is refused.
        let twice = person.ask(&format!(r#"{{"id":{id},"request":"stop"}}"#));
        assert!(twice["error"].as_str().unwrap().contains("is under way already"), "{twice}");
    }
    let answer = Person::at(&machine).hear();
    assert!(answer["error"].as_str().unwrap().starts_with("32 clients are connected"), "{answer}");
    machine.answers.store(true, Ordering::Relaxed);
    // Hung up on while it is being told something: what it asked is nobody's any more.
    people.pop().unwrap().say("garbage");
    assert!(is_served_in_the_end(&machine), "its place is free once the gateway has noticed");
    assert_eq!(std::fs::metadata(machine.dir.as_path()).unwrap().mode() & 0o022, 0);
}

#[test]
fn clients_that_ask_nothing_cannot_keep_anybody_from_a_stop() {
    let (machine, _gateway) = start();
    let mut idle: Vec<Person> = (0..32).map(|_| Person::at(&machine)).collect();
    for person in &mut idle {
        // Half a line, and garbage, are no requests.
        person.say("garbage");
        assert!(person.hear()["error"].is_string());
        person.stream.get_mut().write_all(b"{\"id\":").unwrap();
    }
    let mut next = Person::at(&machine);
    assert_eq!(next.ask(r#"{"id":1,"request":"stop"}"#)["outcome"], "accepted");
    let mut line = String::new();
    assert_eq!(
        idle[0].stream.read_line(&mut line).unwrap(),
        0,
        "closed, as after a restart: {line}"
    );
}

#[test]
fn a_crowd_of_ones_own_connections_keeps_nobody_from_a_stop() {
    let (machine, _gateway) = start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let crowd = scope.spawn(|| {
            let (mut crowd, mut count) = (std::collections::VecDeque::new(), 0_u64);
            while !stop.load(Ordering::Relaxed) {
                // Fresh ones all the time, more than there are places, each with a wish of its own.
                let Ok(mut one) = UnixStream::connect(machine.dir.operate_socket()) else {
                    continue;
                };
                let _hung_up = one.write_all(b"{\"id\":1,\"request\":\"resume\"}\n");
                crowd.push_back(one);
                count += 1;
                if crowd.len() > 100 {
                    drop(crowd.pop_front());
                }
            }
            count
        });
        for _ in 0..200 {
            let answer = Person::at(&machine).ask(r#"{"id":1,"request":"stop"}"#);
            assert_eq!(answer["outcome"], "accepted", "{answer}");
        }
        stop.store(true, Ordering::Relaxed);
        let count = crowd.join().unwrap();
        assert!(count > 200, "it was no crowd: {count}");
    });
}

#[test]
fn whoever_may_request_is_told_how_the_machine_stands_without_asking_the_loop() {
    let (machine, _gateway) = start();
    let mut person = Person::at(&machine);
    let told = person.ask(r#"{"id":9,"request":"status"}"#);
    let status = &told["status"];
    assert_eq!(told["id"], 9, "{told}");
    assert_eq!(status["axes"].as_array().map(Vec::len), Some(2));
    assert_eq!(status["daemon_id"], format!("{:016x}", crate::machine::DAEMON_ID));
    assert!(status["cycle"].as_u64() > Some(0) && status["gateway"]["refused"] == 0, "{told}");
    let refused = person.ask(r#"{"id":10,"request":"status","value":1}"#);
    assert!(refused["error"].as_str().unwrap().contains("status takes none"), "{refused}");
    let later = person.ask(r#"{"id":11,"request":"status"}"#);
    assert!(later["status"]["cycle"].as_u64() > status["cycle"].as_u64(), "{later}");
    assert_eq!(later["status"]["gateway"]["refused"], 1);
    assert!(machine.seen.lock().unwrap().requests.is_empty());
}

#[test]
fn who_asks_for_the_status_and_does_not_read_it_takes_nothing_from_its_user_for_long() {
    let (machine, _gateway) = start();
    let (mut deaf, mut other) = (Person::at(&machine), Person::at(&machine));
    let status = |id: u64| format!(r#"{{"id":{id},"request":"status"}}"#);
    let is_refused = |answer: Value| {
        answer["error"].as_str().is_some_and(|error| error.starts_with("16 requests of uid"))
    };
    // Until the socket is full of answers and 16 questions lie behind them.
    let filled = (0..20_000).any(|id| {
        deaf.say(&status(id));
        is_refused(other.ask(&status(id)))
    });
    assert!(filled, "it was answered for ever");
    let served = (0..60_000).any(|id| !is_refused(other.ask(&status(id))));
    assert!(served, "held up for ever");
    std::io::copy(&mut deaf.stream, &mut std::io::sink()).expect("the end of its connection");
}

/// Whether one of many who come for a stop gets it.
fn is_served_in_the_end(machine: &Machine) -> bool {
    (0..20_000).any(|_| {
        let mut next = Person::at(machine);
        let asked = next.stream.get_mut().write_all(b"{\"id\":1,\"request\":\"stop\"}\n").is_ok();
        let mut line = String::new();
        asked && next.stream.read_line(&mut line).is_ok() && line.contains("accepted")
    })
}
