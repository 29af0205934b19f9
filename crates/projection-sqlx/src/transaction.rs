//! What a projection writes with: a transaction of sqlx that knows the tables of its generation.

use crate::books;
use crate::session::{Dialect, Session, quoted};
use icecore_client::{GenerationState, ProjectionId};
use sqlx::{AssertSqlSafe, Error, Transaction};
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Longest name of a table of a projection, in bytes: with the number of its generation it must fit the
/// 63 bytes that PostgreSQL has for names.
pub(crate) const TABLE_NAME_BYTES_MAX: usize = 48;

/// A transaction that moves the checkpoint of a projection and changes its tables. It ends in the hands
/// of the runner.
pub struct SqlTransaction<D: Dialect> {
    pub(crate) transaction: Transaction<'static, D>,
    pub(crate) projection: ProjectionId,
}

impl<D: Dialect> SqlTransaction<D> {
    /// What sqlx's queries are executed on. Do not end the transaction through it.
    pub fn connection(&mut self) -> &mut D::Connection {
        &mut self.transaction
    }

    /// The generation that is written.
    pub fn projection(&self) -> &ProjectionId {
        &self.projection
    }

    /// The table of this name in this generation, quoted: `"balances__2"`.
    pub fn table(&self, name: &str) -> String {
        quoted(&table_of(&self.projection, name))
    }

    /// A statement in which `{name}` stands for the table of this name in this generation. Braces around
    /// anything that is not a name stay as they are. Values belong into binds, with `$1`, `$2`, ...
    ///
    /// ```
    /// use icecore_projection_sqlx::{SqliteTransaction, sqlx};
    ///
    /// async fn close(
    ///     transaction: &mut SqliteTransaction,
    ///     account: &str,
    /// ) -> Result<(), sqlx::Error> {
    ///     let delete = transaction.sql("DELETE FROM {balances} WHERE account = $1");
    ///     let delete = sqlx::query(delete).bind(account);
    ///     delete.execute(transaction.connection()).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn sql(&self, statement: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(fill_in(statement, |name| self.table(name)))
    }

    /// Makes a table of this generation, and a view of it under the plain name if readers see the
    /// generation. `columns` is what SQL has in parentheses; `{name}` is another table.
    /// Called by [`Projection::set_up`](icecore_client::Projection::set_up).
    ///
    /// ```
    /// use icecore_projection_sqlx::{SqliteTransaction, sqlx};
    ///
    /// async fn set_up(transaction: &mut SqliteTransaction) -> Result<(), sqlx::Error> {
    ///     let columns = "account TEXT PRIMARY KEY, cents BIGINT NOT NULL";
    ///     transaction.create_table("balances", columns).await?;
    ///     let index = transaction.sql("CREATE INDEX {by_cents} ON {balances} (cents)");
    ///     sqlx::query(index).execute(transaction.connection()).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// What the database says; `InvalidArgument` when the name is empty or longer than 48 bytes.
    pub async fn create_table(&mut self, name: &str, columns: &'static str) -> Result<(), Error> {
        if name.is_empty() || name.len() > TABLE_NAME_BYTES_MAX {
            return Err(Error::InvalidArgument(format!(
                "the table name `{name}` is empty or longer than {TABLE_NAME_BYTES_MAX} bytes"
            )));
        }
        let table = self.table(name);
        let AssertSqlSafe(columns) = self.sql(columns);
        let connection: &mut D::Connection = &mut self.transaction;
        let create = format!("CREATE TABLE {table} ({columns})");
        connection.run(create, &[]).await?;
        books::add_table::<D>(connection, &self.projection, name).await?;
        let state = books::state_of::<D>(connection, &self.projection).await?;
        if state == Some(GenerationState::Live) {
            D::point_view(connection, &quoted(name), &table).await?;
        }
        Ok(())
    }
}

/// The table of this name that a generation has.
pub(crate) fn table_of(projection: &ProjectionId, name: &str) -> String {
    format!("{name}__{}", projection.generation)
}

/// Puts tables where a statement has names in braces.
fn fill_in(statement: &str, table: impl Fn(&str) -> String) -> String {
    let mut filled = String::with_capacity(statement.len() + 16);
    let mut rest = statement;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        match behind.split_once('}') {
            Some((name, after)) if is_name(name) => {
                filled.push_str(&table(name));
                rest = after;
            }
            _ => {
                filled.push('{');
                rest = behind;
            }
        }
    }
    filled + rest
}

fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins
        && text
            .chars()
            .all(|next| next.is_ascii_alphanumeric() || next == '_')
}

impl<D: Dialect> Deref for SqlTransaction<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.transaction
    }
}

impl<D: Dialect> DerefMut for SqlTransaction<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.transaction
    }
}

impl<D: Dialect> fmt::Debug for SqlTransaction<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlTransaction")
            .field("projection", &self.projection)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_become_tables() {
        let filled = |statement| fill_in(statement, |name| format!("\"{name}__2\""));
        for (statement, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("FROM {a} JOIN {b_1}", r#"FROM "a__2" JOIN "b_1__2""#),
            ("'{}' '{1}' '{\"a\": 1}' {a", "'{}' '{1}' '{\"a\": 1}' {a"),
            ("{{a}}", r#"{"a__2"}"#),
        ] {
            assert_eq!(filled(statement), expected);
        }
    }
}
