//! Decisions over several streams.

use futures::future::join_all;
use icecore_client::{
    Client, Context, Decided, Decision, Event, EventType, ExecuteError, ExpectedRevision, Query,
    QueryItem, Result, RetryPolicy, StreamName, Tag, encode, given_found, new_event_id,
};
use icecore_testing::TestServer;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use uuid::Uuid;

/// What a student who enrols has to know: a course has so many seats, and a student takes part in three
/// courses at most.
#[derive(Debug, Default)]
struct School {
    seats: usize,
    taken: usize,
    courses_of_student: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SchoolEvent {
    CourseOpened { course: String, seats: usize },
    Enrolled { course: String, student: String },
}

impl Event for SchoolEvent {
    fn tags(&self) -> Vec<String> {
        match self {
            Self::CourseOpened { course, .. } => vec![format!("course:{course}")],
            Self::Enrolled { course, student } => {
                vec![format!("course:{course}"), format!("student:{student}")]
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Enrol {
    course: String,
    student: String,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum EnrolError {
    #[error("the course is full")]
    Full,
    #[error("the student has three courses")]
    TooMany,
}

const COURSES_MAX: usize = 3;

impl Decision for Enrol {
    type Event = SchoolEvent;
    type State = School;
    type Error = EnrolError;

    fn query(&self) -> Result<Query> {
        let tagged = |tag: String| -> Result<QueryItem> {
            let tags = vec![Tag::new(tag)?];
            Ok(QueryItem {
                types: vec![],
                tags,
            })
        };
        Query::new(vec![
            tagged(format!("course:{}", self.course))?,
            tagged(format!("student:{}", self.student))?,
        ])
    }

    fn apply(&self, school: &mut School, event: &SchoolEvent) {
        match event {
            SchoolEvent::CourseOpened { seats, .. } => school.seats += seats,
            SchoolEvent::Enrolled { course, student } => {
                school.taken += usize::from(*course == self.course);
                school.courses_of_student += usize::from(*student == self.student);
            }
        }
    }

    fn handle(&self, school: &School) -> Result<Vec<(String, SchoolEvent)>, EnrolError> {
        if school.taken >= school.seats {
            return Err(EnrolError::Full);
        }
        if school.courses_of_student >= COURSES_MAX {
            return Err(EnrolError::TooMany);
        }
        let Self { course, student } = self.clone();
        let stream = format!("course-{course}");
        Ok(vec![(stream, SchoolEvent::Enrolled { course, student })])
    }
}

fn enrol(course: &str, student: &str) -> Enrol {
    Enrol {
        course: course.into(),
        student: student.into(),
    }
}

fn opened(course: &str, seats: usize) -> SchoolEvent {
    SchoolEvent::CourseOpened {
        course: course.into(),
        seats,
    }
}

fn enrolled(course: &str, student: &str) -> SchoolEvent {
    SchoolEvent::Enrolled {
        course: course.into(),
        student: student.into(),
    }
}

const PATIENT: RetryPolicy = RetryPolicy {
    attempts_max: 1_000,
    ..RetryPolicy::CONFLICTS
};

async fn open(client: &Client, course: &str, seats: usize) {
    let stream = StreamName::new(format!("course-{course}")).unwrap();
    let event = encode(&opened(course, seats), new_event_id(), &Context::new()).unwrap();
    let none = ExpectedRevision::NoStream;
    client.append(&stream, none, [event]).await.unwrap();
}

#[test]
fn the_rule_without_a_store() {
    let command = enrol("a", "anna");
    given_found([], &command).then_refused(&EnrolError::Full);
    given_found([opened("a", 1)], &command).then([("course-a".into(), enrolled("a", "anna"))]);
    let full = [opened("a", 1), enrolled("a", "berta")];
    given_found(full, &command).then_refused(&EnrolError::Full);
    let busy = ["b", "c", "d"].map(|course| enrolled(course, "anna"));
    given_found([opened("a", 1)].into_iter().chain(busy), &command)
        .then_refused(&EnrolError::TooMany);
}

#[tokio::test]
async fn no_seat_is_given_twice_and_no_student_takes_too_many() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    for course in ["a", "b", "c", "d", "e"] {
        open(&client, course, 4).await;
    }
    let mut enrolments = Vec::new();
    for student in ["anna", "berta", "carla", "dora", "emma", "fanny"] {
        for course in ["a", "b", "c", "d", "e"] {
            enrolments.push(enrol(course, student));
        }
    }
    let all = enrolments
        .iter()
        .map(|enrol| client.decide(enrol).conflicts(PATIENT).into_future());
    for outcome in join_all(all).await {
        let refused = outcome.err();
        assert!(
            matches!(refused, None | Some(ExecuteError::Domain(_))),
            "{refused:?}"
        );
    }
    let events = client.read_all().types(["Enrolled"]).await.unwrap();
    let mut seats = HashMap::<String, usize>::new();
    for event in events {
        for tag in &event.tags {
            *seats.entry(tag.as_str().into()).or_default() += 1;
        }
    }
    // Thirty wishes, twenty seats; six students with three courses each are eighteen at most.
    for (tag, count) in &seats {
        let most = if tag.starts_with("course:") {
            4
        } else {
            COURSES_MAX
        };
        assert!(*count <= most, "{tag}: {count}");
    }
    assert!(seats.values().sum::<usize>() >= 2 * 15, "{seats:?}");
}

#[tokio::test]
async fn a_decision_that_comes_twice_is_made_once() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    open(&client, "a", 10).await;
    let anna = enrol("a", "anna");
    let context = || Context::new().command_id(Uuid::from_u128(7)).by("anna");
    let first = client.decide(&anna).context(context()).await.unwrap();
    assert!(matches!(first, Decided::Appended(..)));
    let again = client.decide(&anna).context(context()).await.unwrap();
    assert_eq!(again, Decided::DoneBefore);
    let events = client.read_all().types(["Enrolled"]).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(Context::of(&events[0]).user(), Some("anna"));
}

/// The first event there is ever.
struct Begin;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Begun {
    Begun { by: String },
}

impl Event for Begun {}

impl Decision for Begin {
    type Event = Begun;
    type State = u32;
    type Error = EnrolError;

    fn query(&self) -> Result<Query> {
        let types = vec![EventType::new("Begun")?];
        Query::new(vec![QueryItem {
            types,
            tags: vec![],
        }])
    }

    fn apply(&self, begun: &mut u32, _: &Begun) {
        *begun += 1;
    }

    fn handle(&self, begun: &u32) -> Result<Vec<(String, Begun)>, EnrolError> {
        match begun {
            0 => Ok(["a-1", "a-2", "a-1"]
                .map(|stream| (stream.into(), Begun::Begun { by: stream.into() }))
                .into()),
            1..4 => Err(EnrolError::TooMany),
            _ => Ok(vec![]),
        }
    }
}

#[tokio::test]
async fn of_many_who_want_to_be_first_one_is() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let all = (0..20).map(|_| client.decide(&Begin).into_future());
    let outcomes = join_all(all).await;
    let first = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Decided::Appended(events, _)) if events.len() == 3));
    assert_eq!(first.count(), 1);
    let refused = |outcome: &_| matches!(outcome, Err(ExecuteError::Domain(EnrolError::TooMany)));
    assert_eq!(
        outcomes.iter().filter(|outcome| refused(outcome)).count(),
        19
    );
    let events = client.read_all().types(["Begun"]).await.unwrap();
    let streams: Vec<_> = events.iter().map(|event| event.stream.as_str()).collect();
    assert_eq!(streams, ["a-1", "a-2", "a-1"]);
    // One more, in a stream of the system, and the rule has nothing to say any more.
    let stream = StreamName::new("$begun-3").unwrap();
    let by = "a-3".into();
    let event = encode(&Begun::Begun { by }, new_event_id(), &Context::new()).unwrap();
    let none = ExpectedRevision::NoStream;
    client.append(&stream, none, [event]).await.unwrap();
    let nothing = client.decide(&Begin).await.unwrap();
    assert_eq!(nothing, Decided::Nothing);
}

#[tokio::test]
async fn the_attempts_at_a_decision_are_limited() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let all = (0..40).map(|_| {
        client
            .decide(&Begin)
            .conflicts(RetryPolicy::NEVER)
            .into_future()
    });
    let outcomes = join_all(all).await;
    let lost = |outcome: &_| matches!(outcome, Err(ExecuteError::Conflict { attempts: 1, .. }));
    assert!(outcomes.iter().any(lost), "{outcomes:?}");
}
