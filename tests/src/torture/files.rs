//! How many files this process, and the servers that it starts, may have open.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the system lets anybody and says where it stands then.
pub(super) fn allow_most() -> Result<usize> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, most).context("raise the limit of open files")?;
    // Without a number there is no limit.
    Ok(maximum.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    }))
}
