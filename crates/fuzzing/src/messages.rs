//! Messages of `icecore.v1`: what can be read means the same when it is written and read again.

use bytes::Bytes;
use icecore_core::{
    Append, Appended, Group, GroupDelivery, GroupId, GroupInfo, GroupSettings, ListStreams,
    ParkedPage, ParkedRange, Read, StoreStats, StreamInfo, StreamName, StreamPage, Subscribe,
    SubscriptionMessage,
};
use icecore_wire::{
    ConsumeMessage, Delete, ListCategories, ListParked, ReadMessage, ReplayParked, SessionAnswer,
    SessionDecoder, SetStreamMetadata, Truncate, proto, session_requests, status,
};
use prost::Message;
use std::fmt::Debug;
use tonic::{Code, Status};

/// The first byte says which request the others are.
pub(crate) fn requests(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 17 {
        0 => append(bytes),
        1 => import(bytes),
        2 => session(bytes),
        3 => both_ways::<proto::ReadRequest, Read>(bytes),
        4 => both_ways::<proto::SubscribeRequest, Subscribe>(bytes),
        5 => both_ways::<proto::GetStreamRequest, StreamName>(bytes),
        6 => both_ways::<proto::ListStreamsRequest, ListStreams>(bytes),
        7 => both_ways::<proto::ListCategoriesRequest, ListCategories>(bytes),
        8 => both_ways::<proto::SetStreamMetadataRequest, SetStreamMetadata>(bytes),
        9 => both_ways::<proto::TruncateRequest, Truncate>(bytes),
        10 => both_ways::<proto::DeleteRequest, Delete>(bytes),
        11 => both_ways::<proto::CreateGroupRequest, Group>(bytes),
        12 => both_ways::<proto::UpdateGroupRequest, (GroupId, GroupSettings)>(bytes),
        13 => both_ways::<proto::ConsumeRequest, ConsumeMessage>(bytes),
        14 => both_ways::<proto::ListParkedRequest, ListParked>(bytes),
        15 => both_ways::<proto::ReplayParkedRequest, ReplayParked>(bytes),
        _ => both_ways::<proto::DiscardParkedRequest, (GroupId, ParkedRange)>(bytes),
    }
}

/// The first byte says which answer the others are.
pub(crate) fn answers(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 12 {
        0 => drop(decode::<proto::AppendResponse, Appended>(bytes)),
        1 => drop(decode::<proto::AppendSessionResponse, SessionAnswer>(bytes)),
        2 => both_ways::<proto::ReadResponse, ReadMessage>(bytes),
        3 => both_ways::<proto::SubscribeResponse, SubscriptionMessage>(bytes),
        4 => drop(decode::<proto::GetStreamResponse, StreamInfo>(bytes)),
        5 => drop(decode::<proto::ListStreamsResponse, StreamPage>(bytes)),
        6 => both_ways::<proto::StatsResponse, StoreStats>(bytes),
        7 => both_ways::<proto::Appended, Appended>(bytes),
        9 => both_ways::<proto::GroupInfo, GroupInfo>(bytes),
        10 => both_ways::<proto::GroupDelivery, GroupDelivery>(bytes),
        11 => both_ways::<proto::ListParkedResponse, ParkedPage>(bytes),
        _ => {
            let details = Bytes::copy_from_slice(bytes);
            let status = Status::with_details(Code::Unknown, "", details);
            drop(status::to_error(&status, "server"));
        }
    }
}

/// What the bytes say, if they are such a message and say something valid.
fn decode<M: Message + Default, T: TryFrom<M>>(bytes: &[u8]) -> Option<T> {
    let message = M::decode(Bytes::copy_from_slice(bytes)).ok()?;
    T::try_from(message).ok()
}

fn both_ways<M, T>(bytes: &[u8])
where
    M: Message + Default + From<T>,
    T: TryFrom<M, Error: Debug> + Clone + PartialEq + Debug,
{
    let Some(value) = decode::<M, T>(bytes) else {
        return;
    };
    let written = M::from(value.clone()).encode_to_vec();
    let again = decode::<M, T>(&written);
    assert_eq!(again.as_ref(), Some(&value), "it comes back as another");
}

fn append(bytes: &[u8]) {
    let Some(append) = decode::<proto::AppendRequest, Append>(bytes) else {
        return;
    };
    let written = proto::AppendRequest::try_from(&append).expect("it came as a request");
    let again = decode::<proto::AppendRequest, Append>(&written.encode_to_vec());
    assert_eq!(again.as_ref(), Some(&append), "it comes back as another");
    let mut session = SessionDecoder::default();
    let requests = session_requests(1, &append).expect("it came as a request");
    let mut whole = None;
    for request in requests {
        whole = session.push(request).expect("the session is well made");
    }
    let whole = whole.expect("the last part ends it").append;
    assert_eq!(whole.ok(), Some(append), "a session makes another of it");
}

fn import(bytes: &[u8]) {
    let Some(import) = decode::<proto::ImportRequest, Append>(bytes) else {
        return;
    };
    let written = proto::ImportRequest::try_from(&import).expect("it came as a request");
    let again = decode::<proto::ImportRequest, Append>(&written.encode_to_vec());
    assert_eq!(again, Some(import), "it comes back as another");
}

/// Requests of one session, each after a byte that says how long it is.
fn session(mut bytes: &[u8]) {
    let mut session = SessionDecoder::default();
    while let Some((length, rest)) = bytes.split_first() {
        let (request, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        let Ok(request) = proto::AppendSessionRequest::decode(request) else {
            continue;
        };
        if session.push(request).is_err() {
            return;
        }
    }
}
