//! What the sinks need of a database: the few things that SQLite and PostgreSQL say differently, and
//! statements with values in a form that both take. Users have sqlx itself.

use sqlx::Error;

/// A value of the sink's own tables.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// For a column of text.
    Text(&'a str),
    /// For a column of integers.
    Number(i64),
}

/// A kind of database.
pub trait Dialect: sqlx::Database<Connection: Session> {
    /// How a transaction begins that is going to write.
    const BEGIN: &'static str;
    /// What keeps rows that were read from changing until the transaction ends.
    const FOR_UPDATE: &'static str;
    /// What keeps two processes from making the sink's tables at the same time, if anything need be.
    const LOCK_TABLES: Option<&'static str>;

    /// Whether an error of the database may go away by itself.
    fn passes(error: &dyn sqlx::error::DatabaseError) -> bool;

    /// Lets a view show a table. Both names are quoted.
    fn point_view(
        connection: &mut Self::Connection,
        view: &str,
        table: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A connection, as far as the sink's own statements need one.
pub trait Session: Send {
    /// Runs a statement; tells how many rows it has changed.
    fn run(
        &mut self,
        sql: String,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// The rows of a query whose columns are all text.
    fn rows(
        &mut self,
        sql: String,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Vec<String>>, Error>> + Send;
}

/// An identifier of SQL, whatever its characters.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether an error, or what caused it, is one of the database that passes.
pub(crate) fn passes<D: Dialect>(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut errors = chain.filter_map(|error| error.downcast_ref::<Error>());
    errors.any(|error| match error {
        Error::Io(_) | Error::PoolTimedOut | Error::WorkerCrashed | Error::BeginFailed => true,
        Error::Database(error) => D::passes(&**error),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(quoted("balances"), r#""balances""#);
        assert_eq!(quoted(r#"a" b"#), r#""a"" b""#);
    }
}
