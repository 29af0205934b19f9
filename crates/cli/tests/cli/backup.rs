//! Backup and restore: what comes back is what was there, nothing that was erased comes back, and a
//! process that is killed leaves what can be gone on with.

use crate::offline::{erase, everything, filled, image, import, lines, offline, text};
use crate::support::{Server, icecore, wait, wait_until};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

fn backup(server: &Server, to: &Path) -> Value {
    server
        .run(&["backup", "--to", text(to)])
        .ok()
        .json()
        .remove(0)
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
    wait_until("the restore begins", || new.join("unfinished").exists());
    restoring.kill().unwrap();
    wait(&mut restoring);
    offline(&["serve", "--data", text(&new), "--listen", "127.0.0.1:0"])
        .failed(1, &["not restored to its end"]);
    offline(&["restore", "--from", text(&to), "--data", text(&new)]).ok();
    assert_eq!(everything(&Server::start_on(&new)), everything(&server));
}

fn copy_directory(from: &Path, to: &Path) {
    for (path, bytes, _) in image(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
