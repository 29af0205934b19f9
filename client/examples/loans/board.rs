//! The dashboard's figures: what is left of the events when they are folded. Pure.

use super::event::{Phase, State, Step, What, Work};
use icecore_client::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How things stand after some of the steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub(crate) applications: HashMap<Arc<str>, Application>,
    pub(crate) work: BTreeMap<Work, Pile>,
    pub(crate) employees: BTreeMap<String, Employee>,
}

#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) amount: u64,
    pub(crate) state: State,
    pub(crate) submitted: Timestamp,
    /// When it got into its state.
    pub(crate) since: Timestamp,
}

/// All work of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pile {
    /// Scheduled and not begun, with the time since.
    pub(crate) waiting: HashMap<Arc<str>, Timestamp>,
    /// Somebody is at it: who, and since when.
    pub(crate) at_work: HashMap<Arc<str>, (String, Timestamp)>,
    /// How long work has waited until somebody began.
    pub(crate) waits_seconds: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Employee {
    /// Pieces of work done.
    pub(crate) done: u64,
    pub(crate) busy_seconds: u64,
}

impl Board {
    pub(crate) fn apply(&mut self, step: &Step) {
        match step.what {
            What::Submitted { amount } => {
                let application = Application {
                    amount,
                    state: State::Submitted,
                    submitted: step.time,
                    since: step.time,
                };
                self.applications.insert(step.loan.clone(), application);
            }
            What::Became(state) => {
                if let Some(application) = self.applications.get_mut(&step.loan) {
                    application.state = state;
                    application.since = step.time;
                }
            }
            What::Worked(work, phase) => self.work(work, phase, step),
        }
    }

    fn work(&mut self, work: Work, phase: Phase, step: &Step) {
        let pile = self.work.entry(work).or_default();
        let loan = &step.loan;
        match phase {
            Phase::Schedule => {
                pile.waiting.insert(loan.clone(), step.time);
            }
            Phase::Start => {
                if let Some(since) = pile.waiting.remove(loan) {
                    pile.waits_seconds.push(clamped(seconds(since, step.time)));
                }
                let who = step.employee.clone().unwrap_or_else(|| "unknown".into());
                pile.at_work.insert(loan.clone(), (who, step.time));
            }
            Phase::Complete => {
                if let Some((who, since)) = pile.at_work.remove(loan) {
                    let employee = self.employees.entry(who).or_default();
                    employee.done += 1;
                    employee.busy_seconds += seconds(since, step.time);
                }
            }
        }
    }

    /// The applications in a state: how many, their amounts, and the median of a time of theirs: how
    /// long they have been in the state, or, when it is final, how long it took to get there.
    pub(crate) fn in_state(&self, state: State, now: Timestamp) -> (usize, u64, Option<u32>) {
        let applications = || self.applications.values().filter(|a| a.state == state);
        let mut times: Vec<u32> = applications()
            .map(|application| {
                clamped(if state.is_final() {
                    seconds(application.submitted, application.since)
                } else {
                    seconds(application.since, now)
                })
            })
            .collect();
        let amount = applications().map(|application| application.amount).sum();
        (times.len(), amount, median(&mut times))
    }

    /// The pieces of work that an employee is at.
    pub(crate) fn at_work(&self, employee: &str) -> usize {
        let all = self.work.values().flat_map(|pile| pile.at_work.values());
        all.filter(|(who, _)| who == employee).count()
    }
}

/// The one in the middle.
pub(crate) fn median(values: &mut [u32]) -> Option<u32> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable(middle).1)
}

fn seconds(since: Timestamp, until: Timestamp) -> u64 {
    let nanos = until.nanos().saturating_sub(since.nanos());
    u64::try_from(nanos / 1_000_000_000).unwrap_or(0)
}

fn clamped(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of loan 1, so many seconds after the first.
    fn step(second: i64, employee: &str, what: What) -> Step {
        Step {
            time: Timestamp::from_nanos(second * 1_000_000_000),
            loan: "loan-1".into(),
            employee: Some(employee.into()),
            what,
        }
    }

    fn fold(steps: &[Step]) -> Board {
        let mut board = Board::default();
        for step in steps {
            board.apply(step);
        }
        board
    }

    #[test]
    fn an_application_is_in_one_state_and_its_times_count() {
        let steps = [
            step(0, "web", What::Submitted { amount: 5_000 }),
            step(60, "eva", What::Became(State::Preaccepted)),
            step(600, "eva", What::Became(State::Declined)),
        ];
        let then = Timestamp::from_nanos(100_000_000_000);
        let open = fold(&steps[..2]);
        assert_eq!(
            open.in_state(State::Preaccepted, then),
            (1, 5_000, Some(40))
        );
        assert_eq!(open.in_state(State::Submitted, then), (0, 0, None));
        let ended = fold(&steps);
        assert_eq!(ended.in_state(State::Declined, then), (1, 5_000, Some(600)));
    }

    #[test]
    fn work_waits_is_begun_and_counts_for_who_has_done_it() {
        let worked = |phase| What::Worked(Work::Validate, phase);
        let steps = [
            step(0, "web", worked(Phase::Schedule)),
            step(90, "eva", worked(Phase::Start)),
            step(100, "web", worked(Phase::Complete)),
            step(200, "tom", worked(Phase::Start)),
        ];
        assert_eq!(fold(&steps[..1]).work[&Work::Validate].waiting.len(), 1);
        let begun = fold(&steps[..2]);
        assert_eq!(begun.work[&Work::Validate].waits_seconds, [90]);
        assert_eq!(begun.at_work("eva"), 1);
        let board = fold(&steps);
        let eva = board.employees["eva"];
        assert_eq!((eva.done, eva.busy_seconds), (1, 10));
        assert_eq!((board.at_work("eva"), board.at_work("tom")), (0, 1));
        assert_eq!(
            board.work[&Work::Validate].waits_seconds,
            [90],
            "nobody waited again"
        );
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [9, 1, 5]), Some(5));
    }
}
