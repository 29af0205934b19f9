//! What a call of `Read` asks: a read or a subscription, of one stream or all, and how to show what is
//! found.

use crate::event::stream;
use crate::filter::Filtered;
use crate::id::IdForm;
use crate::proto::event_store::client::streams::ReadReq;
use crate::proto::event_store::client::streams::read_req::options::{
    AllOptions, CountOption, FilterOption, Position as ProtoPosition, ReadDirection, StreamOption,
    StreamOptions, UuidOption, all_options, stream_options, uuid_option,
};
use icecore_core::{
    Direction, Error, Filter, Position, Read, ReadFrom, Result, Revision, Start, Subscribe,
    SubscribeFrom,
};

/// A question, checked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) what: What,
    pub(super) view: View,
}

#[derive(Debug)]
pub(super) enum What {
    Read(Box<Read>),
    /// A read of no event at all.
    Nothing,
    /// A subscription; where it is filtered, with the number of events between two checkpoints.
    Follow(Box<Subscribe>, Option<u64>),
}

/// How to show what is found.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) ids: IdForm,
    pub(super) links: Links,
    pub(super) ends: Ends,
}

/// What becomes of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    Shown,
    Resolved,
}

/// Whether a read of a stream says where the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Told,
    Left,
}

impl TryFrom<ReadReq> for Question {
    type Error = Error;

    fn try_from(request: ReadReq) -> Result<Self> {
        let options = request.options.ok_or_else(|| missing("options"))?;
        let direction = match ReadDirection::try_from(options.read_direction) {
            Ok(ReadDirection::Forwards) => Direction::Forwards,
            Ok(ReadDirection::Backwards) => Direction::Backwards,
            Err(_) => return Err(Error::invalid("read_direction", "is none")),
        };
        let compatibility = options
            .control_option
            .map_or(0, |option| option.compatibility);
        let view = View {
            ids: id_form(options.uuid_option)?,
            links: if options.resolve_links {
                Links::Resolved
            } else {
                Links::Shown
            },
            ends: if compatibility >= 1 {
                Ends::Told
            } else {
                Ends::Left
            },
        };
        let filtered = match options.filter_option {
            Some(FilterOption::Filter(filter)) => Some(Filtered::try_from(filter)?),
            Some(FilterOption::NoFilter(_)) => None,
            None => return Err(missing("filter_option")),
        };
        let from = options
            .stream_option
            .ok_or_else(|| missing("stream_option"))?;
        let what = match options.count_option {
            Some(CountOption::Count(0)) => {
                // It is held to the same as others.
                read(from, direction, filtered, 1)?;
                What::Nothing
            }
            Some(CountOption::Count(count)) => read(from, direction, filtered, count)?,
            Some(CountOption::Subscription(_)) => follow(from, direction, filtered)?,
            None => return Err(missing("count_option")),
        };
        Ok(Self { what, view })
    }
}

fn missing(field: &'static str) -> Error {
    Error::invalid(field, "is missing")
}

fn id_form(option: Option<UuidOption>) -> Result<IdForm> {
    match option.and_then(|option| option.content) {
        Some(uuid_option::Content::String(_)) => Ok(IdForm::Text),
        Some(uuid_option::Content::Structured(_)) => Ok(IdForm::Structured),
        None => Err(missing("uuid_option")),
    }
}

fn no_filter_on_a_stream() -> Error {
    Error::invalid("filter_option", "goes with all streams only")
}

fn read(
    from: StreamOption,
    direction: Direction,
    filtered: Option<Filtered>,
    count: u64,
) -> Result<What> {
    let from = match from {
        StreamOption::Stream(_) if filtered.is_some() => return Err(no_filter_on_a_stream()),
        StreamOption::Stream(options) => match read_stream(options, direction)? {
            Some(from) => from,
            None => return Ok(What::Nothing),
        },
        StreamOption::All(options) => match read_all(options, direction)? {
            Some(from) => from,
            None => return Ok(What::Nothing),
        },
    };
    Ok(What::Read(Box::new(Read {
        from,
        direction,
        filter: filtered.map_or_else(Filter::everything, |filtered| filtered.filter),
        limit: Some(count),
        as_of: None,
    })))
}

/// Where a read of one stream begins. There is nothing after the end.
fn read_stream(options: StreamOptions, direction: Direction) -> Result<Option<ReadFrom>> {
    let stream = stream(options.stream_identifier)?;
    let from = match (options.revision_option, direction) {
        (Some(stream_options::RevisionOption::Revision(revision)), _) => {
            Some(Revision::new(revision))
        }
        (Some(stream_options::RevisionOption::Start(_)), Direction::Forwards)
        | (Some(stream_options::RevisionOption::End(_)), Direction::Backwards) => None,
        (Some(stream_options::RevisionOption::Start(_)), Direction::Backwards) => {
            Some(Revision::FIRST)
        }
        (Some(stream_options::RevisionOption::End(_)), Direction::Forwards) => {
            Some(Revision::new(u64::MAX))
        }
        (None, _) => return Err(missing("revision_option")),
    };
    Ok(Some(ReadFrom::Stream(stream, from)))
}

/// Where a read of all begins: forwards with the position, backwards before it. There is nothing after
/// the end nor before the start.
fn read_all(options: AllOptions, direction: Direction) -> Result<Option<ReadFrom>> {
    use all_options::AllOption;
    let from = match (options.all_option, direction) {
        (Some(AllOption::Position(position)), Direction::Forwards) => {
            Some(checked_position(position)?)
        }
        (Some(AllOption::Position(position)), Direction::Backwards) => {
            let position = checked_position(position)?;
            if position <= Position::FIRST {
                return Ok(None);
            }
            Some(position.previous())
        }
        (Some(AllOption::Start(_)), Direction::Forwards)
        | (Some(AllOption::End(_)), Direction::Backwards) => None,
        (Some(_), _) => return Ok(None),
        (None, _) => return Err(missing("all_option")),
    };
    Ok(Some(ReadFrom::All(from)))
}

fn checked_position(position: ProtoPosition) -> Result<Position> {
    let ProtoPosition {
        commit_position: commit,
        prepare_position: prepare,
    } = position;
    if prepare > commit {
        return Err(Error::invalid(
            "position",
            format!("the prepare position {prepare} lies after the commit position {commit}"),
        ));
    }
    Ok(Position::new(commit))
}

fn follow(from: StreamOption, direction: Direction, filtered: Option<Filtered>) -> Result<What> {
    if direction == Direction::Backwards {
        return Err(Error::invalid(
            "read_direction",
            "of a subscription is forwards",
        ));
    }
    let from = match from {
        StreamOption::Stream(_) if filtered.is_some() => return Err(no_filter_on_a_stream()),
        StreamOption::Stream(options) => {
            let start = match options.revision_option {
                Some(stream_options::RevisionOption::Revision(revision)) => {
                    Start::After(Revision::new(revision))
                }
                Some(stream_options::RevisionOption::Start(_)) => Start::Beginning,
                Some(stream_options::RevisionOption::End(_)) => Start::End,
                None => return Err(missing("revision_option")),
            };
            SubscribeFrom::Stream(stream(options.stream_identifier)?, start)
        }
        StreamOption::All(options) => SubscribeFrom::All(match options.all_option {
            Some(all_options::AllOption::Position(position)) => {
                Start::After(checked_position(position)?)
            }
            Some(all_options::AllOption::Start(_)) => Start::Beginning,
            Some(all_options::AllOption::End(_)) => Start::End,
            None => return Err(missing("all_option")),
        }),
    };
    let (filter, interval) = match filtered {
        Some(Filtered { filter, interval }) => (filter, Some(interval)),
        None => (Filter::everything(), None),
    };
    let subscribe = Subscribe {
        from,
        filter,
        store_id: None,
    };
    Ok(What::Follow(Box::new(subscribe), interval))
}
