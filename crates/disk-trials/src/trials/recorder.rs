//! Watches a process and records what it does to the files below one directory; makes a chosen call
//! fail on the way.
//!
//! A change is recorded when its call is back. A write that was under way at a power cut is none of
//! the images then, but the same images are legal a moment later, before anything was synced.

use super::calls::FileCall;
use super::recording::{Change, Entry, FileId, Node, Recording, Step};
use super::tracer::{Answer, Call, Exit, Tracee, Watcher, run};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the process says something: its standard output, which is nobody's.
const SAYS: i32 = 1;

/// What the system keeps in memory as a whole.
const PAGE_BYTES: usize = 4_096;

/// Which calls a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// Whatever needs room: writes, new names, new lengths.
    Writes,
    Syncs,
    Reads,
}

/// What happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The call fails.
    Error(Errno),
    /// The call and all later ones fail.
    ErrorFromNowOn(Errno),
    /// The call does half of its work.
    Short,
}

/// A fault that is put in the way of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) target: Target,
    /// Which of these calls, from 0.
    pub(crate) nth: usize,
    pub(crate) effect: Effect,
}

/// What came of a recorded process.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) recording: Recording,
    pub(crate) exit: Exit,
    /// How often a fault could have happened, by target.
    pub(crate) calls: HashMap<Target, usize>,
    /// Whether the fault did happen.
    pub(crate) hit: bool,
}

/// Runs a command that asks for a tracer and records what it does below `root`.
pub(crate) fn record(command: &mut Command, root: &Path, fault: Option<Fault>) -> Result<Recorded> {
    let root = root
        .canonicalize()
        .context("find the directory to record")?;
    let mut recorder = Recorder::new(&root, fault)?;
    let exit = run(command, &mut recorder)?;
    Ok(Recorded {
        recording: recorder.recording,
        exit,
        calls: recorder.calls,
        hit: recorder.hit,
    })
}

struct Recorder {
    root: PathBuf,
    recording: Recording,
    /// The names as they are now.
    live: BTreeMap<PathBuf, Entry>,
    /// Files so far, which gives the next one its id.
    files: usize,
    /// What each thread is doing, and the step at which it began.
    begun: HashMap<Pid, (FileCall, usize)>,
    fault: Option<Fault>,
    calls: HashMap<Target, usize>,
    hit: bool,
    /// Pages that the process has read or written.
    in_memory: HashSet<(FileId, usize)>,
    /// Descriptors that are yet to learn of a failed sync: the system tells each of them once.
    to_be_told: HashSet<(Node, i32)>,
    /// Whether that has been found out.
    told: bool,
}

impl Watcher for Recorder {
    fn begins(&mut self, tracee: &Tracee, call: Call) -> Result<Answer> {
        let file_call = FileCall::of(tracee, call)?;
        if let FileCall::Write {
            descriptor: SAYS,
            pieces,
            ..
        } = &file_call
        {
            self.listen(tracee, pieces)?;
            return Ok(Answer::Ignore);
        }
        let Some(target) = self.target(tracee, &file_call)? else {
            return Ok(Answer::Ignore);
        };
        let from_memory = self.reads_memory(tracee, &file_call)?;
        let answer = match self.belated(tracee, &file_call) {
            _ if from_memory => Answer::Ignore,
            Some(answer) => answer,
            None => self.answer(target, &file_call, call),
        };
        self.note_failed_sync(tracee, &file_call, answer)?;
        self.begun
            .insert(call.thread, (file_call, self.recording.steps.len()));
        Ok(answer)
    }

    fn ends(&mut self, tracee: &Tracee, call: Call, result: i64) -> Result<()> {
        let Some((file_call, since)) = self.begun.remove(&call.thread) else {
            return Ok(());
        };
        if let FileCall::Sync { descriptor } = file_call {
            let node = self.node(tracee, descriptor);
            let step = |node| match result {
                0 => Step::Synced { node, since },
                _ => Step::SyncFailed { node, since },
            };
            self.recording.steps.extend(node.map(step));
            return Ok(());
        }
        // What failed changed nothing.
        match usize::try_from(result) {
            Ok(result) => self.change(tracee, file_call, result),
            Err(_) => Ok(()),
        }
    }
}

impl Recorder {
    fn new(root: &Path, fault: Option<Fault>) -> Result<Self> {
        let mut recorder = Self {
            recording: Recording::default(),
            live: BTreeMap::new(),
            files: 0,
            begun: HashMap::new(),
            fault,
            calls: HashMap::new(),
            hit: false,
            in_memory: HashSet::new(),
            to_be_told: HashSet::new(),
            told: false,
            root: root.to_owned(),
        };
        recorder.find(root)?;
        recorder.recording.entries = recorder.live.clone();
        Ok(recorder)
    }

    /// Takes in what is there at the start.
    fn find(&mut self, directory: &Path) -> Result<()> {
        for entry in fs::read_dir(directory).context("list the directory to record")? {
            let path = entry.context("list the directory to record")?.path();
            let entry = if path.is_dir() {
                self.find(&path)?;
                Entry::Directory
            } else {
                let bytes = fs::read(&path).context("read a file of the directory to record")?;
                self.recording.contents.push(bytes);
                self.new_file()
            };
            self.live.insert(self.relative(&path)?, entry);
        }
        Ok(())
    }

    fn new_file(&mut self) -> Entry {
        self.files += 1;
        Entry::File(self.files - 1)
    }

    fn relative(&self, path: &Path) -> Result<PathBuf> {
        let inside = self.inside(Some(path));
        inside.context("a path leads out of the recorded directory")
    }

    /// A path within the recorded directory.
    fn inside(&self, path: Option<&Path>) -> Option<PathBuf> {
        Some(path?.strip_prefix(&self.root).ok()?.to_owned())
    }

    /// What a descriptor stands for, if it is within the recorded directory and still has a name.
    fn node(&self, tracee: &Tracee, descriptor: i32) -> Option<Node> {
        let path = self.inside(tracee.descriptor(descriptor).as_deref())?;
        match self.live.get(&path) {
            Some(Entry::File(file)) => Some(Node::File(*file)),
            Some(Entry::Directory) => Some(Node::Directory(path)),
            None if path.as_os_str().is_empty() => Some(Node::Directory(path)),
            None => None,
        }
    }

    /// Which faults a call can have; `None` if it does not concern the recorded directory.
    fn target(&self, tracee: &Tracee, call: &FileCall) -> Result<Option<Target>> {
        let is_inside = |path: &Option<PathBuf>| self.inside(path.as_deref()).is_some();
        let has_node = |descriptor: i32| self.node(tracee, descriptor).is_some();
        let target = match call {
            FileCall::Open { path, flags } => {
                let Some(inside) = self.inside(path.as_deref()) else {
                    return Ok(None);
                };
                if flags & (libc::O_DSYNC | libc::O_DIRECT | libc::O_TMPFILE & !libc::O_DIRECTORY)
                    != 0
                {
                    bail!("a file is opened in a way that is not understood: {flags:o}");
                }
                let is_new = flags & libc::O_CREAT != 0 && !self.live.contains_key(&inside);
                let changes = is_new || flags & libc::O_TRUNC != 0;
                changes.then_some(Target::Writes)
            }
            FileCall::Read { descriptor, .. } => has_node(*descriptor).then_some(Target::Reads),
            FileCall::Write { descriptor, .. } | FileCall::SetLength { descriptor, .. } => {
                has_node(*descriptor).then_some(Target::Writes)
            }
            FileCall::Rename { from, to } => {
                (is_inside(from) || is_inside(to)).then_some(Target::Writes)
            }
            FileCall::Remove { path } | FileCall::MakeDirectory { path } => {
                is_inside(path).then_some(Target::Writes)
            }
            FileCall::Sync { descriptor } => has_node(*descriptor).then_some(Target::Syncs),
            FileCall::Foreign { name, path } if is_inside(path) => {
                bail!("a file is used with `{name}`, which the recorder does not understand")
            }
            FileCall::WeakSync { .. } | FileCall::Foreign { .. } | FileCall::Other => None,
        };
        Ok(target)
    }

    /// The answer to a descriptor that has not learned yet that a sync failed.
    fn belated(&mut self, tracee: &Tracee, call: &FileCall) -> Option<Answer> {
        let FileCall::Sync { descriptor } = call else {
            return None;
        };
        let node = self.node(tracee, *descriptor)?;
        let owed = self.to_be_told.remove(&(node, *descriptor));
        let fault = self.fault.filter(|_| owed)?;
        match fault.effect {
            Effect::Error(errno) | Effect::ErrorFromNowOn(errno) => Some(Answer::Fail(errno)),
            Effect::Short => None,
        }
    }

    /// Whether a read finds everything in memory, where the system keeps what the process has read or
    /// written before. Such a read does not fail. What is read now is in memory from now on.
    fn reads_memory(&mut self, tracee: &Tracee, call: &FileCall) -> Result<bool> {
        let (descriptor, at, length) = match call {
            FileCall::Read {
                descriptor,
                at,
                length,
            } => (*descriptor, *at, *length),
            FileCall::Write {
                descriptor,
                at: Some(at),
                pieces,
            } => {
                let length = pieces.iter().map(|(_, length)| length).sum();
                (*descriptor, Some(*at), length)
            }
            _ => return Ok(false),
        };
        let Some(Node::File(file)) = self.node(tracee, descriptor) else {
            return Ok(false);
        };
        let at = match at {
            Some(at) => at,
            None => tracee.offset(descriptor)?,
        };
        let is_read = matches!(call, FileCall::Read { .. });
        let length = if is_read {
            length.min(tracee.file_length(descriptor)?.saturating_sub(at))
        } else {
            length
        };
        let mut is_new = false;
        for block in at / PAGE_BYTES..(at + length).div_ceil(PAGE_BYTES) {
            is_new |= self.in_memory.insert((file, block));
        }
        Ok(is_read && !is_new)
    }

    /// Finds who else has the file open whose sync fails now.
    fn note_failed_sync(&mut self, tracee: &Tracee, call: &FileCall, answer: Answer) -> Result<()> {
        let (FileCall::Sync { descriptor }, Answer::Fail(_), false) = (call, answer, self.told)
        else {
            return Ok(());
        };
        self.told = true;
        let Some(node) = self.node(tracee, *descriptor) else {
            return Ok(());
        };
        for other in tracee.descriptors()? {
            if other != *descriptor && self.node(tracee, other).as_ref() == Some(&node) {
                self.to_be_told.insert((node.clone(), other));
            }
        }
        Ok(())
    }

    fn answer(&mut self, target: Target, file_call: &FileCall, call: Call) -> Answer {
        let count = self.calls.entry(target).or_default();
        let nth = *count;
        *count += 1;
        let Some(fault) = self.fault.filter(|fault| fault.target == target) else {
            return Answer::Watch;
        };
        let has_count = match file_call {
            FileCall::Write { pieces, .. } => pieces.len() == 1,
            FileCall::Read { .. } => true,
            _ => false,
        };
        let answer = match fault.effect {
            Effect::Error(errno) if nth == fault.nth => Answer::Fail(errno),
            Effect::ErrorFromNowOn(errno) if nth >= fault.nth => Answer::Fail(errno),
            Effect::Short if nth == fault.nth && has_count && call.arguments[2] > 1 => {
                Answer::Count(call.arguments[2] / 2)
            }
            _ => return Answer::Watch,
        };
        self.hit = true;
        answer
    }

    fn listen(&mut self, tracee: &Tracee, pieces: &[(u64, usize)]) -> Result<()> {
        for (address, length) in pieces {
            let text = tracee.read(*address, *length)?;
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines = text.lines().map(|line| Step::Said(line.to_owned()));
            self.recording.steps.extend(lines);
        }
        Ok(())
    }

    /// Records a call that succeeded.
    fn change(&mut self, tracee: &Tracee, call: FileCall, result: usize) -> Result<()> {
        match call {
            FileCall::Open { flags, .. } => self.opened(tracee, flags, result)?,
            FileCall::Write {
                descriptor,
                at,
                pieces,
            } => self.wrote(tracee, (descriptor, at), &pieces, result)?,
            FileCall::SetLength { descriptor, length } => {
                if let Some(Node::File(file)) = self.node(tracee, descriptor) {
                    self.push(Change::SetLength { file, length });
                }
            }
            FileCall::Rename { from, to } => self.renamed(from.as_deref(), to.as_deref())?,
            FileCall::Remove { path } => {
                if let Some(path) = self.inside(path.as_deref()) {
                    let entry = self.live.remove(&path);
                    let entry = entry.context("a file that was not there is removed")?;
                    self.push(Change::Vanish { path, entry });
                }
            }
            FileCall::MakeDirectory { path } => {
                if let Some(path) = self.inside(path.as_deref()) {
                    self.appeared(path, Entry::Directory);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, change: Change) {
        self.recording.steps.push(Step::Change(change));
    }

    fn appeared(&mut self, path: PathBuf, entry: Entry) {
        self.live.insert(path.clone(), entry);
        self.push(Change::Appear { path, entry });
    }

    fn opened(&mut self, tracee: &Tracee, flags: i32, descriptor: usize) -> Result<()> {
        let descriptor = i32::try_from(descriptor).context("the number of a descriptor")?;
        let path = self.inside(tracee.descriptor(descriptor).as_deref());
        let path = path.context("a file was opened elsewhere than was asked for")?;
        match self.live.get(&path) {
            Some(Entry::File(file)) if flags & libc::O_TRUNC != 0 => {
                let file = *file;
                self.push(Change::SetLength { file, length: 0 });
            }
            Some(_) => {}
            None => {
                let entry = self.new_file();
                self.appeared(path, entry);
            }
        }
        Ok(())
    }

    fn wrote(
        &mut self,
        tracee: &Tracee,
        (descriptor, at): (i32, Option<usize>),
        pieces: &[(u64, usize)],
        written: usize,
    ) -> Result<()> {
        let Some(Node::File(file)) = self.node(tracee, descriptor) else {
            return Ok(());
        };
        let at = match at {
            Some(at) => at,
            // The call has moved it on.
            None => tracee.offset(descriptor)? - written,
        };
        let mut bytes = Vec::with_capacity(written);
        for (address, length) in pieces {
            let length = (*length).min(written - bytes.len());
            bytes.extend(tracee.read(*address, length)?);
        }
        self.push(Change::Write { file, at, bytes });
        Ok(())
    }

    fn renamed(&mut self, from: Option<&Path>, to: Option<&Path>) -> Result<()> {
        let (Some(from), Some(to)) = (self.inside(from), self.inside(to)) else {
            bail!("a file is renamed out of the recorded directory, or into it");
        };
        let entry = self.live.remove(&from);
        let entry = entry.context("a file that was not there is renamed")?;
        if entry == Entry::Directory {
            bail!("a directory is renamed, which the recorder does not understand");
        }
        self.live.insert(to.clone(), entry);
        self.push(Change::Move { from, to, entry });
        Ok(())
    }
}
