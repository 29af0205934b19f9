//! Whether a filter lets an event through. Regular expressions are not the model's.

use icecore_core::{Filter, NameMatch, RecordedEvent, StreamName, SystemStreams};

/// Whether the filter lets the event of `one` stream through, or of all.
pub(crate) fn admits(filter: &Filter, one: Option<&StreamName>, event: &RecordedEvent) -> bool {
    let name = event.stream.as_str();
    let is_hidden = filter.system == SystemStreams::Exclude && name.starts_with('$');
    let category = name.split_once('-').map(|(category, _)| category);
    let asked = filter.category.as_ref();
    one.is_none_or(|stream| *stream == event.stream)
        && (one.is_some() || !is_hidden)
        && asked.is_none_or(|asked| category == Some(asked.as_str()))
        && filter.tags.iter().all(|tag| event.tags.contains(tag))
        && name_admits(filter.stream.as_ref(), name)
        && name_admits(filter.event_type.as_ref(), event.event_type.as_str())
}

fn name_admits(wanted: Option<&NameMatch>, name: &str) -> bool {
    match wanted {
        None => true,
        Some(NameMatch::AnyOf(names)) => names.iter().any(|one| &**one == name),
        Some(NameMatch::Prefixes(prefixes)) => prefixes.iter().any(|p| name.starts_with(&**p)),
        Some(NameMatch::Regex(_)) => panic!("the model has no regular expressions"),
    }
}
