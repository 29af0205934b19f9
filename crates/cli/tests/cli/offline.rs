//! Verify and doctor: damage is named, nothing is written, and what is salvaged is what was there.

use crate::support::{Ran, Server, Stopped, icecore};
use icecore_client::{Client, Revision, StreamName};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Events of 40 streams as an import takes them, with times a second apart.
pub(crate) fn lines(first: usize, count: usize) -> String {
    let mut text = String::new();
    for n in first..first + count {
        let (minute, second) = (n / 60 % 60, n % 60);
        let hour = n / 3_600 % 24;
        writeln!(
            text,
            "{{\"stream\":\"loan-{}\",\"type\":\"T{}\",\
             \"time\":\"2012-01-31T{hour:02}:{minute:02}:{second:02}Z\",\
             \"data\":{{\"n\":{n},\"x\":\"{}\"}},\"tags\":[\"loan:{}\"]}}",
            n % 40,
            n % 3,
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            n % 40
        )
        .unwrap();
    }
    text
}

pub(crate) fn filled(count: usize) -> Server {
    let server = Server::start();
    import(&server, 0, count);
    server
}

pub(crate) fn import(server: &Server, first: usize, count: usize) {
    let file = server.text("events.ndjson", &lines(first, count));
    server
        .run(&["import", file.to_str().unwrap(), "--again"])
        .ok();
}

/// Everything that a server holds.
pub(crate) fn everything(server: &Server) -> Vec<Value> {
    server.run(&["read", "--all", "--system"]).ok().json()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn offline(args: &[&str]) -> Ran {
    let mut command = icecore();
    command.args(args);
    Ran::of(command)
}

pub(crate) fn erase(server: &Server, stream: &str, revision: u64) {
    let url = server.url.clone();
    let stream = StreamName::new(stream.to_owned()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::connect(url).await.unwrap();
        client
            .erase(&stream, Revision::new(revision), "asked for")
            .await
            .unwrap();
    });
}

/// Names, contents and times of all files below a directory.
pub(crate) fn image(directory: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                let modified = entry.metadata().unwrap().modified().unwrap();
                files.push((entry.path(), fs::read(entry.path()).unwrap(), modified));
            }
        }
    }
    files.sort();
    files
}

/// Where parts of chunks begin in the raw file.
fn parts(file: &[u8]) -> Vec<usize> {
    let is_part = |at: &usize| file[*at..].starts_with(b"ICEK");
    (0..file.len()).filter(is_part).collect()
}

/// Flips a byte in the payload of each part that `which` chooses by where it begins.
fn damage(data: &Path, which: impl Fn(&[u8], usize) -> bool) -> usize {
    let path = data.join("sled/db");
    let mut file = fs::read(&path).unwrap();
    let chosen: Vec<_> = parts(&file)
        .into_iter()
        .filter(|at| which(&file, *at))
        .collect();
    for at in &chosen {
        file[at + 62] ^= 0x10;
    }
    fs::write(&path, file).unwrap();
    chosen.len()
}

/// The first position that a part's header names.
fn first_position(file: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(file[at + 30..at + 38].try_into().unwrap())
}

#[test]
fn a_sound_store_verifies_through_the_server_and_by_its_files() {
    let server = filled(3_000);
    server.append("order-1", "Placed", "{}");
    erase(&server, "order-1", 0);
    let online = server.run(&["verify", "--json"]).ok().json();
    let sum = online.last().unwrap();
    assert_eq!((&sum["findings"], &sum["erased"]), (&0.into(), &1.into()));
    assert_eq!(sum["last_position"], everything(&server).len());
    let shown = server.run(&["verify"]).ok().out;
    assert!(shown.starts_with("nothing is wrong with store "), "{shown}");

    let data = server.data();
    offline(&["verify", "--data", text(&data)]).failed(1, &["in use by another process"]);
    let stopped = server.stop();
    let before = image(&stopped.data());
    let raw = offline(&["verify", "--data", text(&data), "--json"])
        .ok()
        .json();
    assert_eq!(raw.last(), Some(sum));
    offline(&["doctor", "--data", text(&data)]).ok();
    assert!(image(&stopped.data()) == before, "it has written");
}

#[test]
fn a_flipped_byte_of_a_stopped_store_is_named() {
    let stopped = filled(2_000).stop();
    let data = stopped.data();
    // Once in all copies of a chunk, so that its events are gone.
    let file = fs::read(data.join("sled/db")).unwrap();
    let last = parts(&file)
        .iter()
        .map(|at| first_position(&file, *at))
        .max();
    let last = last.unwrap();
    assert!(damage(&data, |file, at| first_position(file, at) == last) > 0);
    let found = offline(&["verify", "--data", text(&data)]);
    found.failed(1, &["finding"]);
    let named = format!("positions {last} to ");
    assert!(found.out.contains(&named), "{found:?}");
    assert!(found.out.contains("they were acknowledged"), "{found:?}");
    let json = offline(&["verify", "--data", text(&data), "--json"]);
    json.failed(1, &[]);
    assert!(json.each("first_position").contains(&last.into()));
}

#[test]
fn a_flipped_byte_in_one_of_two_copies_is_named_too() {
    let stopped = filled(2_000).stop();
    let data = stopped.data();
    let file = fs::read(data.join("sled/db")).unwrap();
    let chosen = parts(&file)[7];
    assert_eq!(damage(&data, |_, at| at == chosen), 1);
    let found = offline(&["verify", "--data", text(&data)]);
    found.failed(1, &[]);
    let first = format!("positions {} to ", first_position(&file, chosen));
    assert!(found.out.contains(&first), "{found:?}");
    assert!(
        found.out.contains(&format!("at byte {chosen} ")),
        "{found:?}"
    );
}

#[test]
fn the_doctor_names_what_fits_and_does_it_into_a_new_directory() {
    let server = Server::start();
    for n in 0..10 {
        import(&server, 200 * n, 200);
    }
    let events = everything(&server);
    let stopped = server.stop();
    let data = stopped.data();
    let before = image(&data);
    let sound = offline(&["doctor", "--data", text(&data)]).ok().out;
    assert!(sound.contains("Nothing is wrong"), "{sound}");
    for choice in ["snapshots", "indexes", "salvage"] {
        let new = stopped.file(choice);
        let apply = [
            "doctor",
            "--data",
            text(&data),
            "--apply",
            choice,
            "--to",
            text(&new),
        ];
        offline(&apply).ok();
        offline(&apply).failed(1, &["is not empty"]);
        assert_eq!(everything(&Server::start_on(&new)), events, "{choice}");
    }
    assert!(image(&data) == before, "it has written");
    cut(&stopped, &events);
}

/// Damages the store from its middle on.
fn cut(stopped: &Stopped, events: &[Value]) {
    let data = stopped.data();
    assert!(damage(&data, |file, at| first_position(file, at) >= 1_000) > 0);
    let ill = offline(&["doctor", "--data", text(&data)]).ok().out;
    for word in [
        "What is wrong:",
        "--apply salvage",
        "icecore restore",
        "they were acknowledged",
    ] {
        assert!(ill.contains(word), "{word}: {ill}");
    }
    let new = stopped.file("salvaged");
    let salvage = [
        "doctor",
        "--data",
        text(&data),
        "--apply",
        "salvage",
        "--to",
    ];
    offline(&[&salvage[..], &[text(&new)]].concat()).ok();
    let kept = everything(&Server::start_on(&new));
    assert!((800..1_000).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept, events[..kept.len()]);

    let new = stopped.file("cut");
    let cut = ["doctor", "--data", text(&data), "--apply", "cut", "--to"];
    offline(&[&cut[..], &[text(&new), "--to-position", "700"]].concat()).ok();
    let kept = everything(&Server::start_on(&new));
    assert!(!kept.is_empty() && kept.len() <= 700, "{}", kept.len());
    assert_eq!(kept, events[..kept.len()]);
    // The last one: it is not only read then.
    let refused = offline(&["serve", "--data", text(&data), "--listen", "127.0.0.1:0"]);
    refused.failed(1, &["icecore doctor --data"]);
}

#[test]
fn a_salvage_does_not_bring_back_what_was_erased() {
    const SECRET: &[u8] = b"q8ZrTq2LwV7nXyB4";
    let server = Server::start();
    let name = std::str::from_utf8(SECRET).unwrap();
    server.append("person-1", "Born", &format!("{{\"name\":\"{name}\"}}"));
    server.append("person-2", "Born", "{}");
    erase(&server, "person-1", 0);
    let events = everything(&server);
    let stopped = server.stop();
    let data = stopped.data();
    // Only versions of the first chunk from before the erasure are left.
    let is_erased_version = |file: &[u8], at: usize| {
        let length = u32::from_be_bytes(file[at + 54..at + 58].try_into().unwrap()) as usize;
        let payload = &file[at + 62..at + 62 + length];
        let holds_secret = payload.windows(SECRET.len()).any(|place| place == SECRET);
        first_position(file, at) == 1 && !holds_secret
    };
    assert!(damage(&data, is_erased_version) > 0);
    let file = fs::read(data.join("sled/db")).unwrap();
    assert!(file.windows(SECRET.len()).any(|place| place == SECRET));
    let new = stopped.file("salvaged");
    offline(&[
        "doctor",
        "--data",
        text(&data),
        "--apply",
        "salvage",
        "--to",
        text(&new),
    ])
    .ok();
    let salvaged = everything(&Server::start_on(&new));
    assert_eq!(salvaged, events[..salvaged.len()]);
    assert!(salvaged.len() >= 2, "{salvaged:?}");
    let file = fs::read(new.join("sled/db")).unwrap();
    assert!(!file.windows(SECRET.len()).any(|place| place == SECRET));
}
