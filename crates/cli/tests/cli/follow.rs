//! Subscriptions: what is there, then what comes, over a restart of the server too.

use crate::support::{Running, Server, wait};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

#[test]
fn what_is_there_comes_first_then_what_is_appended() {
    let server = Server::start();
    server.append("order-1", "OrderPlaced", "1");
    server.append("order-1", "OrderPaid", "2");
    let mut following =
        Running::start(server.command(&["subscribe", "--all", "--type", "OrderPaid"]));
    assert_eq!(following.next()["data"], 2);
    server.append("order-2", "OrderPlaced", "3");
    server.append("order-2", "OrderPaid", "4");
    let event = following.next();
    assert_eq!((&event["data"], &event["position"]), (&4.into(), &4.into()));
    let (code, said) = following.end("INT");
    assert_eq!(code, Some(0));
    assert!(said.contains("caught up at position 2"), "{said}");
}

#[test]
fn a_subscription_starts_where_it_is_told() {
    let server = Server::start();
    for n in 0..3 {
        server.append("a", "T", &n.to_string());
    }
    let first = |flags: &[&str]| {
        let mut following = Running::start(server.command(&[&["subscribe"], flags].concat()));
        let event = following.next();
        assert_eq!(following.end("TERM").0, Some(0));
        event["data"].as_u64().unwrap()
    };
    assert_eq!(first(&["--all", "--from", "2"]), 1);
    assert_eq!(first(&["a", "--from", "2"]), 2);
    assert_eq!(first(&["a"]), 0);
    server
        .run(&["subscribe", "--all", "--from", "99"])
        .failed(2, &["error: --from: position 99 lies beyond the end"]);
    server
        .run(&["subscribe", "a", "--from", "4"])
        .failed(2, &["error: --from: revision 4 lies beyond the end"]);
}

#[test]
fn a_subscription_ends_with_its_reader_and_not_before() {
    let server = Server::start();
    server.append("a", "T", "1");
    let mut following = server.command(&["subscribe", "--all"]);
    let mut following = following
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with('{'));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(following.try_wait().unwrap(), None);
    drop(lines);
    assert_eq!(wait(&mut following).code(), Some(0));
}

#[test]
fn a_subscription_goes_on_when_the_server_comes_back() {
    let server = Server::start();
    server.append("a", "T", "1");
    let mut following = Running::start(server.command(&["subscribe", "a"]));
    assert_eq!(following.next()["data"], 1);
    let server = server.kill_and_restart();
    server.append("a", "T", "2");
    assert_eq!(following.next()["data"], 2);
    let (code, said) = following.end("INT");
    assert_eq!(code, Some(0));
    assert!(
        said.contains("connecting again")
            && said.contains("connected again")
            && !said.contains("send it again"),
        "{said}"
    );
}
