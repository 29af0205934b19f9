//! A process manager: events in, commands out, timeouts, each once in effect.

use futures::future::BoxFuture;
use icecore_client::{
    Aggregate, BoxError, Changes, Client, Context, Dispatch, Error, Event, ExpectedRevision,
    GroupId, GroupName, GroupSettings, ProcessManager, ProcessRunner, Reaction, RecordedEvent,
    Repository, Revision, StreamName, VirtualClock, encode, given_process, new_event_id,
};
use icecore_testing::TestServer;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const DAY: Duration = Duration::from_secs(86_400);

/// What others do to orders.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    OrderPlaced { email: String },
    OrderPaid,
}

impl Event for OrderEvent {}

/// Confirms orders, and reminds those who do not pay within a day: twice, then it gives up.
#[derive(Default)]
struct Confirmation {
    email: Option<String>,
    reminded: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum ConfirmationEvent {
    Begun { email: String },
    Reminded,
    Paid,
    GivenUp,
}

impl Event for ConfirmationEvent {}

#[derive(Debug, PartialEq)]
enum Mail {
    Confirm { to: String },
    Remind { to: String },
}

impl ProcessManager for Confirmation {
    const NAME: &'static str = "confirmation";
    type Input = OrderEvent;
    type Event = ConfirmationEvent;
    type Command = Mail;

    fn process_of(_: &OrderEvent, recorded: &RecordedEvent) -> Option<String> {
        Some(recorded.stream.as_str().replace("order-", ""))
    }

    fn apply(&mut self, event: &ConfirmationEvent) {
        match event {
            ConfirmationEvent::Begun { email } => self.email = Some(email.clone()),
            ConfirmationEvent::Reminded => self.reminded += 1,
            ConfirmationEvent::Paid | ConfirmationEvent::GivenUp => self.email = None,
        }
    }

    fn react(&self, _: &str, event: &OrderEvent) -> Reaction<Self> {
        match event {
            OrderEvent::OrderPlaced { email } => Reaction::new()
                .record(ConfirmationEvent::Begun {
                    email: email.clone(),
                })
                .send(Mail::Confirm { to: email.clone() })
                .timeout("payment", DAY),
            OrderEvent::OrderPaid => Reaction::new()
                .record(ConfirmationEvent::Paid)
                .cancel("payment"),
        }
    }

    fn timed_out(&self, _: &str, _: &str) -> Reaction<Self> {
        match &self.email {
            Some(email) if self.reminded < 2 => Reaction::new()
                .record(ConfirmationEvent::Reminded)
                .send(Mail::Remind { to: email.clone() })
                .timeout("payment", DAY),
            Some(_) => Reaction::new().record(ConfirmationEvent::GivenUp),
            None => Reaction::new(),
        }
    }
}

/// Mails to somebody, one after the other.
#[derive(Default)]
struct Mailbox;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum MailboxEvent {
    Confirmed,
    Reminder,
}

impl Event for MailboxEvent {}

impl Aggregate for Mailbox {
    const CATEGORY: &'static str = "mailbox";
    type Event = MailboxEvent;
    type Command = Mail;
    type Error = Infallible;

    fn apply(&mut self, _: &MailboxEvent) {}

    fn handle(&self, mail: &Mail) -> Result<Vec<MailboxEvent>, Infallible> {
        Ok(vec![match mail {
            Mail::Confirm { .. } => MailboxEvent::Confirmed,
            Mail::Remind { .. } => MailboxEvent::Reminder,
        }])
    }
}

struct Mailboxes(Repository<Mailbox>);

impl Dispatch<Mail> for Mailboxes {
    async fn dispatch(&self, mail: &Mail, context: &Context) -> Result<Vec<Changes>, BoxError> {
        let (Mail::Confirm { to } | Mail::Remind { to }) = mail;
        if to == "nobody" {
            return Err("there is no such address".into());
        }
        let mut mailbox = self.0.load(to).await?;
        mailbox.handle(mail)?;
        Ok(vec![mailbox.changes(context)?])
    }
}

fn mailboxes(client: &Client) -> Mailboxes {
    Mailboxes(Repository::new(client.clone()))
}

/// A runner in the background.
struct Running {
    task: JoinHandle<Result<(), Error>>,
    stop: oneshot::Sender<()>,
}

fn start(runner: ProcessRunner<Confirmation, Mailboxes>) -> Running {
    let (stop, stopped) = oneshot::channel();
    let run = runner.run(async move { drop(stopped.await) });
    let task = tokio::spawn(Box::pin(run) as BoxFuture<'static, _>);
    Running { task, stop }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

async fn happens(client: &Client, order: impl std::fmt::Display, event: &OrderEvent) {
    let stream = StreamName::new(format!("order-{order}")).unwrap();
    let event = encode(event, new_event_id(), &Context::new()).unwrap();
    let any = ExpectedRevision::Any;
    client.append(&stream, any, [event]).await.unwrap();
}

fn placed(email: &str) -> OrderEvent {
    OrderEvent::OrderPlaced {
        email: email.into(),
    }
}

async fn types(client: &Client, stream: &str) -> Vec<String> {
    let stream = StreamName::new(stream).unwrap();
    let events = client.read_stream(&stream).await.unwrap_or_default();
    events
        .iter()
        .map(|event| event.event_type.to_string())
        .collect()
}

/// Waits until a stream has so many events, and gives their types.
async fn wait_for(client: &Client, stream: &str, count: usize) -> Vec<String> {
    loop {
        let types = types(client, stream).await;
        if types.len() >= count {
            return types;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_event_leads_to_records_and_commands_in_one_append() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let running = start(ProcessRunner::new(client.clone(), mailboxes(&client)).workers(3));
    happens(&client, 1, &placed("anna")).await;
    happens(&client, 2, &placed("berta")).await;
    assert_eq!(wait_for(&client, "mailbox-anna", 1).await, ["Confirmed"]);
    assert_eq!(wait_for(&client, "mailbox-berta", 1).await, ["Confirmed"]);
    let order = client
        .read_stream(&StreamName::new("order-1").unwrap())
        .await
        .unwrap();
    for stream in ["confirmation-1", "mailbox-anna"] {
        let caused = client
            .read_stream(&StreamName::new(stream).unwrap())
            .await
            .unwrap();
        let context = Context::of(&caused[0]);
        assert_eq!(context.causation(), Some(order[0].id.to_string().as_str()));
    }
    running.stop().await;
    // What happens meanwhile is done later, what was done is not done again.
    happens(&client, 3, &placed("anna")).await;
    let running = start(ProcessRunner::new(client.clone(), mailboxes(&client)));
    wait_for(&client, "confirmation-3", 1).await;
    assert_eq!(
        types(&client, "mailbox-anna").await,
        ["Confirmed", "Confirmed"]
    );
    running.stop().await;
}

#[tokio::test]
async fn timeouts_elapse_once_and_are_cancelled() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let time = VirtualClock::at_system_time();
    let runner = || ProcessRunner::new(client.clone(), mailboxes(&client)).clock(time.clock());
    let running = [start(runner()), start(runner().workers(2))];
    happens(&client, 1, &placed("anna")).await;
    happens(&client, 2, &placed("berta")).await;
    wait_for(&client, "confirmation-1", 1).await;
    wait_for(&client, "confirmation-2", 1).await;
    happens(&client, 2, &OrderEvent::OrderPaid).await;
    wait_for(&client, "confirmation-2", 2).await;
    let mut expected = vec!["Begun"];
    for next in ["Reminded", "Reminded", "GivenUp"] {
        assert_eq!(types(&client, "confirmation-1").await, expected);
        time.advance(DAY + DAY / 2);
        expected.push(next);
        assert_eq!(
            wait_for(&client, "confirmation-1", expected.len()).await,
            expected
        );
    }
    assert_eq!(
        types(&client, "mailbox-anna").await,
        ["Confirmed", "Reminder", "Reminder"]
    );
    assert_eq!(types(&client, "confirmation-2").await, ["Begun", "Paid"]);
    assert_eq!(
        types(&client, "$timeout_confirmation-2/payment").await,
        ["$timeoutSet", "$timeoutCancelled"]
    );
    for running in running {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_timeout_elapses_although_nobody_was_there_when_it_was_due() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let time = VirtualClock::at_system_time();
    let runner = || ProcessRunner::new(client.clone(), mailboxes(&client)).clock(time.clock());
    let running = start(runner());
    happens(&client, 1, &placed("anna")).await;
    wait_for(&client, "confirmation-1", 1).await;
    running.stop().await;
    time.advance(2 * DAY);
    let running = start(runner());
    wait_for(&client, "confirmation-1", 2).await;
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_fails_again_and_again_is_parked_and_others_flow_on() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let settings = GroupSettings {
        max_retry_count: 2,
        ..GroupSettings::default()
    };
    let runner = ProcessRunner::new(client.clone(), mailboxes(&client)).settings(settings);
    let running = start(runner);
    happens(&client, 1, &placed("nobody")).await;
    happens(&client, 2, &placed("berta")).await;
    wait_for(&client, "mailbox-berta", 1).await;
    let group = GroupId::of_all(GroupName::new("confirmation").unwrap());
    let parked = loop {
        let page = client
            .parked_events(&group, Revision::FIRST, 0)
            .await
            .unwrap();
        match page.events.into_iter().next() {
            Some(parked) => break parked,
            None => sleep(Duration::from_millis(10)).await,
        }
    };
    assert!(
        parked.reason.contains("there is no such address"),
        "{parked:?}"
    );
    assert!(types(&client, "confirmation-1").await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_group_that_was_made_for_other_events_is_refused() {
    /// The same manager, which listens to less.
    #[derive(Default)]
    struct Smaller;

    #[derive(Serialize, Deserialize)]
    enum Paid {
        OrderPaid,
    }

    impl Event for Paid {}

    impl ProcessManager for Smaller {
        const NAME: &'static str = Confirmation::NAME;
        type Input = Paid;
        type Event = ConfirmationEvent;
        type Command = Mail;

        fn process_of(_: &Paid, _: &RecordedEvent) -> Option<String> {
            None
        }

        fn apply(&mut self, _: &ConfirmationEvent) {}

        fn react(&self, _: &str, _: &Paid) -> Reaction<Self> {
            Reaction::new()
        }
    }

    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let runner = ProcessRunner::<Confirmation, _>::new(client.clone(), mailboxes(&client));
    runner.run(async {}).await.unwrap();
    let smaller = ProcessRunner::<Smaller, _>::new(client.clone(), mailboxes(&client));
    let error = smaller.run(std::future::pending()).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("was made for other events"), "{error}");
}

#[test]
fn a_reaction_without_a_store() {
    let begun = || ConfirmationEvent::Begun {
        email: "anna".into(),
    };
    let remind = || Mail::Remind { to: "anna".into() };
    given_process::<Confirmation>("1", [begun()])
        .when(&OrderEvent::OrderPaid)
        .then(
            Reaction::new()
                .timeout("payment", DAY)
                .record(ConfirmationEvent::Paid)
                .cancel("payment"),
        );
    let reminded = given_process::<Confirmation>("1", [begun()]).when_timed_out("payment");
    let expected = || {
        Reaction::new()
            .record(ConfirmationEvent::Reminded)
            .timeout("payment", DAY)
    };
    assert_ne!(reminded, expected());
    assert_ne!(reminded, expected().send(Mail::Remind { to: "b".into() }));
    assert_ne!(
        reminded,
        expected().send(remind()).timeout("payment", 2 * DAY)
    );
    reminded.then(expected().send(remind()));
    let given = [
        begun(),
        ConfirmationEvent::Reminded,
        ConfirmationEvent::GivenUp,
    ];
    let given = given_process::<Confirmation>("1", given);
    assert_eq!((given.state().reminded, &given.state().email), (1, &None));
    given.when_timed_out("payment").then(Reaction::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_order_is_confirmed_once_whoever_dies() {
    const ORDERS_BETWEEN: u64 = 13;
    const KILLS: u64 = 12;
    let mut server = TestServer::start().await;
    let client = server.client();
    let settings = GroupSettings {
        message_timeout: Duration::from_secs(2),
        ..GroupSettings::default()
    };
    let runner = || {
        let runner = ProcessRunner::new(client.clone(), mailboxes(&client)).workers(3);
        start(runner.settings(settings.clone()))
    };
    let mut random = fastrand::Rng::with_seed(7);
    let mut running = runner();
    for round in 0..KILLS {
        for order in 0..ORDERS_BETWEEN {
            let order = round * ORDERS_BETWEEN + order;
            happens(&client, order, &placed(&format!("a{}", order % 7))).await;
        }
        sleep(Duration::from_millis(random.u64(0..60))).await;
        running.task.abort();
        if round % 4 == 3 {
            server.restart().await;
        }
        running = runner();
    }
    let orders = KILLS * ORDERS_BETWEEN;
    for order in 0..orders {
        let begun = wait_for(&client, &format!("confirmation-{order}"), 1).await;
        assert_eq!(begun, ["Begun"], "order {order}");
    }
    let mails = client.read_all().types(["Confirmed"]).await.unwrap();
    assert_eq!(mails.len() as u64, orders);
    running.stop().await;
}
