//! The server as a process: where its settings come from, how it starts, how it ends.

use crate::support::{Ran, Running, Server, icecore, read, signal, spawn_server, wait, wait_until};
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
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
    let log = Arc::clone(&server.log);
    let (status, took) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let log = log.lock().unwrap();
    assert!(log.contains("stopped") && !log.contains("cut"), "{log}");
}

/// A server with a reader that stands still in the middle of a long stream.
fn with_a_stuck_reader(directory: &TempDir, flags: &[&str]) -> (Child, Arc<Mutex<String>>, Child) {
    let flags = [&["--listen", "127.0.0.1:0"], flags].concat();
    let (process, url, log) = spawn_server(&mut serve(directory, &flags));
    let line = format!(
        "{{\"type\":\"T\",\"data\":\"{}\"}}\n",
        "x".repeat(1_000_000)
    );
    fs::write(directory.path().join("lines"), line.repeat(30)).unwrap();
    let mut append = icecore();
    append
        .current_dir(directory.path())
        .args(["--server", &url, "append", "a", "--from", "lines"]);
    Ran::of(append).ok();
    let mut read = icecore();
    read.args(["--server", &url, "read", "a"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut stuck = read.spawn().unwrap();
    stuck.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    (process, log, stuck)
}

#[test]
fn a_reader_that_stands_still_does_not_hold_up_the_end() {
    let directory = TempDir::new().unwrap();
    let (mut process, _, mut stuck) = with_a_stuck_reader(&directory, &[]);
    let since = Instant::now();
    signal("TERM", process.id());
    assert_eq!(wait(&mut process).code(), Some(0));
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    stuck.kill().unwrap();
    stuck.wait().unwrap();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = TempDir::new().unwrap();
    let (mut process, log, mut stuck) =
        with_a_stuck_reader(&directory, &["--shutdown-timeout", "5m"]);
    signal("TERM", process.id());
    wait_until("the server stops", || {
        log.lock().unwrap().contains("stopping")
    });
    signal("TERM", process.id());
    assert_eq!(wait(&mut process).code(), Some(1));
    stuck.kill().unwrap();
    stuck.wait().unwrap();
}

/// The largest file that the server may write stands in for a disk that is full.
#[test]
fn a_store_that_failed_ends_the_process_and_keeps_what_it_acknowledged() {
    let directory = TempDir::new().unwrap();
    let mut command = Command::new("sh");
    let serve = "trap '' XFSZ; ulimit -f 49152; exec \"$0\" serve --listen 127.0.0.1:0 --data data";
    command
        .current_dir(directory.path())
        .args(["-c", serve, env!("CARGO_BIN_EXE_icecore")]);
    let (mut process, url, log) = spawn_server(&mut command);
    let data = noise(4_000_000);
    fs::write(directory.path().join("noise"), data).unwrap();
    let mut acknowledged = 0;
    while acknowledged < 50 {
        let mut append = icecore();
        append
            .current_dir(directory.path())
            .args(["--server", &url, "append", "a", "--type", "T"]);
        append.args(["--data", "@noise", "--content-type", "text/plain"]);
        if Ran::of(append).code != 0 {
            break;
        }
        acknowledged += 1;
    }
    assert!((1..50).contains(&acknowledged), "{acknowledged}");
    assert_eq!(wait(&mut process).code(), Some(1));
    wait_until("the end is explained", || {
        log.lock().unwrap().contains("then start it again")
    });
    assert!(
        log.lock()
            .unwrap()
            .contains("error: the store in data failed")
    );
    let mut command =
        crate::serve::serve(&directory, &["--listen", "127.0.0.1:0", "--data", "data"]);
    let (mut process, url, _) = spawn_server(&mut command);
    let mut read = icecore();
    read.args(["--server", &url, "read", "a"]);
    let events = Ran::of(read).ok().json().len();
    assert!(
        (acknowledged..=acknowledged + 1).contains(&events),
        "{events} of {acknowledged}"
    );
    process.kill().unwrap();
    process.wait().unwrap();
}

/// No disk has so much free as is asked for here.
#[test]
fn below_its_limit_of_free_space_a_server_refuses_appends_and_serves_reads() {
    let directory = TempDir::new().unwrap();
    let flags = ["--listen", "127.0.0.1:0", "--data", "data"];
    let (mut process, url, _) = spawn_server(&mut serve(&directory, &flags));
    let run = |url: &str, arguments: &[&str]| {
        let mut command = icecore();
        command.args(["--server", url, "--timeout", "2s"]);
        command.args(arguments);
        Ran::of(command)
    };
    let append = ["append", "a", "--type", "T", "--data", "{}"];
    run(&url, &append).ok();
    signal("TERM", process.id());
    assert_eq!(wait(&mut process).code(), Some(0));

    let flags = [&flags[..], &["--free-bytes-min", "1073741824GiB"]].concat();
    let (mut process, url, log) = spawn_server(&mut serve(&directory, &flags));
    let free = "bytes are free, and appends are refused below 1152921504606846976";
    run(&url, &append).failed(
        5,
        &["the disk of data is nearly full", free, "free some space"],
    );
    assert_eq!(run(&url, &["read", "a"]).ok().json().len(), 1);
    assert!(log.lock().unwrap().contains(free));
    signal("TERM", process.id());
    assert_eq!(wait(&mut process).code(), Some(0));
}

/// Letters that nothing can compress much.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        b'0' + u8::try_from((state >> 33) % 64).unwrap()
    };
    std::iter::repeat_with(next).take(count).collect()
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
fn it_says_where_it_listens_unless_that_is_off() {
    for (filter, others) in [
        ("warn", false),
        ("icecore_client=debug", false),
        ("icecore_server=error", false),
        ("debug", true),
    ] {
        let directory = TempDir::new().unwrap();
        let mut command = serve(&directory, &["--listen", "127.0.0.1:0"]);
        let (mut process, _, log) = spawn_server(command.env("RUST_LOG", filter));
        signal("TERM", process.id());
        assert_eq!(wait(&mut process).code(), Some(0));
        let log = log.lock().unwrap();
        assert_eq!(log.matches("listening on http://").count(), 1, "{log}");
        assert_eq!(log.contains("starting"), others, "{filter}: {log}");
    }
    for filter in ["off", "info,icecore_server::serve=warn"] {
        let directory = TempDir::new().unwrap();
        let mut command = serve(&directory, &["--listen", "127.0.0.1:0"]);
        let mut process = command
            .env("RUST_LOG", filter)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("the store is open", || {
            directory.path().join("icecore-data").exists()
        });
        std::thread::sleep(Duration::from_millis(500));
        signal("TERM", process.id());
        wait(&mut process);
        let mut log = String::new();
        process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        assert!(!log.contains("listening"), "{filter}: {log}");
    }
}

#[test]
fn every_request_has_a_span_that_lasts_as_long_as_its_answer() {
    let directory = TempDir::new().unwrap();
    let mut command = serve(&directory, &["--listen", "127.0.0.1:0"]);
    let (mut process, address, log) =
        spawn_server(command.env("RUST_LOG", "info,icecore_server=debug,tower_http=debug"));
    let url = match address.strip_prefix("http://") {
        Some(_) => address,
        None => format!("http://{address}"),
    };
    let mut append = icecore();
    append.args([
        "--server", &url, "append", "a-1", "--type", "T", "--data", "{}",
    ]);
    Ran::of(append).ok();
    let mut read = icecore();
    read.args(["--server", &url, "read", "a-1"]);
    Ran::of(read).ok();
    signal("TERM", process.id());
    assert_eq!(wait(&mut process).code(), Some(0));
    let log = log.lock().unwrap();
    for call in ["Append", "Read"] {
        let span = format!("request{{path=\"/icecore.v1.Streams/{call}\"");
        let of_call = || log.lines().filter(|line| line.contains(&span));
        assert!(
            of_call().any(|line| line.contains("end of stream")),
            "{call}: {log}"
        );
    }
}

#[test]
fn in_a_log_of_json_the_end_is_json_too() {
    let directory = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flags = ["--listen", &address, "--log-format", "json"];
    let ran = Ran::of(serve(&directory, &flags));
    assert_eq!(ran.code, 1, "{ran:?}");
    let lines: Vec<serde_json::Value> = ran
        .err
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    let message = last["fields"]["message"].as_str().unwrap();
    assert!(message.contains(&address) && message.contains("--listen"));
    // Nobody would hear of it otherwise.
    let mut command = serve(&directory, &flags);
    command.env("RUST_LOG", "off");
    Ran::of(command).failed(1, &["error: cannot listen on"]);
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
