//! The contract that every engine keeps, shown once more by a client over a socket: the same rules,
//! asked of a server by way of `icecore.v1`. Engines number events; here the server numbers them, and
//! the adapter checks that it gives the numbers that the rule has in mind.

use async_trait::async_trait;
use icecore_client::{
    AppendBuilder, Category, Client, Direction, Error, ExpectedRevision, Filter, Hash, ImportTimes,
    ListCategories, ListStreams, LogEntry, NameMatch, Page, PageLimit, Position, Read, ReadFrom,
    RecordedEvent, Result, Revision, StoreId, StreamName, StreamState, SystemStreams,
};
use icecore_storage::contract::{RULES, run};
use icecore_storage::{
    CategoryPage, Committed, Health, IndexCheck, IndexTerm, Lease, LogPage, NumberedAppend,
    Removal, Removed, Stats, Storage, StreamNamePage, StreamTail,
};
use icecore_testing::TestServer;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Rules about what no client can ask for.
const NOT_FOR_CLIENTS: [&str; 18] = [
    // The lease is between the server and its engine.
    "a_later_lead_fences_the_earlier_one",
    "a_commit_after_another_position_writes_nothing",
    "who_waits_for_a_position_is_woken",
    "a_closed_store_takes_no_commit",
    // What may be shown is known to the server first and to others when they ask.
    "readers_see_only_whole_appends_without_a_gap",
    // A closed stream is an error to its readers.
    "a_tombstone_follows_the_last_ordinary_event",
    "a_tombstone_may_stand_alone",
    "a_generated_history_reads_as_it_does_in_memory",
    // Names of that length and times beyond tomorrow are the server's own.
    "the_longest_names_and_most_tags_are_kept",
    "the_earliest_and_the_latest_times_are_kept",
    // The stored log and what is taken out of it are for operators, who have calls of their own.
    "the_log_is_read_as_it_was_written",
    "an_erased_event_stays_without_its_payload",
    "events_are_found_by_their_correlation_id",
    "removed_events_are_in_no_page",
    "an_earlier_lead_removes_nothing",
    "appends_follow_removed_events",
    "kept_roots_are_given_back",
    "a_store_with_room_admits_writes",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_what_the_contract_promises() {
    let for_clients = RULES
        .iter()
        .filter(|rule| !NOT_FOR_CLIENTS.contains(&rule.name));
    let rules: Vec<_> = for_clients.collect();
    assert_eq!(rules.len() + NOT_FOR_CLIENTS.len(), RULES.len());
    for rule in rules {
        run(rule, OverTheWire::start().await).await;
    }
}

/// A server, as a storage.
struct OverTheWire {
    server: tokio::sync::Mutex<Option<TestServer>>,
    client: Client,
    store_id: StoreId,
    last_position: watch::Sender<Position>,
}

impl OverTheWire {
    async fn start() -> Arc<dyn Storage> {
        let server = TestServer::in_memory().start().await;
        let client = server.client();
        let store_id = client.stats().await.expect("a server answers").store_id;
        Arc::new(Self {
            server: Some(server).into(),
            client,
            store_id,
            last_position: watch::Sender::new(Position::START),
        })
    }

    /// Writes an append with its own times; the server must give the numbers that it has already.
    async fn import(&self, append: &NumberedAppend) -> Result<()> {
        let mut batch = AppendBuilder::default();
        let mut places = HashMap::new();
        for event in &*append.events {
            let place = if let Some(place) = places.get(&event.stream) {
                *place
            } else {
                let place = batch.stream(event.stream.clone(), ExpectedRevision::Any)?;
                places.insert(event.stream.clone(), place);
                place
            };
            let times = ImportTimes {
                recorded_at: event.recorded_at,
                created_at: event.created_at,
            };
            batch.event(place, data_of(event), Some(times))?;
        }
        let imported = self.client.import(&batch.build()?).await?;
        let last = append.events.last().map(|event| event.position);
        assert_eq!(Some(imported.last_position), last, "positions are dense");
        Ok(())
    }

    /// Reads a page: at most so many events and bytes, and whether there are no more.
    async fn page(&self, read: Read, limit: PageLimit) -> Result<(Vec<RecordedEvent>, bool)> {
        let limited = Read {
            limit: Some(limit.events as u64 + 1),
            ..read
        };
        let mut events = self.client.read(limited).await?;
        let mut bytes = 0;
        let fits = |event: &RecordedEvent| {
            bytes += event.size();
            bytes <= limit.bytes
        };
        let fitting = events.iter().map(fits).take_while(|fits| *fits).count();
        let count = fitting.min(limit.events).max(1);
        let end = events.len() <= count;
        events.truncate(count);
        Ok((events, end))
    }

    async fn page_of_all(
        &self,
        filter: Filter,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        let read = Read {
            from: ReadFrom::All(Some(from)),
            direction,
            filter,
            ..Read::all()
        };
        let last = *self.last_position.borrow();
        let (events, end) = self.page(read, limit).await?;
        let next = match (events.last(), direction) {
            (Some(event), Direction::Forwards) if !end => event.position.next(),
            (_, Direction::Forwards) => last.next(),
            (Some(event), Direction::Backwards) if !end => Position::new(event.position.get() - 1),
            (_, Direction::Backwards) => Position::START,
        };
        Ok(Page { events, next, end })
    }

    /// What the protocol has no word for, so it is picked here.
    async fn picked(
        &self,
        term: &IndexTerm,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        let mut next = from;
        loop {
            let everything = Filter::everything();
            let mut page = self.page_of_all(everything, next, direction, limit).await?;
            page.events.retain(|event| term.holds(event));
            if !page.events.is_empty() || page.end {
                return Ok(page);
            }
            next = page.next;
        }
    }

    /// What a stream is like, and where its last event stands.
    async fn tail(&self, stream: &StreamName) -> Result<Option<StreamTail>> {
        let info = match self.client.get_stream(stream).await {
            Ok(info) => info,
            Err(Error::StreamNotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let tail = info.last.map(|last| StreamTail {
            last_revision: last.revision,
            last_position: last.position,
        });
        assert!(matches!(info.state, StreamState::Living { last } if
            tail.is_some_and(|tail| tail.last_revision == last)));
        Ok(tail)
    }
}

#[async_trait]
impl Storage for OverTheWire {
    fn store_id(&self) -> StoreId {
        self.store_id
    }

    async fn lead(&self) -> Result<Lease> {
        Ok(Lease { epoch: 1 })
    }

    async fn commit(&self, _: &Lease, _: Position, appends: Vec<NumberedAppend>) -> Committed {
        for append in appends {
            if let Err(error) = self.import(&append).await {
                return Committed::Unknown(error);
            }
            let last = append.events.last().map(|event| event.position);
            self.last_position.send_replace(last.unwrap_or_default());
        }
        Committed::Done
    }

    async fn read_all(
        &self,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        let everything = Filter::everything();
        self.page_of_all(everything, from, direction, limit).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page<Revision>> {
        let read = Read {
            from: ReadFrom::Stream(stream.clone(), Some(from)),
            direction,
            filter: Filter::everything(),
            ..Read::all()
        };
        let (events, end) = match self.page(read, limit).await {
            Ok(page) => page,
            Err(Error::StreamNotFound { .. }) => (Vec::new(), true),
            Err(error) => return Err(error),
        };
        let next = match (events.last(), direction) {
            (Some(event), Direction::Forwards) if !end => event.revision.next(),
            (_, Direction::Forwards) => {
                let tail = self.tail(stream).await?;
                tail.map_or(Revision::FIRST, |tail| tail.last_revision.next())
            }
            (Some(event), Direction::Backwards) if !end => Revision::new(event.revision.get() - 1),
            (_, Direction::Backwards) => Revision::FIRST,
        };
        Ok(Page { events, next, end })
    }

    async fn read_term(
        &self,
        term: &IndexTerm,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        let everything = Filter::everything();
        let filter = match term.clone() {
            IndexTerm::FirstEvent | IndexTerm::Correlation(_) => {
                return self.picked(term, from, direction, limit).await;
            }
            IndexTerm::Category(category) => Filter {
                category: Some(category),
                ..everything
            },
            IndexTerm::Tag(tag) => Filter {
                tags: vec![tag],
                ..everything
            },
            IndexTerm::EventType(event_type) => Filter {
                event_type: Some(NameMatch::AnyOf(vec![event_type.into_inner()])),
                ..everything
            },
        };
        self.page_of_all(filter, from, direction, limit).await
    }

    async fn stream_tails(&self, streams: &[StreamName]) -> Result<Vec<Option<StreamTail>>> {
        let mut tails = Vec::new();
        for stream in streams {
            tails.push(self.tail(stream).await?);
        }
        Ok(tails)
    }

    async fn stream_names(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<StreamNamePage> {
        let list = ListStreams {
            prefix: prefix.to_owned(),
            after: after.cloned(),
            limit,
            system: SystemStreams::Include,
        };
        let page = self.client.list_streams(list).await?;
        Ok(StreamNamePage {
            end: page.next_after.is_none(),
            names: page.streams.into_iter().map(|entry| entry.stream).collect(),
        })
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<CategoryPage> {
        let list = ListCategories {
            after: after.cloned(),
            limit,
            system: SystemStreams::Include,
        };
        let page = self.client.list_categories(list).await?;
        Ok(CategoryPage {
            end: page.next_after.is_none(),
            categories: page.categories,
        })
    }

    async fn read_log(&self, _: Position, _: PageLimit) -> Result<LogPage> {
        not_for_clients()
    }

    async fn check_index(&self, _: Position) -> Result<IndexCheck> {
        not_for_clients()
    }

    async fn remove(&self, _: &Lease, _: Vec<Removal>) -> Result<Removed> {
        not_for_clients()
    }

    async fn compact(&self, _: &Lease, _: Position, _: Position) -> Result<()> {
        not_for_clients()
    }

    async fn restore(&self, _: &Lease, _: Position, _: Vec<LogEntry>) -> Committed {
        Committed::Fenced
    }

    async fn subtree_roots(&self, _: u64) -> Result<Vec<Hash>> {
        not_for_clients()
    }

    async fn keep_roots(&self, _: &Lease, _: u64, _: Vec<Hash>) -> Result<()> {
        not_for_clients()
    }

    fn last_position(&self) -> watch::Receiver<Position> {
        self.last_position.subscribe()
    }

    fn health(&self) -> Health {
        Health::Healthy
    }

    async fn stats(&self) -> Result<Stats> {
        let stats = self.client.stats().await?;
        Ok(Stats {
            last_position: stats.last_position,
            streams: stats.streams,
            disk_bytes: stats.disk_bytes,
            details: Vec::new(),
        })
    }

    async fn close(&self) -> Result<()> {
        if let Some(server) = self.server.lock().await.take() {
            server.stop().await;
        }
        Ok(())
    }
}

fn data_of(event: &RecordedEvent) -> icecore_client::EventData {
    icecore_client::EventData {
        id: event.id,
        event_type: event.event_type.clone(),
        content_type: event.content_type.clone(),
        data: event.data.clone(),
        metadata: event.metadata.clone(),
        tags: event.tags.clone(),
    }
}

fn not_for_clients<T>() -> Result<T> {
    Err(Error::internal("no client may ask for this"))
}
