//! The named limits of the contract. Sizes of caches, windows and queues are configuration of
//! whoever owns them; what stands here is what every caller may rely on.

/// Longest stream name that a caller may give, in bytes of UTF-8 (inclusive).
pub const STREAM_NAME_BYTES_MAX: usize = 1_024;

/// Longest stream name that the store itself derives from others, in bytes (inclusive).
pub const DERIVED_STREAM_NAME_BYTES_MAX: usize = 2_048;

/// Longest event type, in bytes of UTF-8 (inclusive).
pub const EVENT_TYPE_BYTES_MAX: usize = 256;

/// Longest content type, in bytes (inclusive).
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;

/// Longest tag, `key:value` together, in bytes of UTF-8 (inclusive).
pub const TAG_BYTES_MAX: usize = 256;

/// Longest correlation id by which events are found, in bytes; a longer one is only metadata.
pub const CORRELATION_ID_BYTES_MAX: usize = 256;

/// Most tags that one event may carry.
pub const TAGS_PER_EVENT_MAX: usize = 64;

/// Largest event, in bytes: data, metadata, type, content type and tags together (inclusive).
pub const EVENT_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Largest message of the protocol, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 17 * 1_024 * 1_024;

/// Largest append, in bytes, the sum over its events (inclusive). What is larger than
/// [`MESSAGE_BYTES_MAX`] is sent in parts through `AppendSession`.
pub const APPEND_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Most events in one append.
pub const APPEND_EVENTS_MAX: usize = 10_000;

/// Most streams that one append may write to or check.
pub const APPEND_STREAMS_MAX: usize = 10_000;

/// Largest page, in bytes of events; a page holds one event even if that alone is larger.
pub const PAGE_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Most events in a page.
pub const PAGE_EVENTS_MAX: usize = 4_096;

/// Largest metadata of a stream, in bytes of its JSON object (inclusive). The writer reads it.
pub const STREAM_METADATA_BYTES_MAX: usize = 64 * 1_024;

/// Most items in a query.
pub const QUERY_ITEMS_MAX: usize = 64;

/// Most names, prefixes, types or tags in one list of a filter or a query item.
pub const NAMES_PER_LIST_MAX: usize = 256;

/// Longest regular expression in a filter, in bytes.
pub const REGEX_BYTES_MAX: usize = 4_096;

/// Most missed events that a refusal carries.
pub const MISSED_EVENTS_MAX: usize = 1_000;

/// Longest name of a group, in bytes of UTF-8 (inclusive).
pub const GROUP_NAME_BYTES_MAX: usize = 512;

/// Most groups in a store.
pub const GROUPS_MAX: usize = 4_096;

/// Most groups of which each has figures of its own in the metrics.
pub const GROUP_FIGURES_MAX: usize = 256;

/// Largest buffer of a group, in events.
pub const GROUP_BUFFER_MAX: u32 = 65_536;

/// Most consumers of one group.
pub const GROUP_CONSUMERS_MAX: usize = 1_024;

/// Most events that one consumer of a group may have and not have answered.
pub const GROUP_CONSUMER_BUFFER_MAX: u32 = 10_000;

/// Longest part of the reason for a nack that is kept, in bytes of UTF-8.
pub const GROUP_REASON_BYTES_MAX: usize = 1_024;

/// Most events that a group has parked; then it stops until some are replayed or discarded.
pub const GROUP_PARKED_MAX: usize = 100_000;
