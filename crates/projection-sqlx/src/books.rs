//! The sink's own tables: generations with their checkpoints, which tables they have, parked events.
//! Every statement is one that SQLite and PostgreSQL both understand.

use crate::session::{Dialect, Session, Value, quoted};
use crate::transaction::table_of;
use icecore_client::{
    Advance, Checkpoint, EventType, Generation, GenerationState, ParkedEvent, Position,
    ProjectionId, Revision, StoreId, StoredGeneration, StreamName, Timestamp,
};
use sqlx::Error;
use uuid::Uuid;

const TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS icecore_projections (
        projection TEXT NOT NULL,
        generation BIGINT NOT NULL,
        state TEXT NOT NULL,
        store_id TEXT NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (projection, generation))",
    "CREATE UNIQUE INDEX IF NOT EXISTS icecore_projections_live
        ON icecore_projections (projection) WHERE state = 'live'",
    "CREATE TABLE IF NOT EXISTS icecore_tables (
        projection TEXT NOT NULL,
        generation BIGINT NOT NULL,
        name TEXT NOT NULL,
        ordinal BIGINT NOT NULL,
        PRIMARY KEY (projection, generation, name))",
    "CREATE TABLE IF NOT EXISTS icecore_parked (
        projection TEXT NOT NULL,
        generation BIGINT NOT NULL,
        position BIGINT NOT NULL,
        stream TEXT NOT NULL,
        revision BIGINT NOT NULL,
        event_id TEXT NOT NULL,
        event_type TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        reason TEXT NOT NULL,
        parked_at TEXT NOT NULL,
        PRIMARY KEY (projection, generation, position))",
];

/// Which rows are meant.
const OF: &str = "projection = $1 AND generation = $2";

/// Makes the tables that are not there.
pub(crate) async fn create<D: Dialect>(connection: &mut D::Connection) -> Result<(), Error> {
    if let Some(lock) = D::LOCK_TABLES {
        connection.rows(lock.into(), &[]).await?;
    }
    for table in TABLES {
        connection.run(table.into(), &[]).await?;
    }
    Ok(())
}

/// The generations of a projection, in their order. They do not change until the transaction ends, if
/// there is one.
pub(crate) async fn generations<D: Dialect>(
    connection: &mut D::Connection,
    projection: &str,
    lock: &str,
) -> Result<Vec<StoredGeneration>, Error> {
    let select = format!(
        "SELECT CAST(generation AS TEXT), state, store_id, CAST(position AS TEXT)
         FROM icecore_projections WHERE projection = $1 ORDER BY generation{lock}"
    );
    let rows = connection.rows(select, &[Value::Text(projection)]).await?;
    rows.iter().map(|row| stored_generation(row)).collect()
}

/// What a generation is; it does not change until the transaction ends.
pub(crate) async fn state_of<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
) -> Result<Option<GenerationState>, Error> {
    let select = format!(
        "SELECT state FROM icecore_projections WHERE {OF}{}",
        D::FOR_UPDATE
    );
    let rows = connection.rows(select, &key(of)).await?;
    rows.first().map(|row| state(&row[0])).transpose()
}

/// Moves the checkpoint if it stands where it should; tells whether it did.
pub(crate) async fn advance<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
    advance: &Advance,
) -> Result<bool, Error> {
    let to = advance.to.store_id.to_string();
    let [name, generation] = key(of);
    let to = [
        name,
        generation,
        Value::Text(&to),
        number(advance.to.position.get()),
    ];
    let Some(from) = advance.from else {
        return begin_generation::<D>(connection, of, to).await;
    };
    let store_id = from.store_id.to_string();
    let update = format!(
        "UPDATE icecore_projections SET store_id = $3, position = $4
         WHERE {OF} AND store_id = $5 AND position = $6 AND state <> 'retired'"
    );
    let from = [Value::Text(&store_id), number(from.position.get())];
    let changed = connection
        .run(update, &[&to[..], &from[..]].concat())
        .await?;
    Ok(changed == 1)
}

async fn begin_generation<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
    checkpoint: [Value<'_>; 4],
) -> Result<bool, Error> {
    let stored = generations::<D>(connection, &of.name, D::FOR_UPDATE).await?;
    let live = stored
        .iter()
        .find(|stored| stored.state == GenerationState::Live);
    let state = match live {
        None => GenerationState::Live,
        Some(live) if live.generation < of.generation => GenerationState::Building,
        Some(_) => return Ok(false),
    };
    let insert = format!(
        "INSERT INTO icecore_projections (projection, generation, store_id, position, state)
         VALUES ($1, $2, $3, $4, '{}') ON CONFLICT DO NOTHING",
        text_of(state)
    );
    Ok(connection.run(insert, &checkpoint).await? == 1)
}

pub(crate) async fn set_state<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
    state: GenerationState,
) -> Result<(), Error> {
    let update = format!(
        "UPDATE icecore_projections SET state = '{}' WHERE {OF}",
        text_of(state)
    );
    connection.run(update, &key(of)).await?;
    Ok(())
}

pub(crate) async fn add_table<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
    name: &str,
) -> Result<(), Error> {
    let insert = format!(
        "INSERT INTO icecore_tables (projection, generation, name, ordinal)
         SELECT $1, $2, $3, COUNT(*) FROM icecore_tables WHERE {OF}"
    );
    let [projection, generation] = key(of);
    let values = [projection, generation, Value::Text(name)];
    connection.run(insert, &values).await?;
    Ok(())
}

/// The tables of a generation, in the order in which they were made.
pub(crate) async fn tables<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
) -> Result<Vec<String>, Error> {
    let select = format!("SELECT name FROM icecore_tables WHERE {OF} ORDER BY ordinal");
    let rows = connection.rows(select, &key(of)).await?;
    Ok(rows.into_iter().flatten().collect())
}

/// Lets the views show the tables of a generation, and takes away those of an old one that this one does
/// not have.
pub(crate) async fn point_views<D: Dialect>(
    connection: &mut D::Connection,
    new: &ProjectionId,
    old: Option<&ProjectionId>,
) -> Result<(), Error> {
    let tables_new = tables::<D>(connection, new).await?;
    if let Some(old) = old {
        for name in tables::<D>(connection, old).await? {
            if !tables_new.contains(&name) {
                let drop = format!("DROP VIEW IF EXISTS {}", quoted(&name));
                connection.run(drop, &[]).await?;
            }
        }
    }
    for name in tables_new {
        let table = quoted(&table_of(new, &name));
        D::point_view(connection, &quoted(&name), &table).await?;
    }
    Ok(())
}

/// Removes a generation with its tables, which no view shows any more.
pub(crate) async fn remove<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
) -> Result<(), Error> {
    // The last one made first: it may refer to those before it.
    for name in tables::<D>(connection, of).await?.iter().rev() {
        let drop = format!("DROP TABLE {}", quoted(&table_of(of, name)));
        connection.run(drop, &[]).await?;
    }
    for table in ["icecore_tables", "icecore_parked", "icecore_projections"] {
        let delete = format!("DELETE FROM {table} WHERE {OF}");
        connection.run(delete, &key(of)).await?;
    }
    Ok(())
}

pub(crate) async fn park<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
    event: &ParkedEvent,
) -> Result<(), Error> {
    let insert = "INSERT INTO icecore_parked (projection, generation, position, stream, revision,
            event_id, event_type, attempts, reason, parked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    // PostgreSQL has no text with NUL in it.
    let reason = event.reason.replace('\0', "\u{fffd}");
    let (id, parked_at) = (event.id.to_string(), event.parked_at.to_string());
    let [projection, generation] = key(of);
    let values = [
        projection,
        generation,
        number(event.position.get()),
        Value::Text(event.stream.as_str()),
        number(event.revision.get()),
        Value::Text(&id),
        Value::Text(event.event_type.as_str()),
        number(event.attempts.into()),
        Value::Text(&reason),
        Value::Text(&parked_at),
    ];
    connection.run(insert.into(), &values).await?;
    Ok(())
}

/// Takes an event out of the parked ones; tells whether it was there.
pub(crate) async fn unpark<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
    position: Position,
) -> Result<bool, Error> {
    let delete = format!("DELETE FROM icecore_parked WHERE {OF} AND position = $3");
    let [projection, generation] = key(of);
    let values = [projection, generation, number(position.get())];
    Ok(connection.run(delete, &values).await? == 1)
}

pub(crate) async fn parked<D: Dialect>(
    connection: &mut D::Connection,
    of: &ProjectionId,
    after: Position,
    limit: u32,
) -> Result<Vec<ParkedEvent>, Error> {
    let select = format!(
        "SELECT CAST(position AS TEXT), stream, CAST(revision AS TEXT), event_id, event_type,
            CAST(attempts AS TEXT), reason, parked_at
         FROM icecore_parked WHERE {OF} AND position > $3 ORDER BY position LIMIT $4"
    );
    let [projection, generation] = key(of);
    let values = [
        projection,
        generation,
        number(after.get()),
        number(limit.into()),
    ];
    let rows = connection.rows(select, &values).await?;
    rows.iter().map(|row| parked_event(row)).collect()
}

fn key(of: &ProjectionId) -> [Value<'_>; 2] {
    let generation = i64::from(of.generation.get());
    [Value::Text(&of.name), Value::Number(generation)]
}

/// Positions and revisions end at 2^63 - 1.
fn number(number: u64) -> Value<'static> {
    Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
}

fn text_of(state: GenerationState) -> &'static str {
    match state {
        GenerationState::Building => "building",
        GenerationState::Live => "live",
        GenerationState::Retired => "retired",
    }
}

fn state(text: &str) -> Result<GenerationState, Error> {
    match text {
        "building" => Ok(GenerationState::Building),
        "live" => Ok(GenerationState::Live),
        "retired" => Ok(GenerationState::Retired),
        _ => Err(undecodable(format!("`{text}` is no state of a generation"))),
    }
}

fn stored_generation(row: &[String]) -> Result<StoredGeneration, Error> {
    let store_id: Uuid = row[2].parse().map_err(undecodable)?;
    Ok(StoredGeneration {
        generation: Generation::new(row[0].parse().map_err(undecodable)?),
        state: state(&row[1])?,
        checkpoint: Checkpoint {
            store_id: StoreId::new(store_id),
            position: Position::new(row[3].parse().map_err(undecodable)?),
        },
    })
}

fn parked_event(row: &[String]) -> Result<ParkedEvent, Error> {
    Ok(ParkedEvent {
        position: Position::new(row[0].parse().map_err(undecodable)?),
        stream: StreamName::derived(&*row[1]).map_err(undecodable)?,
        revision: Revision::new(row[2].parse().map_err(undecodable)?),
        id: row[3].parse().map_err(undecodable)?,
        event_type: EventType::new(&*row[4]).map_err(undecodable)?,
        attempts: row[5].parse().map_err(undecodable)?,
        reason: row[6].clone(),
        parked_at: Timestamp::parse(&row[7]).map_err(undecodable)?,
    })
}

/// What the sink's tables hold is not what a sink has written.
fn undecodable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Decode(error.into())
}
