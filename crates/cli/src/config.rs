//! What `serve` is told: flags over environment over file over defaults, read once and checked into
//! one [`Config`]. Every setting can be given in all three places.

mod units;

use crate::commands::proof::hex_bytes;
use crate::exit::Usage;
use anyhow::{Context as _, Result};
use icecore_server::{Engine, TreeKey};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use units::{ByteSize, MIB, Span};

/// Caches smaller than this help nobody.
const CACHE_BYTES_MIN: u64 = MIB;

/// A disk may take this long for a sync and be well.
const STALL_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The newest events in memory must at least be those of one commit.
const RING_BYTES_MIN: u64 = 4 * MIB;

/// What was set, by flags and environment or by a file. The name in a file is that of the flag, with
/// `_` for `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:2113]
    #[arg(long, env = "ICECORE_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// Directory of the data; made if it is not there [default: ./icecore-data]
    #[arg(long, env = "ICECORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where events live [default: sled]
    #[arg(long, env = "ICECORE_ENGINE", value_name = "ENGINE")]
    engine: Option<EngineKind>,
    /// Form of the log on standard error [default: text]
    #[arg(long, env = "ICECORE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Cache of the engine, like 384MiB [default: 384MiB]
    #[arg(long, env = "ICECORE_SLED_CACHE_BYTES", value_name = "SIZE")]
    sled_cache_bytes: Option<ByteSize>,
    /// Cache of events that were read [default: 16MiB]
    #[arg(long, env = "ICECORE_CHUNK_CACHE_BYTES", value_name = "SIZE")]
    chunk_cache_bytes: Option<ByteSize>,
    /// Events after which a run of the index is written; until then their index is in memory
    /// [default: 262144]
    #[arg(long, env = "ICECORE_INDEX_RUN_EVENTS", value_name = "N")]
    index_run_events: Option<usize>,
    /// Appends are refused while less of the disk is free; 0 refuses none [default: 1GiB or 5 % of the
    /// disk, the larger, at most a quarter]
    #[arg(long, env = "ICECORE_FREE_BYTES_MIN", value_name = "SIZE")]
    free_bytes_min: Option<ByteSize>,
    /// Space set aside to start on a full disk; 0 for none [default: 64MiB, less on a small disk]
    #[arg(long, env = "ICECORE_BALLAST_BYTES", value_name = "SIZE")]
    ballast_bytes: Option<ByteSize>,
    /// How long a sync of the disk may take before the server ends, at least 1s [default: 2m]
    #[arg(long, env = "ICECORE_STALL_TIMEOUT", value_name = "TIME")]
    stall_timeout: Option<Span>,
    /// Newest events kept in memory for subscriptions [default: 32MiB]
    #[arg(long, env = "ICECORE_RING_BYTES", value_name = "SIZE")]
    ring_bytes: Option<ByteSize>,
    /// Appends that are received and written at a time, at least 81MiB [default: 81MiB]
    #[arg(long, env = "ICECORE_IN_FLIGHT_BYTES", value_name = "SIZE")]
    in_flight_bytes: Option<ByteSize>,
    /// Newest events whose ids are remembered, so that appends can be retried [default: 524288]
    #[arg(long, env = "ICECORE_ID_WINDOW_EVENTS", value_name = "N")]
    id_window_events: Option<usize>,
    /// Events that the check of one condition may look at [default: 100000]
    #[arg(long, env = "ICECORE_CONDITION_EVENTS", value_name = "N")]
    condition_events: Option<usize>,
    /// Connections that may be open at a time; more are closed at once [default: 4096]
    #[arg(long, env = "ICECORE_CONNECTIONS_MAX", value_name = "N")]
    connections_max: Option<usize>,
    /// Subscriptions that may be open at a time; more are refused [default: 4096]
    #[arg(long, env = "ICECORE_SUBSCRIPTIONS_MAX", value_name = "N")]
    subscriptions_max: Option<usize>,
    /// How long after a scavenge the store looks whether another one is worth it; 0s for never
    /// [default: 24h]
    #[arg(long, env = "ICECORE_SCAVENGE_INTERVAL", value_name = "TIME")]
    scavenge_interval: Option<Span>,
    /// File with the key that signs tree heads, made by `icecore proof keygen`
    #[arg(long, env = "ICECORE_SIGNING_KEY", value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// How long an append waits for room before it is refused [default: 5s]
    #[arg(long, env = "ICECORE_ADMISSION_TIMEOUT", value_name = "TIME")]
    admission_timeout: Option<Span>,
    /// How long open calls may take to end at a shutdown [default: 3s]
    #[arg(long, env = "ICECORE_SHUTDOWN_TIMEOUT", value_name = "TIME")]
    shutdown_timeout: Option<Span>,
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where to listen, as it was given.
    pub(crate) listen: String,
    /// The data directory; `None` when nothing is kept.
    pub(crate) data: Option<PathBuf>,
    pub(crate) log_format: LogFormat,
    pub(crate) server: icecore_server::Config,
}

/// Which engine keeps the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineKind {
    /// On disk, in the data directory
    Sled,
    /// In memory: everything is forgotten at the end; for tests
    Memory,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Settings {
    /// Reads a configuration file.
    pub(crate) fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Usage::new(format!(
                "cannot read the configuration {}: {error}",
                path.display()
            ))
        })?;
        Self::from_toml(&text)
            .map_err(|reason| Usage::new(format!("configuration {}: {reason}", path.display())))
            .map_err(Into::into)
    }

    pub(crate) fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    /// These settings, and those of `other` where nothing is set here.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            data: self.data.or(other.data),
            engine: self.engine.or(other.engine),
            log_format: self.log_format.or(other.log_format),
            sled_cache_bytes: self.sled_cache_bytes.or(other.sled_cache_bytes),
            chunk_cache_bytes: self.chunk_cache_bytes.or(other.chunk_cache_bytes),
            index_run_events: self.index_run_events.or(other.index_run_events),
            free_bytes_min: self.free_bytes_min.or(other.free_bytes_min),
            ballast_bytes: self.ballast_bytes.or(other.ballast_bytes),
            stall_timeout: self.stall_timeout.or(other.stall_timeout),
            ring_bytes: self.ring_bytes.or(other.ring_bytes),
            in_flight_bytes: self.in_flight_bytes.or(other.in_flight_bytes),
            id_window_events: self.id_window_events.or(other.id_window_events),
            condition_events: self.condition_events.or(other.condition_events),
            connections_max: self.connections_max.or(other.connections_max),
            subscriptions_max: self.subscriptions_max.or(other.subscriptions_max),
            scavenge_interval: self.scavenge_interval.or(other.scavenge_interval),
            signing_key: self.signing_key.or(other.signing_key),
            admission_timeout: self.admission_timeout.or(other.admission_timeout),
            shutdown_timeout: self.shutdown_timeout.or(other.shutdown_timeout),
        }
    }

    /// Puts the defaults in and checks the whole.
    pub(crate) fn check(self) -> Result<Config> {
        let listen = self
            .listen
            .clone()
            .unwrap_or_else(|| "127.0.0.1:2113".to_owned());
        check_address(&listen)?;
        let data = match self.engine.unwrap_or(EngineKind::Sled) {
            EngineKind::Sled => Some(self.directory()?),
            EngineKind::Memory => None,
        };
        let engine = match &data {
            Some(directory) => self.sled(directory)?,
            None => Engine::Memory,
        };
        let log_format = self.log_format.unwrap_or(LogFormat::Text);
        let server = self.server(icecore_server::Config::new(engine))?;
        Ok(Config {
            listen,
            data,
            log_format,
            server,
        })
    }

    fn directory(&self) -> Result<PathBuf> {
        let directory = self
            .data
            .clone()
            .unwrap_or_else(|| PathBuf::from("./icecore-data"));
        if directory.as_os_str().is_empty() {
            return Err(Usage::new("data: the name of the directory is empty").into());
        }
        Ok(directory)
    }

    fn sled(&self, directory: &Path) -> Result<Engine> {
        let mut engine = Engine::sled(directory);
        if let Engine::Sled {
            cache_bytes,
            chunk_cache_bytes,
            index_run_events,
            free_bytes_min,
            ballast_bytes,
            stall_timeout,
            ..
        } = &mut engine
        {
            let (name, least) = ("sled-cache-bytes", CACHE_BYTES_MIN);
            set_bytes(cache_bytes, name, self.sled_cache_bytes, least)?;
            let name = "chunk-cache-bytes";
            set_bytes(chunk_cache_bytes, name, self.chunk_cache_bytes, least)?;
            let name = "index-run-events";
            set_count(index_run_events, name, self.index_run_events)?;
            *free_bytes_min = self.free_bytes_min.map(|ByteSize(bytes)| bytes);
            if let Some(ByteSize(bytes)) = self.ballast_bytes {
                *ballast_bytes = bytes;
            }
            if let Some(Span(timeout)) = self.stall_timeout {
                check_stall_timeout(timeout)?;
                *stall_timeout = timeout;
            }
        }
        Ok(engine)
    }

    fn server(&self, mut config: icecore_server::Config) -> Result<icecore_server::Config> {
        let store = &mut config.store;
        set_bytes(
            &mut store.ring_bytes,
            "ring-bytes",
            self.ring_bytes,
            RING_BYTES_MIN,
        )?;
        // Less than this would not let one append of the largest size pass.
        store.in_flight_bytes = 0;
        store.in_flight_bytes = store.in_flight_bytes();
        let (name, least) = ("in-flight-bytes", store.in_flight_bytes as u64);
        set_bytes(
            &mut store.in_flight_bytes,
            name,
            self.in_flight_bytes,
            least,
        )?;
        set_count(
            &mut store.id_window_events,
            "id-window-events",
            self.id_window_events,
        )?;
        set_count(
            &mut store.condition_events,
            "condition-events",
            self.condition_events,
        )?;
        let name = "subscriptions-max";
        set_count(&mut store.subscriptions_max, name, self.subscriptions_max)?;
        if let Some(Span(interval)) = self.scavenge_interval {
            store.scavenge_interval = (!interval.is_zero()).then_some(interval);
        }
        store.tree_key = self.signing_key.as_deref().map(read_key).transpose()?;
        let name = "connections-max";
        set_count(&mut config.connections_max, name, self.connections_max)?;
        if let Some(Span(timeout)) = self.admission_timeout {
            config.admission_timeout = timeout;
        }
        if let Some(Span(timeout)) = self.shutdown_timeout {
            config.shutdown_timeout = timeout;
        }
        Ok(config)
    }
}

fn read_key(path: &Path) -> Result<TreeKey> {
    let wrong = |reason: String| Usage::new(format!("signing-key: {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let secret = hex_bytes("key", text.trim()).map_err(wrong)?;
    Ok(TreeKey::from_bytes(&secret))
}

/// Every sync takes a moment, and that is no reason to end.
fn check_stall_timeout(timeout: Duration) -> Result<()> {
    if timeout < STALL_TIMEOUT_MIN {
        return Err(Usage::new(format!(
            "stall-timeout: {timeout:?} is too short, at least 1s"
        ))
        .into());
    }
    Ok(())
}

fn check_address(listen: &str) -> Result<()> {
    let port = listen.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(Usage::new(format!(
            "listen: `{listen}` is no address with a port like 127.0.0.1:2113"
        ))
        .into()),
    }
}

fn set_bytes(target: &mut usize, name: &str, size: Option<ByteSize>, least: u64) -> Result<()> {
    let Some(ByteSize(bytes)) = size else {
        return Ok(());
    };
    if bytes < least {
        let least = ByteSize(least);
        return Err(Usage::new(format!(
            "{name}: {} is too little, at least {least}",
            ByteSize(bytes)
        ))
        .into());
    }
    *target = usize::try_from(bytes).with_context(|| format!("take {bytes} for {name}"))?;
    Ok(())
}

fn set_count(target: &mut usize, name: &str, count: Option<usize>) -> Result<()> {
    match count {
        Some(0) => Err(Usage::new(format!("{name}: 0 is too little, at least 1")).into()),
        Some(count) => {
            *target = count;
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Settings {
        Settings::from_toml(text).unwrap()
    }

    fn refusal(settings: Settings) -> String {
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn what_is_set_first_wins() {
        let flags = toml("listen = '127.0.0.1:1'\nring_bytes = '8MiB'");
        let file = toml("listen = '127.0.0.1:2'\ndata = '/d'\nshutdown_timeout = '250ms'");
        let config = flags.or(file).check().unwrap();
        assert_eq!(config.listen, "127.0.0.1:1");
        assert_eq!(config.data.as_deref(), Some(Path::new("/d")));
        assert_eq!(config.server.store.ring_bytes, 8 * 1_024 * 1_024);
        assert_eq!(config.server.shutdown_timeout, Duration::from_millis(250));
        assert_eq!(config.server.store.id_window_events, 524_288);
        assert_eq!(config.log_format, LogFormat::Text);
    }

    #[test]
    fn the_help_tells_the_defaults_that_the_engine_has() {
        use clap::CommandFactory;
        let Engine::Sled {
            cache_bytes,
            chunk_cache_bytes,
            index_run_events,
            ..
        } = Engine::sled("d")
        else {
            panic!("not sled");
        };
        let help = crate::args::Cli::command()
            .find_subcommand_mut("serve")
            .unwrap()
            .render_long_help()
            .to_string();
        let default_of = |flag: &str| {
            let (_, rest) = help.split_once(&format!("--{flag} ")).unwrap();
            let (_, default) = rest.split_once("[default: ").unwrap();
            default.split_once(']').unwrap().0.to_owned()
        };
        let size = |bytes: usize| ByteSize(bytes as u64).to_string();
        assert_eq!(default_of("sled-cache-bytes"), size(cache_bytes));
        assert_eq!(default_of("chunk-cache-bytes"), size(chunk_cache_bytes));
        assert_eq!(default_of("index-run-events"), index_run_events.to_string());
    }

    #[test]
    fn a_file_sets_everything_that_a_flag_sets() {
        let settings = toml(
            "listen = '[::1]:0'\ndata = 'd'\nengine = 'sled'\nlog_format = 'json'\n\
             sled_cache_bytes = 67108864\nchunk_cache_bytes = '1GiB'\nring_bytes = '5MiB'\n\
             in_flight_bytes = '100MiB'\nid_window_events = 10\ncondition_events = 20\n\
             admission_timeout = '1s'\nshutdown_timeout = '2s'\nindex_run_events = 30\n\
             connections_max = 40\nsubscriptions_max = 50\nscavenge_interval = '2h'\n\
             signing_key = 'no key'\nfree_bytes_min = '2GiB'\nballast_bytes = 0\n\
             stall_timeout = '5m'",
        );
        assert!(
            format!("{settings:?}").matches("Some(").count() >= 20,
            "{settings:?}"
        );
        assert!(!format!("{settings:?}").contains("None"), "{settings:?}");
        assert!(refusal(settings.clone()).contains("signing-key: no key: "));
        let signing_key = None;
        let config = Settings {
            signing_key,
            ..settings
        }
        .check()
        .unwrap();
        let interval = Some(Duration::from_secs(7_200));
        assert_eq!(config.server.store.scavenge_interval, interval);
        let Engine::Sled {
            cache_bytes,
            chunk_cache_bytes,
            index_run_events,
            free_bytes_min,
            ballast_bytes,
            stall_timeout,
            ..
        } = config.server.engine
        else {
            panic!("not sled");
        };
        assert_eq!((cache_bytes, chunk_cache_bytes), (64 << 20, 1 << 30));
        assert_eq!(index_run_events, 30);
        assert_eq!((free_bytes_min, ballast_bytes), (Some(2 << 30), 0));
        assert_eq!(stall_timeout, Duration::from_secs(300));
        assert_eq!(config.server.store.in_flight_bytes, 100 << 20);
        assert_eq!(config.server.store.condition_events, 20);
        assert_eq!(config.server.connections_max, 40);
        assert_eq!(config.server.store.subscriptions_max, 50);
        assert_eq!(config.server.admission_timeout, Duration::from_secs(1));
    }

    #[test]
    fn a_mistake_in_a_file_is_named() {
        for (text, named) in [
            ("lisen = 'x'", "unknown field `lisen`"),
            ("ring_bytes = '5MB'", "`5MB` is no size"),
            ("ring_bytes = -1", "not negative"),
            ("engine = 'rocks'", "`rocks`"),
            ("shutdown_timeout = '5'", "no time like"),
            ("listen", "TOML parse error"),
        ] {
            let error = Settings::from_toml(text).unwrap_err();
            assert!(error.contains(named), "{text} gave {error}");
        }
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        assert!(refusal(toml("listen = 'localhost'")).contains("`localhost` is no address"));
        assert!(
            refusal(toml("in_flight_bytes = '80MiB'"))
                .contains("80MiB is too little, at least 81MiB")
        );
        assert!(refusal(toml("data = ''")).contains("is empty"));
        assert!(refusal(toml("ring_bytes = 1")).contains("1 is too little"));
        assert!(refusal(toml("stall_timeout = '500ms'")).contains("500ms is too short"));
        assert!(refusal(toml("id_window_events = 0")).contains("id-window-events: 0 is too"));
    }

    #[test]
    fn memory_needs_no_directory() {
        assert_eq!(toml("engine = 'memory'").check().unwrap().data, None);
    }
}
