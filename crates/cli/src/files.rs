//! How many files this process may have open. A connection is one, and the store needs some of its
//! own: a server that runs out of them cannot work.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that stay free for the store, its log and the runtime.
const OTHER_FILES: usize = 64;

/// Asks for as many as the system lets anybody have, and holds the connections to what is left.
pub(crate) fn hold_connections(connections_max: &mut usize) {
    let allowed = allow_most();
    let left = allowed.saturating_sub(OTHER_FILES).max(1);
    if *connections_max > left {
        tracing::warn!(
            connections_max = left,
            "the system allows only {allowed} open files: raise its limit (ulimit -n) for more \
             connections"
        );
        *connections_max = left;
    }
}

/// Raises the limit as far as it goes and says where it stands then.
fn allow_most() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, most) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    // Without a number there is no limit.
    allowed.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_the_store() {
        let allowed = allow_most();
        let mut few = 1;
        hold_connections(&mut few);
        assert_eq!(few, 1);
        let mut all = usize::MAX;
        hold_connections(&mut all);
        assert_eq!(all, allowed.saturating_sub(OTHER_FILES).max(1));
    }
}
