//! The server as a process: where its settings come from, how it starts, how it ends.

use crate::support::{Ran, Running, Server, icecore, read, signal, spawn_server, wait, wait_until};
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

fn serve(directory: &TempDir, flags: &[&str]) -> Command {
    let mut command = icecore();
    command
        .current_dir(directory.path())
        .arg("serve")
        .args(flags);
    command
}

#[test]
fn everything_survives_kill_9() {
    let server = Server::start();
    for n in 0..20 {
        server.append("a", "T", &n.to_string());
    }
    let before = server.run(&["read", "--all"]).ok().out;
    let server = server.kill_and_restart();
    assert_eq!(server.run(&["read", "--all"]).ok().out, before);
    server.append("a", "T", "20");
    assert_eq!(
        server.run(&["stream", "a"]).ok().each("last_revision"),
        [20]
    );
}

#[test]
fn sigterm_ends_it_in_time_with_a_subscription_open() {
    let server = Server::start();
    server.append("a", "T", "1");
    let mut following = Running::start(server.command(&["subscribe", "--all"]));
    following.next();
    let log = std::sync::Arc::clone(&server.log);
    let (status, took) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let log = log.lock().unwrap();
    assert!(log.contains("stopped") && !log.contains("cut"), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = TempDir::new().unwrap();
    let flags = ["--listen", "127.0.0.1:0", "--shutdown-timeout", "5m"];
    let (mut process, url, log) = spawn_server(&mut serve(&directory, &flags));
    // A request that never ends keeps the server from ending in order.
    let mut stuck = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stuck
        .write_all(b"POST /icecore HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1")
        .unwrap();
    signal("TERM", process.id());
    wait_until("the server stops", || {
        log.lock().unwrap().contains("stopping")
    });
    signal("TERM", process.id());
    assert_eq!(wait(&mut process).code(), Some(1));
}

#[test]
fn it_says_once_that_it_listens() {
    let server = Server::start();
    server.append("a", "T", "1");
    let log = server.log.lock().unwrap().clone();
    assert_eq!(
        log.matches("listening on http://127.0.0.1:").count(),
        1,
        "{log}"
    );
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("icecore.toml");
    let text =
        "listen = '127.0.0.1:0'\ndata = 'from-file'\nlog_format = 'json'\nring_bytes = '8MiB'\n";
    fs::write(&config, text).unwrap();
    for (env, flag, expected) in [
        (None, None, "from-file"),
        (Some("from-env"), None, "from-env"),
        (Some("from-env"), Some("from-flag"), "from-flag"),
    ] {
        let mut command = serve(&directory, &["--config", "icecore.toml"]);
        command.envs(env.map(|value| ("ICECORE_DATA", value)));
        command.args(flag.map(|value| ["--data", value]).into_iter().flatten());
        let (mut process, _, log) = spawn_server(&mut command);
        signal("TERM", process.id());
        assert_eq!(wait(&mut process).code(), Some(0));
        assert!(directory.path().join(expected).is_dir(), "{expected}");
        let log = log.lock().unwrap();
        assert!(
            log.starts_with('{') && log.contains("\"message\":\"listening on"),
            "{log}"
        );
    }
}

#[test]
fn mistakes_in_settings_are_2_and_named() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("icecore.toml");
    fs::write(&config, "listen = '127.0.0.1:0'\nring_size = 1\n").unwrap();
    let run = |flags: &[&str]| Ran::of(serve(&directory, flags));
    run(&["--config", "icecore.toml"]).failed(2, &["icecore.toml", "unknown field `ring_size`"]);
    run(&["--config", "missing.toml"]).failed(2, &["missing.toml", "No such file"]);
    run(&["--listen", "nowhere"]).failed(2, &["listen", "127.0.0.1:2113"]);
    run(&["--in-flight-bytes", "1MiB"]).failed(2, &["in-flight-bytes", "at least 81MiB"]);
    run(&["--ring-bytes", "lots"]).failed(2, &["--ring-bytes", "64MiB"]);
    run(&["--engine", "paper"]).failed(2, &["--engine", "sled", "memory"]);
    let mut command = serve(&directory, &["--listen", "127.0.0.1:0"]);
    command.env("ICECORE_SHUTDOWN_TIMEOUT", "soon");
    Ran::of(command).failed(2, &["--shutdown-timeout"]);
    let mut command = serve(&directory, &["--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "a=b=c");
    Ran::of(command).failed(2, &["RUST_LOG"]);
    assert!(!directory.path().join("icecore-data").exists());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let directory = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = Ran::of(serve(&directory, &["--listen", &address]));
    ran.failed(1, &["cannot listen on", &address, "--listen"]);
}

#[test]
fn a_data_directory_in_use_is_named() {
    let server = Server::start();
    let mut command = icecore();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(server.data());
    let data = server.data().display().to_string();
    Ran::of(command).failed(
        1,
        &[&data, "in use by another process", "stop that one first"],
    );
    server.append("a", "T", "1");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let directory = TempDir::new().unwrap();
    let run = |data: &str| {
        Ran::of(serve(
            &directory,
            &["--listen", "127.0.0.1:0", "--data", data],
        ))
    };
    fs::create_dir(directory.path().join("photos")).unwrap();
    fs::write(directory.path().join("photos/cat.jpeg"), "meow").unwrap();
    run("photos").failed(
        1,
        &[
            "photos",
            "no Icecore store",
            "cat.jpeg",
            "choose an empty directory",
        ],
    );
    assert_eq!(read(&directory.path().join("photos/cat.jpeg")), "meow");
    fs::write(directory.path().join("file"), "").unwrap();
    run("file/data").failed(1, &["file/data", "check the path"]);
}

#[test]
fn a_store_in_memory_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let mut command = serve(
        &directory,
        &["--listen", "127.0.0.1:0", "--engine", "memory"],
    );
    let (mut process, url, _) = spawn_server(&mut command);
    let mut append = icecore();
    append.args([
        "--server", &url, "append", "a", "--type", "T", "--data", "1",
    ]);
    Ran::of(append).ok();
    signal("INT", process.id());
    assert_eq!(wait(&mut process).code(), Some(0));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
