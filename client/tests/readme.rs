//! The program that README.md teaches, as a whole: it runs here, and every sample of the README is a part
//! of it, line for line.

// A program for a terminal prints.
#![allow(clippy::print_stdout)]

use icecore_client::{Client, ExpectedRevision, RecordedEventExt, StreamName, json_event};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Deposited {
    cents: u64,
}

async fn append_and_read(client: &Client) -> icecore_client::Result<()> {
    let account = StreamName::new("account-anna")?;
    let deposited = json_event("Deposited", &Deposited { cents: 500 })?;
    let new = ExpectedRevision::NoStream;
    client.append(&account, new, [deposited]).await?;

    let mut balance = 0;
    for event in client.read_stream(&account).await? {
        balance += event.json::<Deposited>()?.cents;
    }
    println!("{balance} cents");
    Ok(())
}

use icecore_client::{Aggregate, Event};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    Deposited { cents: u64 },
    Withdrawn { cents: u64 },
}

impl Event for AccountEvent {}

enum AccountCommand {
    Deposit { cents: u64 },
    Withdraw { cents: u64 },
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the account holds {0} cents only")]
struct NotEnough(u64);

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
}

impl Aggregate for Account {
    const CATEGORY: &str = "account";
    type Event = AccountEvent;
    type Command = AccountCommand;
    type Error = NotEnough;

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { cents } => self.balance += cents,
            AccountEvent::Withdrawn { cents } => self.balance -= cents,
        }
    }

    fn handle(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, NotEnough> {
        let balance = self.balance;
        Ok(vec![match *command {
            AccountCommand::Deposit { cents } => AccountEvent::Deposited { cents },
            AccountCommand::Withdraw { cents } if cents > balance => {
                return Err(NotEnough(balance));
            }
            AccountCommand::Withdraw { cents } => AccountEvent::Withdrawn { cents },
        }])
    }
}

use icecore_client::{Context, ExecuteError, Repository};

async fn pay_rent(client: &Client) -> Result<(), ExecuteError<NotEnough>> {
    let accounts = Repository::<Account>::new(client.clone());
    let rent = AccountCommand::Withdraw { cents: 200 };
    let context = Context::new().by("anna").because("rent of May");
    match accounts.execute("anna", &rent).context(context).await {
        Ok(paid) => println!("{} cents are left", paid.state.balance),
        Err(ExecuteError::Domain(NotEnough(cents))) => println!("{cents} cents are not enough"),
        Err(error) => return Err(error),
    }
    Ok(())
}

use icecore_client::{BoxError, MemoryTransaction, Projection, RecordedEvent};
use std::collections::BTreeMap;

type Model = MemoryTransaction<BTreeMap<String, u64>>;

struct Balances;

impl Projection<Model> for Balances {
    type Event = AccountEvent;

    fn name(&self) -> &'static str {
        "balances"
    }

    async fn handle(
        &self,
        balances: &mut Model,
        event: AccountEvent,
        recorded: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let account = recorded.stream.to_string();
        let balance = balances.entry(account).or_default();
        match event {
            AccountEvent::Deposited { cents } => *balance += cents,
            AccountEvent::Withdrawn { cents } => *balance -= cents,
        }
        Ok(())
    }
}

use icecore_client::{MemorySink, ProjectionError, ProjectionRunner};

async fn show_balances(client: &Client) -> Result<(), ProjectionError> {
    let sink = MemorySink::new();
    let balances = ProjectionRunner::new(client.clone(), sink.clone(), Balances).start();
    balances.caught_up().await;
    let model = sink.model("balances").unwrap_or_default();
    for (account, cents) in model.iter() {
        println!("{account}: {cents}");
    }
    balances.stop().await
}

use icecore_client::{Snapshot, SnapshotPolicy};

impl Snapshot for Account {}

fn accounts(client: &Client) -> Repository<Account> {
    Repository::new(client.clone()).snapshots(SnapshotPolicy::every(100))
}

mod currencies {
    use icecore_client::{Event, Upcast, decode_sample};
    use serde::{Deserialize, Serialize};
    use serde_json::Value;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum AccountEvent {
        Deposited { cents: u64, currency: String },
        Withdrawn { cents: u64, currency: String },
    }

    impl Event for AccountEvent {
        const UPCASTS: &[Upcast] = &[
            Upcast::version("Deposited", 1, in_euros),
            Upcast::version("Withdrawn", 1, in_euros),
        ];
    }

    fn in_euros(mut data: Value) -> Result<Value, String> {
        let fields = data.as_object_mut().ok_or("is no object")?;
        fields.insert("currency".into(), "EUR".into());
        Ok(data)
    }

    #[test]
    fn old_deposits_are_in_euros() -> icecore_client::Result<()> {
        let old = decode_sample("Deposited", 1, r#"{"cents": 500}"#)?;
        let (cents, currency) = (500, "EUR".into());
        assert_eq!(old, Some(AccountEvent::Deposited { cents, currency }));
        Ok(())
    }
}

use icecore_client::{ProcessManager, Reaction};
use std::time::Duration;

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// So much is saved into this account, every month.
#[derive(Clone, Serialize, Deserialize)]
struct Plan {
    account: String,
    cents: u64,
}

/// What the process listens to. Somebody appends it to streams like `plan-7`.
#[derive(Clone, Serialize, Deserialize)]
enum PlanEvent {
    PlanMade(Plan),
    PlanEnded,
}

impl Event for PlanEvent {}

/// What the process remembers, in streams of its own.
#[derive(Serialize, Deserialize)]
enum SavingEvent {
    Begun(Plan),
    Stopped,
}

impl Event for SavingEvent {}

#[derive(Default)]
struct Saving(Option<Plan>);

impl ProcessManager for Saving {
    const NAME: &str = "saving";
    type Input = PlanEvent;
    type Event = SavingEvent;
    type Command = Plan;

    fn process_of(_: &PlanEvent, recorded: &RecordedEvent) -> Option<String> {
        Some(recorded.stream.to_string())
    }

    fn apply(&mut self, event: &SavingEvent) {
        self.0 = match event {
            SavingEvent::Begun(plan) => Some(plan.clone()),
            SavingEvent::Stopped => None,
        };
    }

    fn react(&self, _: &str, event: &PlanEvent) -> Reaction<Self> {
        let reaction = Reaction::new();
        match event.clone() {
            PlanEvent::PlanMade(plan) => {
                let begun = SavingEvent::Begun(plan);
                reaction.record(begun).timeout("month", MONTH)
            }
            PlanEvent::PlanEnded => reaction.record(SavingEvent::Stopped).cancel("month"),
        }
    }

    fn timed_out(&self, _: &str, _: &str) -> Reaction<Self> {
        match self.0.clone() {
            Some(plan) => Reaction::new().send(plan).timeout("month", MONTH),
            None => Reaction::new(),
        }
    }
}

use icecore_client::{Changes, Dispatch, ProcessRunner};

struct Bank(Repository<Account>);

impl Dispatch<Plan> for Bank {
    async fn dispatch(&self, plan: &Plan, context: &Context) -> Result<Vec<Changes>, BoxError> {
        let mut account = self.0.load(&plan.account).await?;
        account.handle(&AccountCommand::Deposit { cents: plan.cents })?;
        Ok(vec![account.changes(context)?])
    }
}

fn saving(client: &Client) -> ProcessRunner<Saving, Bank> {
    ProcessRunner::new(client.clone(), Bank(accounts(client)))
}

use icecore_client::given;

#[test]
fn nobody_withdraws_what_is_not_there() {
    given::<Account>([AccountEvent::Deposited { cents: 500 }])
        .when(&AccountCommand::Withdraw { cents: 200 })
        .then([AccountEvent::Withdrawn { cents: 200 }]);

    given::<Account>([])
        .when(&AccountCommand::Withdraw { cents: 200 })
        .then_refused(&NotEnough(0));
}

use icecore_client::VirtualClock;
use icecore_testing::TestServer;
use tokio::time::sleep;

#[tokio::test]
async fn every_month_something_is_saved() -> Result<(), BoxError> {
    let server = TestServer::start().await;
    let client = server.client();
    let (account, cents) = ("anna".into(), 50);
    let made = json_event("PlanMade", &Plan { account, cents })?;
    let new = ExpectedRevision::NoStream;
    client
        .append(&StreamName::new("plan-7")?, new, [made])
        .await?;

    let time = VirtualClock::at_system_time();
    let saving = saving(&client).clock(time.clock());
    let saving = tokio::spawn(saving.run(std::future::pending()));
    for months in 1..=3 {
        time.advance(MONTH);
        while accounts(&client).load("anna").await?.state().balance < 50 * months {
            sleep(Duration::from_millis(5)).await;
        }
    }
    saving.abort();
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_steps_of_the_readme_run() -> Result<(), BoxError> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    append_and_read(&client).await?;
    pay_rent(&client).await?;
    let paid = accounts(&client).load("anna").await?;
    assert_eq!(paid.state().balance, 300);
    show_balances(&client).await?;
    server.stop().await;
    Ok(())
}

#[test]
fn the_readme_shows_this_program() {
    let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let program = trimmed(include_str!("readme.rs"));
    let readme = include_str!("../README.md");
    let mut samples = readme.split("```rust\n").skip(1).peekable();
    assert!(samples.peek().is_some());
    for sample in samples {
        let (sample, _) = sample.split_once("```").expect("a sample ends");
        assert!(
            program.contains(&trimmed(sample)),
            "not in tests/readme.rs:\n{sample}"
        );
    }
}
