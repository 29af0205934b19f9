//! Projections: those of the system are always on, those of users keep their books.

use crate::support::{Door, check_status};
use futures::StreamExt;
use icecore_kurrent::Kurrent;
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::projections as proto;
use proto::create_req::options::{Continuous, Mode, Transient};
use proto::projections_client::ProjectionsClient;
use proto::statistics_req::options::Mode as Asked;
use proto::{create_req, delete_req, disable_req, enable_req, reset_req, result_req, state_req};
use proto::{statistics_req, update_req};
use tonic::{Code, Status};

const EMPTY: shared::Empty = shared::Empty {};

const SYSTEM: [&str; 5] = [
    "$by_category",
    "$by_event_type",
    "$by_correlation_id",
    "$streams",
    "$stream_by_category",
];

fn client(door: &Door) -> ProjectionsClient<Kurrent> {
    ProjectionsClient::new(door.kurrent.clone())
}

fn continuous(name: &str) -> Mode {
    Mode::Continuous(Continuous {
        name: name.to_owned(),
        emit_enabled: true,
        track_emitted_streams: false,
    })
}

async fn create(door: &Door, mode: Mode) -> Result<(), Status> {
    let options = Some(create_req::Options {
        mode: Some(mode),
        query: "fromAll()".to_owned(),
        ..create_req::Options::default()
    });
    let created = client(door).create(proto::CreateReq { options }).await;
    created.map(drop)
}

async fn delete(door: &Door, name: &str) -> Result<(), Status> {
    let options = Some(delete_req::Options {
        name: name.to_owned(),
        ..delete_req::Options::default()
    });
    let deleted = client(door).delete(proto::DeleteReq { options }).await;
    deleted.map(drop)
}

async fn disable(door: &Door, name: &str, write_checkpoint: bool) -> Result<(), Status> {
    let options = Some(disable_req::Options {
        name: name.to_owned(),
        write_checkpoint,
    });
    let disabled = client(door).disable(proto::DisableReq { options }).await;
    disabled.map(drop)
}

async fn enable(door: &Door, name: &str) -> Result<(), Status> {
    let name = name.to_owned();
    let options = Some(enable_req::Options { name });
    let enabled = client(door).enable(proto::EnableReq { options }).await;
    enabled.map(drop)
}

async fn reset(door: &Door, name: &str) -> Result<(), Status> {
    let options = Some(reset_req::Options {
        name: name.to_owned(),
        write_checkpoint: false,
    });
    let reset = client(door).reset(proto::ResetReq { options }).await;
    reset.map(drop)
}

async fn update(door: &Door, name: &str) -> Result<(), Status> {
    let options = Some(update_req::Options {
        name: name.to_owned(),
        query: "fromStream('s')".to_owned(),
        ..update_req::Options::default()
    });
    let updated = client(door).update(proto::UpdateReq { options }).await;
    updated.map(drop)
}

async fn details(door: &Door, mode: Asked) -> Result<Vec<proto::statistics_resp::Details>, Status> {
    let options = Some(statistics_req::Options { mode: Some(mode) });
    let request = proto::StatisticsReq { options };
    let answers = client(door).statistics(request).await?.into_inner();
    let details = answers.map(|answer| answer.map(|answer| answer.details.unwrap()));
    details.collect::<Vec<_>>().await.into_iter().collect()
}

async fn names(door: &Door, mode: Asked) -> Vec<String> {
    let details = details(door, mode).await.unwrap().into_iter();
    details.map(|details| details.name).collect()
}

async fn details_of(door: &Door, name: &str) -> Result<proto::statistics_resp::Details, Status> {
    let mut found = details(door, Asked::Name(name.to_owned())).await?;
    assert_eq!(found.len(), 1);
    Ok(found.remove(0))
}

async fn status(door: &Door, name: &str) -> String {
    details_of(door, name).await.unwrap().status
}

#[tokio::test]
async fn those_of_the_system_are_always_on() {
    let door = Door::open().await;
    door.put("s", &[1, 2]).await;
    assert_eq!(names(&door, Asked::All(EMPTY)).await, SYSTEM);
    for name in SYSTEM {
        let details = details_of(&door, name).await.unwrap();
        assert_eq!(details.status, "Running");
        assert_eq!(details.position, "2");
        enable(&door, name).await.unwrap();
        reset(&door, name).await.unwrap();
        for refused in [
            disable(&door, name, true).await,
            update(&door, name).await,
            delete(&door, name).await,
        ] {
            let refused = refused.unwrap_err();
            check_status(&refused, Code::FailedPrecondition, &[]);
            assert!(refused.message().contains("always on"), "{refused:?}");
        }
        let taken = create(&door, continuous(name)).await.unwrap_err();
        check_status(&taken, Code::AlreadyExists, &[]);
    }
}

#[tokio::test]
async fn each_mode_is_listed_among_its_own() {
    let door = Door::open().await;
    create(&door, continuous("a")).await.unwrap();
    let name = "b".to_owned();
    let transient = Mode::Transient(Transient { name });
    create(&door, transient).await.unwrap();
    create(&door, Mode::OneTime(EMPTY)).await.unwrap();
    assert_eq!(
        names(&door, Asked::All(EMPTY)).await.len(),
        SYSTEM.len() + 3
    );
    assert_eq!(names(&door, Asked::Transient(EMPTY)).await, ["b"]);
    let one_time = details(&door, Asked::OneTime(EMPTY)).await.unwrap();
    assert_eq!(one_time.len(), 1);
    assert_eq!(one_time[0].mode, "OneTime");
    let continuous = names(&door, Asked::Continuous(EMPTY)).await;
    assert_eq!(continuous[SYSTEM.len()..], ["a"]);
}

#[tokio::test]
async fn a_users_projection_is_switched_and_outlives_the_server() {
    let door = Door::open().await;
    create(&door, continuous("p")).await.unwrap();
    let again = create(&door, continuous("p")).await.unwrap_err();
    check_status(&again, Code::AlreadyExists, &[]);
    let details = details_of(&door, "p").await.unwrap();
    assert_eq!(
        (details.status.as_str(), details.mode.as_str()),
        ("Running", "Continuous")
    );
    assert!(details.state_reason.contains("not run"), "{details:?}");
    disable(&door, "p", true).await.unwrap();
    assert_eq!(status(&door, "p").await, "Stopped");
    enable(&door, "p").await.unwrap();
    assert_eq!(status(&door, "p").await, "Running");
    disable(&door, "p", false).await.unwrap();
    assert_eq!(status(&door, "p").await, "Aborted/Stopped");
    update(&door, "p").await.unwrap();
    reset(&door, "p").await.unwrap();
    let door = door.reopen().await;
    let details = details_of(&door, "p").await.unwrap();
    assert_eq!((details.version, details.epoch), (1, 1));
    assert_eq!(details.status, "Aborted/Stopped");
}

#[tokio::test]
async fn only_what_is_switched_off_is_deleted() {
    let door = Door::open().await;
    create(&door, continuous("p")).await.unwrap();
    let running = delete(&door, "p").await.unwrap_err();
    check_status(&running, Code::FailedPrecondition, &[]);
    disable(&door, "p", true).await.unwrap();
    delete(&door, "p").await.unwrap();
    assert_eq!(names(&door, Asked::All(EMPTY)).await, SYSTEM);
    let gone = details_of(&door, "p").await.unwrap_err();
    check_status(&gone, Code::NotFound, &[]);
    // The name is free again.
    create(&door, continuous("p")).await.unwrap();
    assert_eq!(details_of(&door, "p").await.unwrap().version, 0);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let door = Door::open().await;
    for missing in [
        delete(&door, "p").await,
        update(&door, "p").await,
        enable(&door, "p").await,
        disable(&door, "p", true).await,
        reset(&door, "p").await,
        details_of(&door, "p").await.map(drop),
    ] {
        check_status(&missing.unwrap_err(), Code::NotFound, &[]);
    }
}

#[tokio::test]
async fn there_is_no_state_and_the_answer_says_what_to_do_instead() {
    let door = Door::open().await;
    create(&door, continuous("p")).await.unwrap();
    for (name, code) in [
        ("p", Code::Unimplemented),
        ("$by_category", Code::Unimplemented),
        ("none", Code::NotFound),
    ] {
        let name = name.to_owned();
        let partition = String::new();
        let options = Some(state_req::Options {
            name: name.clone(),
            partition: partition.clone(),
        });
        let state = client(&door).state(proto::StateReq { options }).await;
        check_status(&state.unwrap_err(), code, &[]);
        let options = Some(result_req::Options {
            name: name.clone(),
            partition,
        });
        let result = client(&door).result(proto::ResultReq { options }).await;
        let result = result.unwrap_err();
        check_status(&result, code, &[]);
        assert_eq!(result.message().contains("subscribe"), name == "p");
    }
    client(&door).restart_subsystem(EMPTY).await.unwrap();
}

#[tokio::test]
async fn a_projection_has_a_name_and_a_call_its_options() {
    let door = Door::open().await;
    for name in ["", "$all"] {
        let refused = create(&door, continuous(name)).await.unwrap_err();
        check_status(&refused, Code::InvalidArgument, &[]);
    }
    let empty = client(&door).create(proto::CreateReq::default()).await;
    check_status(&empty.unwrap_err(), Code::InvalidArgument, &[]);
    let options = Some(statistics_req::Options { mode: None });
    let request = proto::StatisticsReq { options };
    let unsaid = client(&door).statistics(request).await.unwrap_err();
    check_status(&unsaid, Code::InvalidArgument, &[]);
}
