//! The suite that every engine passes: small functions, each named after the rule that it shows.
//!
//! Each rule takes a fresh, empty store and panics when the rule does not hold. An engine runs them
//! all from one test:
//!
//! ```no_run
//! # use icecore_core::StoreId;
//! # use icecore_storage::{MemoryStorage, Storage, contract};
//! # use std::sync::Arc;
//! # async fn engine_keeps_the_contract() {
//! contract::run_all(|| async {
//!     Arc::new(MemoryStorage::new(StoreId::new(uuid::Uuid::nil()))) as Arc<dyn Storage>
//! })
//! .await;
//! # }
//! ```
//!
//! For property tests there are [`generate`], which makes histories from a seed, and
//! [`assert_same`], which compares two engines through every read of the trait. What only a restart
//! or a failing disk can show is not here: that is for the tests of the engine that has a disk.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a rule that does not hold panics; that is its answer"
)]

pub mod commits;
mod compare;
pub mod contents;
pub mod generate;
pub mod indexes;
pub mod reads;
pub mod removal;
mod walk;
mod writer;

pub use compare::assert_same;

use crate::Storage;
use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

/// A rule at work.
pub type RuleFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A rule of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The rule in words, which is also the name of its function.
    pub name: &'static str,
    /// Shows the rule on a fresh, empty store; panics when it does not hold.
    pub check: fn(Arc<dyn Storage>) -> RuleFuture,
}

/// Names a rule after its function.
macro_rules! rule {
    ($module:ident::$rule:ident) => {
        Rule {
            name: stringify!($rule),
            check: |storage| Box::pin(async move { $module::$rule(&*storage).await }),
        }
    };
}

/// Every rule, the simple ones first.
pub const RULES: &[Rule] = &[
    rule!(commits::a_fresh_store_is_empty),
    rule!(commits::appends_are_visible_in_order_when_the_commit_is_answered),
    rule!(commits::a_store_with_room_admits_writes),
    rule!(commits::the_store_id_stays_the_same),
    rule!(commits::stats_count_events_and_streams),
    rule!(commits::a_later_lead_fences_the_earlier_one),
    rule!(commits::a_commit_after_another_position_writes_nothing),
    rule!(commits::last_position_moves_with_each_commit),
    rule!(commits::who_waits_for_a_position_is_woken),
    Rule {
        name: "readers_see_only_whole_appends_without_a_gap",
        check: |storage| {
            Box::pin(commits::readers_see_only_whole_appends_without_a_gap(
                storage,
            ))
        },
    },
    rule!(commits::a_closed_store_takes_no_commit),
    rule!(reads::pages_of_all_events_have_no_gap_and_no_double),
    rule!(reads::pages_of_a_stream_have_no_gap_and_no_double),
    rule!(reads::pages_of_a_term_have_no_gap_and_no_double),
    rule!(reads::a_read_begins_with_the_event_that_it_names),
    rule!(reads::a_page_keeps_to_the_limit_of_events),
    rule!(reads::a_page_keeps_to_the_limit_of_bytes),
    rule!(reads::a_page_holds_one_event_even_if_it_is_larger_than_the_limit),
    rule!(reads::beyond_the_end_is_an_empty_page_that_says_where_the_next_event_will_stand),
    rule!(reads::backwards_from_beyond_the_end_begins_with_the_last_event),
    rule!(reads::who_read_to_the_end_goes_on_from_next),
    rule!(reads::a_tombstone_follows_the_last_ordinary_event),
    rule!(reads::a_tombstone_may_stand_alone),
    rule!(reads::unknown_streams_and_terms_are_empty),
    rule!(indexes::stream_tails_come_in_the_order_of_the_question),
    rule!(indexes::stream_names_come_in_byte_order),
    rule!(indexes::stream_names_may_be_asked_for_by_prefix),
    rule!(indexes::categories_come_in_byte_order),
    rule!(indexes::events_are_found_by_category_type_and_tag),
    rule!(indexes::a_tag_twice_on_one_event_is_found_once),
    rule!(indexes::the_first_event_of_each_stream_is_found),
    rule!(indexes::events_are_found_by_their_correlation_id),
    rule!(indexes::names_that_resemble_each_other_are_kept_apart),
    rule!(indexes::many_interleaved_streams_are_kept_apart),
    rule!(contents::every_field_is_kept),
    rule!(contents::empty_and_binary_contents_are_kept),
    rule!(contents::the_longest_names_and_most_tags_are_kept),
    rule!(contents::the_earliest_and_the_latest_times_are_kept),
    rule!(contents::large_events_are_kept),
    rule!(contents::the_largest_event_is_kept),
    rule!(contents::an_append_of_many_events_is_whole),
    rule!(contents::a_generated_history_reads_as_it_does_in_memory),
    rule!(removal::the_log_is_read_as_it_was_written),
    rule!(removal::an_erased_event_stays_without_its_payload),
    rule!(removal::removed_events_are_in_no_page),
    rule!(removal::an_earlier_lead_removes_nothing),
    rule!(removal::appends_follow_removed_events),
    rule!(removal::kept_roots_are_given_back),
];

/// Shows every rule, each on a fresh, empty store that `open` gives.
///
/// A store on a disk must be in a place of its own each time, and the place must last until the test
/// ends. It needs a runtime of tokio with time; the more threads the better, since one rule lets readers
/// race with a writer.
///
/// # Panics
///
/// When a rule does not hold, with the name of the rule.
pub async fn run_all<F, Fut>(open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Storage>>,
{
    for rule in RULES {
        run(rule, open().await).await;
    }
}

/// Shows one rule on a fresh, empty store and closes the store.
///
/// # Panics
///
/// When the rule does not hold, with its name.
pub async fn run(rule: &Rule, storage: Arc<dyn Storage>) {
    let name = rule.name;
    if let Err(error) = tokio::spawn((rule.check)(Arc::clone(&storage))).await {
        match error.try_into_panic() {
            Ok(panic) => panic!("the rule `{name}` does not hold: {}", message(&*panic)),
            Err(error) => panic!("the rule `{name}` was not shown: {error}"),
        }
    }
    // One rule closes its store itself, and whether that may be done twice is the engine's to say.
    let _ = storage.close().await;
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}
