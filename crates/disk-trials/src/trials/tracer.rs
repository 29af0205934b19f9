//! Runs a child process and stops at each of its system calls, in all of its threads. Knows the
//! machine's registers, not what the calls mean.
//!
//! The child asks for it itself ([`ask_for_tracer`]), so nothing happens between its start and the
//! first stop that is not seen.

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

/// A system call: its number and its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Who calls; a thread is inside of one call at a time.
    pub(crate) thread: Pid,
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

/// What is done about a call that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It runs, and nobody wants to know its result.
    Ignore,
    /// It runs.
    Watch,
    /// It does not run, and answers this error.
    Fail(Errno),
    /// It runs with this as its third argument, which is a count of bytes for reads and writes.
    Count(u64),
}

/// Whoever looks at the calls.
pub(crate) trait Watcher {
    /// A call begins.
    fn begins(&mut self, tracee: &Tracee, call: Call) -> Result<Answer>;

    /// A call that was not ignored is back, with its result or minus its error.
    fn ends(&mut self, tracee: &Tracee, call: Call, result: i64) -> Result<()>;
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Killed(Signal),
}

/// A process that stands still.
pub(crate) struct Tracee {
    pid: Pid,
    memory: File,
}

impl Tracee {
    /// Reads its memory.
    pub(crate) fn read(&self, address: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory
            .read_exact_at(&mut bytes, address)
            .context("read the memory of the child")?;
        Ok(bytes)
    }

    /// What it calls this descriptor's file.
    pub(crate) fn descriptor(&self, descriptor: i32) -> Option<PathBuf> {
        let name = match descriptor {
            nix::libc::AT_FDCWD => "cwd".to_owned(),
            _ => format!("fd/{descriptor}"),
        };
        std::fs::read_link(format!("/proc/{}/{name}", self.pid)).ok()
    }

    /// How long the file of this descriptor is.
    pub(crate) fn file_length(&self, descriptor: i32) -> Result<usize> {
        let path = format!("/proc/{}/fd/{descriptor}", self.pid);
        let length = std::fs::metadata(path).context("read the length of a file")?;
        usize::try_from(length.len()).context("the length of a file")
    }

    /// All of its descriptors.
    pub(crate) fn descriptors(&self) -> Result<Vec<i32>> {
        let folder = format!("/proc/{}/fd", self.pid);
        let entries = std::fs::read_dir(folder).context("list the descriptors of the child")?;
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(numbers.collect())
    }

    /// Where the next read or write of this descriptor happens.
    pub(crate) fn offset(&self, descriptor: i32) -> Result<usize> {
        let path = format!("/proc/{}/fdinfo/{descriptor}", self.pid);
        let text = std::fs::read_to_string(path).context("read the place in a file")?;
        let offset = text.lines().find_map(|line| line.strip_prefix("pos:"));
        offset
            .and_then(|offset| offset.trim().parse().ok())
            .context("a descriptor has no place in its file")
    }
}

/// For the child: whoever started this process traces it from here on.
pub(crate) fn ask_for_tracer() -> Result<()> {
    ptrace::traceme().context(
        "this machine does not permit ptrace, which the trials need; in a container try \
         --cap-add SYS_PTRACE",
    )?;
    raise(Signal::SIGSTOP).context("wait for the tracer")
}

/// Runs a command whose process calls [`ask_for_tracer`], until it ends. Must be called by the thread
/// that goes on to watch, and several threads may trace a process each.
pub(crate) fn run(command: &mut Command, watcher: &mut dyn Watcher) -> Result<Exit> {
    let child = command.spawn().context("start a child")?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("the id of a process")?);
    match wait(Some(pid))? {
        WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
        WaitStatus::Exited(_, code) => return Ok(Exit::Code(code)),
        other => bail!("a child did not wait for its tracer: {other:?}"),
    }
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).context("trace a child")?;
    let memory = File::open(format!("/proc/{pid}/mem")).context("open the memory of a child")?;
    let mut session = Session {
        tracee: Tracee { pid, memory },
        watcher,
        calls: HashMap::new(),
        threads: HashSet::from([pid]),
    };
    go_on(pid, None)?;
    let outcome = session.watch();
    if outcome.is_err() {
        // Nobody would let it go on.
        kill(pid, Signal::SIGKILL).context("end a child")?;
    }
    outcome
}

/// Waits for one process or thread of the calling thread.
fn wait(pid: Option<Pid>) -> Result<WaitStatus> {
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::EINTR) => {}
            other => return other.context("wait for a child"),
        }
    }
}

struct Session<'a> {
    tracee: Tracee,
    watcher: &'a mut dyn Watcher,
    /// Threads that are inside of a call.
    calls: HashMap<Pid, (Call, Answer)>,
    /// Threads that have stopped at least once.
    threads: HashSet<Pid>,
}

impl Session<'_> {
    fn watch(&mut self) -> Result<Exit> {
        loop {
            match wait(None)? {
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_call(thread)?;
                    go_on(thread, None)?;
                }
                WaitStatus::PtraceEvent(thread, ..) => go_on(thread, None)?,
                WaitStatus::Stopped(thread, signal) => {
                    // A new thread begins with a stop.
                    let is_new = self.threads.insert(thread) && signal == Signal::SIGSTOP;
                    go_on(thread, (!is_new).then_some(signal))?;
                }
                WaitStatus::Exited(pid, code) if pid == self.tracee.pid => {
                    return Ok(Exit::Code(code));
                }
                WaitStatus::Signaled(pid, signal, _) if pid == self.tracee.pid => {
                    return Ok(Exit::Killed(signal));
                }
                WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) => {
                    self.calls.remove(&thread);
                }
                other => bail!("a child does what was not expected: {other:?}"),
            }
        }
    }

    fn at_call(&mut self, thread: Pid) -> Result<()> {
        match self.calls.remove(&thread) {
            None => self.begins(thread),
            Some((_, Answer::Ignore)) => Ok(()),
            Some((call, answer)) => self.ends(thread, call, answer),
        }
    }

    fn begins(&mut self, thread: Pid) -> Result<()> {
        let Some(mut registers) = alive(ptrace::getregs(thread))? else {
            return Ok(());
        };
        let call = Call {
            thread,
            number: registers.orig_rax.cast_signed(),
            arguments: [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
                registers.r9,
            ],
        };
        let answer = self.watcher.begins(&self.tracee, call)?;
        self.calls.insert(thread, (call, answer));
        match answer {
            Answer::Ignore | Answer::Watch => return Ok(()),
            // There is no call of this number.
            Answer::Fail(_) => registers.orig_rax = u64::MAX,
            Answer::Count(count) => registers.rdx = count,
        }
        alive(ptrace::setregs(thread, registers))?;
        Ok(())
    }

    fn ends(&mut self, thread: Pid, call: Call, answer: Answer) -> Result<()> {
        let Some(mut registers) = alive(ptrace::getregs(thread))? else {
            return Ok(());
        };
        if let Answer::Fail(errno) = answer {
            registers.rax = (-i64::from(errno as i32)).cast_unsigned();
            alive(ptrace::setregs(thread, registers))?;
        }
        self.watcher
            .ends(&self.tracee, call, registers.rax.cast_signed())
    }
}

fn go_on(thread: Pid, signal: Option<Signal>) -> Result<()> {
    alive(ptrace::syscall(thread, signal))?;
    Ok(())
}

/// What was asked of a thread; nothing if it is gone, which a killed process's threads may be at any
/// time.
fn alive<T>(outcome: nix::Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ESRCH) => Ok(None),
        Err(error) => Err(error).context("trace a child"),
    }
}
