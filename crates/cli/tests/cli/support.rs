//! Servers and commands for the tests of this folder.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that should take a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, without what the surroundings of the tests set.
pub(crate) fn icecore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
    for (name, _) in std::env::vars() {
        if name.starts_with("ICECORE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    // How full the disk of the machine is does not matter.
    command
        .env("ICECORE_FREE_BYTES_MIN", "0")
        .env("ICECORE_BALLAST_BYTES", "0");
    command.env("COLUMNS", "120").stdin(Stdio::null());
    command
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().expect("it ended by itself");
        Self {
            code,
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Must have succeeded.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Must have failed with this code and these words.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in {self:?}");
        }
    }

    /// Standard output as JSON objects.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// One field of each JSON object.
    pub(crate) fn each(&self, field: &str) -> Vec<Value> {
        self.json()
            .into_iter()
            .map(|object| object[field].clone())
            .collect()
    }
}

/// A running server.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
    pub(crate) log: Arc<Mutex<String>>,
    directory: Arc<TempDir>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), "127.0.0.1:0", flags)
    }

    /// Starts one on a data directory that somebody else keeps.
    pub(crate) fn start_on(data: &Path) -> Self {
        let own = Arc::new(TempDir::new().unwrap());
        Self::start_with_data(own, data, "127.0.0.1:0", &[])
    }

    fn start_in(directory: Arc<TempDir>, listen: &str, flags: &[&str]) -> Self {
        let data = directory.path().join("data");
        Self::start_with_data(directory, &data, listen, flags)
    }

    fn start_with_data(directory: Arc<TempDir>, data: &Path, listen: &str, flags: &[&str]) -> Self {
        let mut command = icecore();
        command
            .args(["serve", "--listen", listen, "--data"])
            .arg(data);
        let (process, url, log) = spawn_server(command.args(flags));
        Self {
            process,
            url,
            log,
            directory,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A path for a file of the test, gone with the server.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file with this text.
    pub(crate) fn text(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        path
    }

    /// A client command for this server.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = icecore();
        command.args(args).env("ICECORE_SERVER", &self.url);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    /// Runs a command with this on its standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input.as_bytes()).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut command = self.command(args);
        command.stdin(file);
        Ran::of(command)
    }

    pub(crate) fn append(&self, stream: &str, event_type: &str, data: &str) {
        self.run(&["append", stream, "--type", event_type, "--data", data])
            .ok();
    }

    /// Ends it with SIGTERM; gives how, and how long it took.
    pub(crate) fn terminate(mut self) -> (ExitStatus, Duration) {
        let since = Instant::now();
        signal("TERM", self.process.id());
        (wait(&mut self.process), since.elapsed())
    }

    /// Ends it in order and keeps its data.
    pub(crate) fn stop(mut self) -> Stopped {
        signal("TERM", self.process.id());
        assert!(wait(&mut self.process).success());
        Stopped {
            directory: Arc::clone(&self.directory),
        }
    }

    /// Kills it on the spot and starts it again, on the same data and port.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let listen = self.url.strip_prefix("http://").unwrap().to_owned();
        Self::start_in(Arc::clone(&self.directory), &listen, &[])
    }
}

/// The data of a server that has ended.
pub(crate) struct Stopped {
    directory: Arc<TempDir>,
}

impl Stopped {
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A path for a file of the test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a server on it again.
    pub(crate) fn start(&self) -> Server {
        Server::start_in(Arc::clone(&self.directory), "127.0.0.1:0", &[])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already where a test is about its end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts `icecore serve` and waits until it is ready.
pub(crate) fn spawn_server(command: &mut Command) -> (Child, String, Arc<Mutex<String>>) {
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let log = Arc::new(Mutex::new(String::new()));
    let url = loop {
        let Some(Ok(line)) = lines.next() else {
            panic!("the server did not start: {}", log.lock().unwrap());
        };
        let url = line.split_once("listening on ").map(|(_, rest)| {
            rest.split(|c: char| c.is_whitespace() || c == '"')
                .next()
                .unwrap()
                .to_owned()
        });
        writeln(&log, &line);
        if let Some(url) = url {
            break url;
        }
    };
    let rest = Arc::clone(&log);
    thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .for_each(|line| writeln(&rest, &line));
    });
    (process, url, log)
}

fn writeln(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().unwrap();
    log.push_str(line);
    log.push('\n');
}

/// Sends a signal by its name.
pub(crate) fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .status();
    assert!(sent.unwrap().success());
}

/// Waits for the end of a process, but not for ever.
pub(crate) fn wait(process: &mut Child) -> ExitStatus {
    let since = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        assert!(since.elapsed() < PATIENCE, "it does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "{what}: waited in vain");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A command that goes on until it is told to end, like `subscribe`.
pub(crate) struct Running {
    pub(crate) process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next line of its output, as JSON.
    pub(crate) fn next(&mut self) -> Value {
        let line = self.lines.next().expect("it goes on").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Ends it with a signal; gives its exit code and what it said on standard error.
    pub(crate) fn end(mut self, name: &str) -> (Option<i32>, String) {
        signal(name, self.process.id());
        let status = wait(&mut self.process);
        let mut said = String::new();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (status.code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
