//! Bytes that nobody meant as a message. Half of them are made from a valid message with a few bytes
//! changed, since pure noise seldom gets past the first field.

use super::strategies::{append, recorded_event, refusal};
use crate::{
    AppendCall, ConsumeMessage, Delete, ListCategories, ListParked, ReadMessage, ReplayParked,
    SessionAnswer, SessionDecoder, SetStreamMetadata, Truncate, append_response, proto,
    session_requests, status,
};
use bytes::Bytes;
use icecore_core::{
    Append, Appended, Error, Group, GroupDelivery, GroupId, GroupInfo, GroupSettings, ListStreams,
    ParkedPage, ParkedRange, Read, ReadBatch, StoreStats, StreamInfo, StreamName, StreamPage,
    Subscribe, SubscriptionMessage,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use tonic::{Code, Status};

/// Decodes the bytes as `M` and, if that works, converts it to `T`. Neither may panic.
fn take<M: Message + Default, T: TryFrom<M>>(bytes: &[u8]) {
    if let Ok(message) = M::decode(Bytes::copy_from_slice(bytes)) {
        let _ = T::try_from(message);
    }
}

fn take_as_everything(bytes: &[u8]) {
    take::<proto::AppendRequest, Append>(bytes);
    take::<proto::AppendRequest, AppendCall>(bytes);
    take::<proto::CreateGroupRequest, Group>(bytes);
    take::<proto::UpdateGroupRequest, (GroupId, GroupSettings)>(bytes);
    take::<proto::GroupInfo, GroupInfo>(bytes);
    take::<proto::ConsumeRequest, ConsumeMessage>(bytes);
    take::<proto::GroupDelivery, GroupDelivery>(bytes);
    take::<proto::ListParkedRequest, ListParked>(bytes);
    take::<proto::ListParkedResponse, ParkedPage>(bytes);
    take::<proto::ReplayParkedRequest, ReplayParked>(bytes);
    take::<proto::DiscardParkedRequest, (GroupId, ParkedRange)>(bytes);
    take::<proto::AppendResponse, Appended>(bytes);
    take::<proto::AppendSessionResponse, SessionAnswer>(bytes);
    take::<proto::ImportRequest, Append>(bytes);
    take::<proto::ReadRequest, Read>(bytes);
    take::<proto::ReadResponse, ReadMessage>(bytes);
    take::<proto::SubscribeRequest, Subscribe>(bytes);
    take::<proto::SubscribeResponse, SubscriptionMessage>(bytes);
    take::<proto::GetStreamRequest, StreamName>(bytes);
    take::<proto::GetStreamResponse, StreamInfo>(bytes);
    take::<proto::ListStreamsRequest, ListStreams>(bytes);
    take::<proto::ListStreamsResponse, StreamPage>(bytes);
    take::<proto::ListCategoriesRequest, ListCategories>(bytes);
    take::<proto::SetStreamMetadataRequest, SetStreamMetadata>(bytes);
    take::<proto::TruncateRequest, Truncate>(bytes);
    take::<proto::DeleteRequest, Delete>(bytes);
    take::<proto::StatsResponse, StoreStats>(bytes);
    if let Ok(request) = proto::AppendSessionRequest::decode(bytes) {
        let _ = SessionDecoder::default().push(request);
    }
    let details = Bytes::copy_from_slice(bytes);
    let _ = status::to_error(&Status::with_details(Code::Unknown, "", details), "server");
}

fn damage(mut bytes: Vec<u8>, changes: Vec<(prop::sample::Index, u8)>) -> Vec<u8> {
    for (at, byte) in changes {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    vec(any::<(prop::sample::Index, u8)>(), 1..4)
}

proptest! {
    #[test]
    fn noise(bytes in vec(any::<u8>(), 0..200)) {
        take_as_everything(&bytes);
    }

    #[test]
    fn damaged_appends(append in append(false), changes in changes()) {
        let request = session_requests(1, &append).unwrap().remove(0);
        take_as_everything(&damage(request.append.unwrap().encode_to_vec(), changes));
    }

    #[test]
    fn damaged_pages(events in vec(recorded_event(), 1..4), changes in changes()) {
        let batch = ReadBatch { events, last_position: icecore_core::Position::START };
        let page = proto::ReadResponse::from(ReadMessage { store_id: None, batch });
        take_as_everything(&damage(page.encode_to_vec(), changes));
    }

    #[test]
    fn damaged_refusals(refusal in refusal(), changes in changes()) {
        let refused = || Error::Refused(Box::new(refusal.clone()));
        let response = append_response(Err(refused()), 1).unwrap();
        take_as_everything(&damage(response.encode_to_vec(), changes.clone()));
        let details = status::from_error(refused()).details().to_vec();
        take_as_everything(&damage(details, changes));
    }
}
