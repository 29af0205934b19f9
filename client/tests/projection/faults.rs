//! Exactly once in effect, shown: workers are aborted at random moments, the server restarts, the sink
//! fails before and after its commits, two run at once; the read model is always the one that is built
//! in one go.

use crate::ledger::{Balances, Ledger, Model, Sink, deposit, in_one_go, model, noise, runner};
use icecore_client::{
    Advance, BatchLimits, Client, OldGeneration, ParkedEvent, Position, ProjectionError,
    ProjectionId, ProjectionRunner, RetryPolicy, RunningProjection, SinkError, StoredGeneration,
};
use icecore_testing::TestServer;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

const QUICK: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    pause_first: Duration::from_millis(1),
    pause_max: Duration::from_millis(1),
};

/// A few events in each transaction, so that there are many to be hit.
fn small(client: &Client, sink: &Sink) -> ProjectionRunner<Ledger, Sink> {
    let limits = BatchLimits {
        events_max: 3,
        ..BatchLimits::default()
    };
    runner(client, sink).batch(limits).retry(QUICK)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_aborted_leave_nothing_out_and_nothing_twice() {
    let mut server = TestServer::start().await;
    let client = server.client();
    let mut random = fastrand::Rng::with_seed(6);
    let sink = Sink::new();
    let mut last = Position::START;
    for round in 0..60 {
        let cents: Vec<_> = (0..random.usize(5..40)).map(|_| random.i64(1..9)).collect();
        last = deposit(&client, random.u64(1..6), &cents).await;
        noise(&client, random.usize(1..5)).await;
        let worker = tokio::spawn(small(&client, &sink).run(std::future::pending()));
        sleep(Duration::from_micros(random.u64(0..6_000))).await;
        if round % 10 == 9 {
            server.restart().await;
        }
        worker.abort();
        let ended = worker.await;
        assert!(
            ended.is_err_and(|error| error.is_cancelled()),
            "it does not end by itself"
        );
    }
    let running = small(&client, &sink).start();
    assert!(running.reached(last).await);
    running.stop().await.unwrap();
    let one_go = in_one_go(&client).await;
    assert!(one_go.handled.len() > 500);
    assert_eq!(model(&sink), one_go);
    server.stop().await;
}

#[tokio::test]
async fn of_two_runners_one_ends_and_nothing_comes_twice() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let sink = Sink::new();
    let position = deposit(&client, 1, &[1]).await;
    let two = [(); 2].map(|()| small(&client, &sink).start());
    // While both have the same checkpoint, the next event is for one of them only.
    let mut last = position;
    for _ in 0..1_000 {
        if two.iter().any(RunningProjection::is_over) {
            break;
        }
        last = deposit(&client, 1, &[1]).await;
        sleep(Duration::from_millis(1)).await;
    }
    let [first, second] = two;
    let (winner, loser) = if second.is_over() {
        (first, second)
    } else {
        (second, first)
    };
    assert!(winner.reached(last).await, "one goes on");
    let error = loser.ended().await.unwrap_err();
    assert!(matches!(error, ProjectionError::Fenced { .. }), "{error}");
    winner.stop().await.unwrap();
    assert_eq!(model(&sink), in_one_go(&client).await);
}

/// A sink that fails now and then: before anything was done, instead of a commit, after a commit.
#[derive(Clone)]
struct Faulty {
    sink: Sink,
    random: Arc<Mutex<fastrand::Rng>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the database is away")]
struct Away;

impl Faulty {
    fn fails(&self) -> Result<(), SinkError> {
        let fails = self.random.lock().unwrap().u8(..6) == 0;
        if fails {
            Err(SinkError::failed(Away))
        } else {
            Ok(())
        }
    }
}

impl icecore_client::Sink for Faulty {
    type Transaction = Model;

    async fn generations(&self, projection: &str) -> Result<Vec<StoredGeneration>, SinkError> {
        self.fails()?;
        self.sink.generations(projection).await
    }

    async fn begin(&self, of: &ProjectionId, advance: &Advance) -> Result<Model, SinkError> {
        self.fails()?;
        self.sink.begin(of, advance).await
    }

    async fn commit(&self, transaction: Model) -> Result<(), SinkError> {
        self.fails()?;
        self.sink.commit(transaction).await?;
        self.fails()
    }

    async fn park(&self, transaction: &mut Model, event: &ParkedEvent) -> Result<(), SinkError> {
        self.fails()?;
        self.sink.park(transaction, event).await
    }

    async fn parked(
        &self,
        of: &ProjectionId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<ParkedEvent>, SinkError> {
        self.sink.parked(of, after, limit).await
    }

    async fn begin_unparked(
        &self,
        of: &ProjectionId,
        position: Position,
    ) -> Result<Option<Model>, SinkError> {
        self.sink.begin_unparked(of, position).await
    }

    async fn swap(&self, of: &ProjectionId, old: OldGeneration) -> Result<bool, SinkError> {
        self.fails()?;
        self.sink.swap(of, old).await
    }

    async fn forget(&self, of: &ProjectionId) -> Result<bool, SinkError> {
        self.sink.forget(of).await
    }

    fn passes(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        error.is::<Away>()
    }
}

#[tokio::test]
async fn a_sink_that_fails_is_waited_out() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[2; 40]).await;
    deposit(&client, 2, &[-13]).await;
    let last = deposit(&client, 1, &[3; 40]).await;
    let one_go: Balances = in_one_go(&client).await;
    for seed in 0..10 {
        let sink = Sink::new();
        let faulty = Faulty {
            sink: sink.clone(),
            random: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
        };
        let limits = BatchLimits {
            events_max: 3,
            ..BatchLimits::default()
        };
        let runner = ProjectionRunner::new(client.clone(), faulty, Ledger::default());
        let running = runner.batch(limits).retry(QUICK).start();
        assert!(running.reached(last).await, "seed {seed}");
        let progress = running.progress().borrow().clone();
        assert_eq!((progress.handled, progress.parked), (80, 1), "seed {seed}");
        running.stop().await.unwrap();
        assert_eq!(model(&sink), one_go, "seed {seed}");
    }
}

#[tokio::test]
async fn a_sink_that_stays_away_ends_it_when_the_attempts_are_used_up() {
    let server = TestServer::in_memory().start().await;
    let mut always = fastrand::Rng::with_seed(0);
    // A generator that says 0 five times in a row from here on.
    while !(0..5).all({
        let mut ahead = always.clone();
        move |_| ahead.u8(..6) == 0
    }) {
        always.u8(..6);
    }
    let faulty = Faulty {
        sink: Sink::new(),
        random: Arc::new(Mutex::new(always)),
    };
    let policy = RetryPolicy {
        attempts_max: 3,
        ..QUICK
    };
    let runner = ProjectionRunner::new(server.client(), faulty, Ledger::default());
    let error = runner.retry(policy).start().ended().await.unwrap_err();
    assert!(matches!(error, ProjectionError::Sink { .. }), "{error}");
    assert!(error.to_string().contains("the database is away"));
}
