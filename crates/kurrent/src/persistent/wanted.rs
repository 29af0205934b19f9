//! What a group shall be that is created or changed: which one, what it reads and from where. Its other
//! settings: `settings.rs`.

use super::missing;
use super::settings::Behaviour;
use super::source::Source;
use crate::filter::Filtered;
use crate::proto::event_store::client::Empty;
use crate::proto::event_store::client::persistent_subscriptions::{create_req, update_req};
use crate::proto::event_store::client::streams::read_req;
use create_req::all_options::{AllOption, FilterOption, FilterOptions, filter_options};
use create_req::options::StreamOption;
use create_req::stream_options::RevisionOption;
use icecore_core::{Error, Filter, GroupId, GroupStart, Result};
use read_req::options::filter_options as read_filter;

/// What stands for the end where a number is expected: -1, without a sign.
const END: u64 = u64::MAX;

/// A group as a call describes it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) id: GroupId,
    pub(super) filter: Filter,
    pub(super) behaviour: Behaviour,
}

impl TryFrom<create_req::Options> for Wanted {
    type Error = Error;

    fn try_from(options: create_req::Options) -> Result<Self> {
        let settings = options.settings.ok_or_else(|| missing("settings"))?;
        let everything = Filter::everything();
        let (source, filter, start) = match options.stream_option {
            Some(StreamOption::Stream(stream)) => {
                let start = start_in_stream(stream.revision_option)?;
                (Source::Stream(stream.stream_identifier), everything, start)
            }
            Some(StreamOption::All(all)) => {
                let start = start_in_all(all.all_option)?;
                (Source::All, filter(all.filter_option)?, start)
            }
            // As the first clients say it.
            None => {
                let start = Ok(from(settings.revision));
                (Source::Stream(options.stream_identifier), everything, start)
            }
        };
        Ok(Self {
            id: source.group(options.group_name)?,
            filter,
            behaviour: Behaviour { start, settings },
        })
    }
}

/// Where a group starts, or why it cannot start there.
pub(super) type Start = std::result::Result<GroupStart, &'static str>;

fn from(number: u64) -> GroupStart {
    match number {
        END => GroupStart::End,
        0 => GroupStart::Beginning,
        number => GroupStart::From(number),
    }
}

fn start_in_stream(option: Option<RevisionOption>) -> Result<Start> {
    match option {
        Some(RevisionOption::Revision(revision)) => Ok(Ok(from(revision))),
        Some(RevisionOption::Start(_)) => Ok(Ok(GroupStart::Beginning)),
        Some(RevisionOption::End(_)) => Ok(Ok(GroupStart::End)),
        None => Err(missing("revision_option")),
    }
}

fn start_in_all(option: Option<AllOption>) -> Result<Start> {
    match option {
        Some(AllOption::Position(position)) => {
            let (commit, prepare) = (position.commit_position, position.prepare_position);
            Ok(if (commit == END) != (prepare == END) {
                Err("has only one of its two parts at the end")
            } else if prepare > commit {
                Err("has a prepare position after its commit position")
            } else {
                Ok(from(commit))
            })
        }
        Some(AllOption::Start(_)) => Ok(Ok(GroupStart::Beginning)),
        Some(AllOption::End(_)) => Ok(Ok(GroupStart::End)),
        None => Err(missing("all_option")),
    }
}

fn filter(option: Option<FilterOption>) -> Result<Filter> {
    match option {
        Some(FilterOption::Filter(options)) => {
            let options = read_req::options::FilterOptions::from(options);
            Ok(Filtered::try_from(options)?.filter)
        }
        Some(FilterOption::NoFilter(_)) | None => Ok(Filter::everything()),
    }
}

/// The same filter in the words of a read. When a group writes its checkpoint is said elsewhere, so what
/// the filter says of that counts for nothing.
impl From<FilterOptions> for read_req::options::FilterOptions {
    fn from(options: FilterOptions) -> Self {
        let expression = |names: filter_options::Expression| read_filter::Expression {
            regex: names.regex,
            prefix: names.prefix,
        };
        let filter = options.filter.map(|filter| match filter {
            filter_options::Filter::StreamIdentifier(names) => {
                read_filter::Filter::StreamIdentifier(expression(names))
            }
            filter_options::Filter::EventType(names) => {
                read_filter::Filter::EventType(expression(names))
            }
        });
        Self {
            filter,
            window: Some(read_filter::Window::Count(Empty {})),
            checkpoint_interval_multiplier: 1,
        }
    }
}

/// A change says what a creation says, but for the filter, which stays.
impl From<update_req::Options> for create_req::Options {
    fn from(options: update_req::Options) -> Self {
        use update_req::all_options::AllOption as UpdateAll;
        use update_req::options::StreamOption as UpdateStream;
        use update_req::stream_options::RevisionOption as UpdateRevision;
        let stream_option = options.stream_option.map(|option| match option {
            UpdateStream::Stream(stream) => StreamOption::Stream(create_req::StreamOptions {
                stream_identifier: stream.stream_identifier,
                revision_option: stream.revision_option.map(|option| match option {
                    UpdateRevision::Revision(revision) => RevisionOption::Revision(revision),
                    UpdateRevision::Start(start) => RevisionOption::Start(start),
                    UpdateRevision::End(end) => RevisionOption::End(end),
                }),
            }),
            UpdateStream::All(all) => StreamOption::All(create_req::AllOptions {
                all_option: all.all_option.map(|option| match option {
                    UpdateAll::Position(position) => AllOption::Position(create_req::Position {
                        commit_position: position.commit_position,
                        prepare_position: position.prepare_position,
                    }),
                    UpdateAll::Start(start) => AllOption::Start(start),
                    UpdateAll::End(end) => AllOption::End(end),
                }),
                filter_option: None,
            }),
        });
        Self {
            stream_identifier: options.stream_identifier,
            group_name: options.group_name,
            settings: options.settings.map(create_req::Settings::from),
            stream_option,
        }
    }
}
