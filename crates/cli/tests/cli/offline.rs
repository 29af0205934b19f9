//! Verify, backup, restore and doctor: damage is named, nothing that was erased comes back, and a
//! process that is killed leaves what can be gone on with.

use crate::support::{Ran, Server, Stopped, icecore, wait};
use icecore_client::{Client, Revision, StreamName};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, SystemTime};

/// Events of 40 streams as an import takes them, with times a second apart.
fn lines(first: usize, count: usize) -> String {
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

fn filled(count: usize) -> Server {
    let server = Server::start();
    import(&server, 0, count);
    server
}

fn import(server: &Server, first: usize, count: usize) {
    let file = server.text("events.ndjson", &lines(first, count));
    server
        .run(&["import", file.to_str().unwrap(), "--again"])
        .ok();
}

/// Everything that a server holds.
fn everything(server: &Server) -> Vec<Value> {
    server.run(&["read", "--all", "--system"]).ok().json()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn offline(args: &[&str]) -> Ran {
    let mut command = icecore();
    command.args(args);
    Ran::of(command)
}

fn backup(server: &Server, to: &Path) -> Value {
    server
        .run(&["backup", "--to", text(to)])
        .ok()
        .json()
        .remove(0)
}

fn erase(server: &Server, stream: &str, revision: u64) {
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
fn image(directory: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
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
fn a_restored_store_holds_the_same_events_under_an_id_of_its_own() {
    let server = filled(3_000);
    server.run(&["delete", "loan-7"]).ok();
    let (to, new) = (server.file("backup"), server.file("new"));
    let info = backup(&server, &to);
    let events = everything(&server);
    assert_eq!(info["last_position"], events.len());
    assert_eq!(info["added"], events.len());
    let verified = offline(&["verify", "--backup", text(&to), "--json"])
        .ok()
        .json();
    assert_eq!(verified.last().unwrap()["tree"], info["tree"]);

    let restored = offline(&["restore", "--from", text(&to), "--data", text(&new)]).ok();
    assert_ne!(restored.json()[0]["store_id"], info["store_id"]);
    assert!(
        restored.err.contains("icecore serve --data"),
        "{restored:?}"
    );
    let copy = Server::start_on(&new);
    assert_eq!(everything(&copy), events);
    assert_eq!(
        copy.run(&["verify", "--json"]).ok().json().last().unwrap()["tree"],
        info["tree"]
    );
    // Who restores over a store would lose it.
    offline(&["restore", "--from", text(&to), "--data", text(&new)]).failed(1, &["is not empty"]);
    // The new store is another history.
    copy.run(&["backup", "--to", text(&to)])
        .failed(1, &["is a backup of the store", "new directory"]);
}

#[test]
fn a_restore_ends_at_the_last_whole_append_before_a_position_or_a_time() {
    let server = Server::start();
    for n in 0..20 {
        let file = server.text("two.ndjson", &lines(2 * n, 2));
        server.run(&["import", text(&file), "--again"]).ok();
    }
    let to = server.file("backup");
    backup(&server, &to);
    let events = everything(&server);
    // Two events and the progress of the import are one append.
    assert_eq!(events.len(), 60);
    let at_31 = server.file("at-31");
    let restore = ["restore", "--from", text(&to), "--data"];
    let until = [text(&at_31), "--to-position", "31"];
    let restored = offline(&[&restore[..], &until].concat()).ok().json();
    assert_eq!(restored[0]["last_position"], 30);
    assert_eq!(everything(&Server::start_on(&at_31)), events[..30]);

    let at_time = server.file("at-time");
    // The second event of the sixth append is a second later.
    let until = [text(&at_time), "--to-time", "2012-01-31T00:00:10Z"];
    offline(&[&restore[..], &until].concat()).ok();
    let found = everything(&Server::start_on(&at_time));
    assert_eq!(found, events[..found.len()]);
    assert_eq!(found.len(), 15, "{:?}", &events[12..18]);

    let beyond = [text(&at_time), "--to-position", "61"];
    offline(&[&restore[..], &beyond].concat()).failed(1, &["ends at position 60"]);
}

#[test]
fn a_backup_adds_only_what_is_new() {
    let server = filled(2_000);
    let (to, new) = (server.file("backup"), server.file("new"));
    let first = backup(&server, &to);
    let again = backup(&server, &to);
    assert_eq!(
        (&again["added"], &again["tree"]),
        (&0.into(), &first["tree"])
    );
    for n in 0..3 {
        server.append("order-1", "Placed", &format!("{{\"n\":{n}}}"));
        assert_eq!(backup(&server, &to)["added"], 1);
    }
    let server = server.kill_and_restart();
    import(&server, 2_000, 500);
    let last = backup(&server, &to);
    let events = everything(&server);
    assert_eq!(last["last_position"], events.len());
    offline(&["verify", "--backup", text(&to)]).ok();
    offline(&["restore", "--from", text(&to), "--data", text(&new)]).ok();
    assert_eq!(everything(&Server::start_on(&new)), events);
}

#[test]
fn an_older_copy_of_the_store_is_not_taken_for_the_store() {
    let server = filled(100);
    let (to, copy) = (server.file("backup"), server.file("copy"));
    let stopped = server.stop();
    copy_directory(&stopped.data(), &copy);
    let server = stopped.start();
    server.append("a", "T", "1");
    backup(&server, &to);
    let older = Server::start_on(&copy);
    let refused = older.run(&["backup", "--to", text(&to)]);
    refused.failed(1, &["older copy of the store"]);
    older.append("a", "T", "2");
    let refused = older.run(&["backup", "--to", text(&to)]);
    refused.failed(1, &["but not its events"]);
    backup(&server, &to);
}

#[test]
fn what_is_erased_leaves_the_backup_with_the_next_run() {
    const SECRET: &str = "q8ZrTq2LwV7nXyB4";
    let server = filled(500);
    server.append("person-1", "Born", &format!("{{\"name\":\"{SECRET}\"}}"));
    import(&server, 500, 500);
    let (to, new) = (server.file("backup"), server.file("new"));
    backup(&server, &to);
    let holds_secret = || {
        let files = image(&to);
        files.iter().any(|(_, bytes, _)| {
            let mut places = bytes.windows(SECRET.len());
            places.any(|place| place == SECRET.as_bytes())
        })
    };
    assert!(holds_secret(), "the test looks for the wrong thing");
    erase(&server, "person-1", 0);
    backup(&server, &to);
    assert!(!holds_secret());
    let verified = offline(&["verify", "--backup", text(&to), "--json"])
        .ok()
        .json();
    assert_eq!(verified.last().unwrap()["erased"], 1);
    offline(&["restore", "--from", text(&to), "--data", text(&new)]).ok();
    assert_eq!(everything(&Server::start_on(&new)), everything(&server));
}

#[test]
fn a_backup_that_is_killed_stays_usable_and_is_gone_on_with() {
    let server = filled(20_000);
    let (to, new) = (server.file("backup"), server.file("new"));
    for n in 0..12 {
        let mut backing = server.command(&["backup", "--to", text(&to)]);
        let mut backing = backing
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(17 * n));
        backing.kill().unwrap();
        wait(&mut backing);
        let verified = offline(&["verify", "--backup", text(&to)]);
        if verified.code != 0 {
            verified.failed(1, &["holds no backup"]);
        }
        server.append("order-1", "Placed", "{}");
    }
    backup(&server, &to);
    let left: Vec<_> = image(&to)
        .into_iter()
        .filter(|(path, ..)| {
            path.extension()
                .is_some_and(|extension| extension == "part")
        })
        .collect();
    assert!(left.is_empty());
    offline(&["restore", "--from", text(&to), "--data", text(&new)]).ok();
    assert_eq!(everything(&Server::start_on(&new)), everything(&server));
}

#[test]
fn damage_of_a_backup_is_named_and_not_restored() {
    let server = filled(1_000);
    let (to, new) = (server.file("backup"), server.file("new"));
    backup(&server, &to);
    let path = image(&to)
        .into_iter()
        .map(|(path, ..)| path)
        .find(|path| path.extension().is_some_and(|extension| extension == "icb"))
        .unwrap();
    let whole = fs::read(&path).unwrap();
    for at in [0, 10, 37, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        fs::write(&path, damaged).unwrap();
        let found = offline(&["verify", "--backup", text(&to)]);
        found.failed(1, &["1 finding"]);
        assert!(found.out.starts_with("positions "), "{found:?}");
        offline(&["restore", "--from", text(&to), "--data", text(&new)]).failed(1, &["is damaged"]);
        server
            .run(&["backup", "--to", text(&to)])
            .failed(1, &["is damaged"]);
    }
    fs::write(&path, whole).unwrap();
    // What the failed attempts have left is no store, and is begun anew.
    offline(&["serve", "--data", text(&new), "--listen", "127.0.0.1:0"])
        .failed(1, &["not restored to its end"]);
    offline(&["restore", "--from", text(&to), "--data", text(&new)]).ok();
    assert_eq!(everything(&Server::start_on(&new)), everything(&server));
}

#[test]
fn a_restore_that_is_killed_is_no_store_and_is_begun_anew() {
    let server = filled(20_000);
    let (to, new) = (server.file("backup"), server.file("new"));
    backup(&server, &to);
    let mut restoring = icecore();
    restoring.args(["restore", "--from", text(&to), "--data", text(&new)]);
    let mut restoring = restoring
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    crate::support::wait_until("the restore begins", || new.join("unfinished").exists());
    restoring.kill().unwrap();
    wait(&mut restoring);
    offline(&["serve", "--data", text(&new), "--listen", "127.0.0.1:0"])
        .failed(1, &["not restored to its end"]);
    offline(&["restore", "--from", text(&to), "--data", text(&new)]).ok();
    assert_eq!(everything(&Server::start_on(&new)), everything(&server));
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

fn copy_directory(from: &Path, to: &Path) {
    for (path, bytes, _) in image(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
