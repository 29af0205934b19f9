//! Checks the condition of an append against what is durable, in the caller's task. The writer only
//! re-checks what came after that.

use crate::matcher::Matcher;
use crate::request::{CheckedCondition, Evidence};
use crate::scan::Scan;
use crate::store::EventStore;
use icecore_core::{
    Append, Condition, Direction, Error, Filter, NameMatch, PageLimit, Position, QueryItem, Result,
    SystemStreams,
};

impl EventStore {
    /// Checks the condition up to the last durable position. What prevents that is part of the
    /// evidence: a retry must be recognised all the same.
    pub(crate) async fn check_condition(&self, append: &Append, evidence: &mut Evidence) {
        let Some(condition) = append.condition() else {
            return;
        };
        let up_to = self.last_position();
        let excluded = self.first_excluded(condition, up_to).await;
        evidence.condition = Some(CheckedCondition { up_to, excluded });
    }

    /// The first event up to `up_to` that the condition excludes. Where events of its scope were
    /// removed after `after`, nobody can say whether it would have excluded them, so it counts as if
    /// it did: the last of these positions.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, when `after` lies beyond the end. `Exhausted`, when the check would have to
    /// look at more events than the configuration allows.
    async fn first_excluded(
        &self,
        condition: &Condition,
        up_to: Position,
    ) -> Result<Option<Position>> {
        if condition.after > up_to {
            return Err(Error::invalid(
                "condition.after",
                format!("is {}, but the store ends at {up_to}", condition.after),
            ));
        }
        if condition.after == up_to {
            return Ok(None);
        }
        let everything = [QueryItem::default()];
        let items = match condition.query.items() {
            [] => &everything,
            items => items,
        };
        let mut first = None;
        let mut budget = self.config().condition_events as u64;
        for item in items {
            // Only what lies before the match of another item is of interest.
            let up_to = first.map_or(up_to, Position::previous);
            if up_to <= condition.after {
                break;
            }
            let found = self
                .first_match(item, condition.after.next(), up_to, &mut budget)
                .await?;
            first = found.or(first);
        }
        // After the search: what it did not find may just have been removed.
        let removed = items
            .iter()
            .filter_map(|item| self.maintenance().removed_from_scope(item, condition.after));
        Ok(first.or(removed.max()))
    }

    /// The first event from `from` to `up_to` (both inclusive) that the item matches.
    async fn first_match(
        &self,
        item: &QueryItem,
        from: Position,
        up_to: Position,
        budget: &mut u64,
    ) -> Result<Option<Position>> {
        let types = item
            .types
            .iter()
            .map(|event_type| event_type.clone().into_inner())
            .collect();
        let filter = Filter {
            event_type: (!item.types.is_empty()).then_some(NameMatch::AnyOf(types)),
            tags: item.tags.clone(),
            system: SystemStreams::Include,
            ..Filter::default()
        };
        let matcher = Matcher::all(&filter)?;
        let mut scan = Scan::new(
            self.storage_handle(),
            matcher,
            Direction::Forwards,
            from,
            up_to,
        );
        loop {
            let step = scan.step(PageLimit::events(256)).await?;
            if let Some(event) = step.events.first() {
                return Ok(Some(event.position));
            }
            if scan.considered > *budget {
                return Err(Error::exhausted(
                    "condition_events",
                    format!(
                        "the condition looks at more than {} events: use a later `after` or a \
                         rarer tag",
                        self.config().condition_events
                    ),
                ));
            }
            if step.end {
                *budget = budget.saturating_sub(scan.considered);
                return Ok(None);
            }
        }
    }
}
