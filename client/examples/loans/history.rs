//! All steps in the order of time, and the board at any moment of them.

use crate::board::Board;
use crate::event::Step;
use icecore_client::Timestamp;

/// Steps between two boards that are kept, so that a move of the slider folds no more than these.
const STEPS_PER_BOARD: usize = 16_384;

#[derive(Debug, Default)]
pub(crate) struct History {
    steps: Vec<Step>,
    /// The boards before step 0, before step `STEPS_PER_BOARD`, and so on; made when they are needed.
    kept: Vec<Board>,
}

impl History {
    /// Takes over a step. Most come in the order of time; one that does not moves to its place.
    pub(crate) fn push(&mut self, step: Step) {
        let place = self
            .steps
            .partition_point(|before| before.time <= step.time);
        self.steps.insert(place, step);
        self.kept.truncate(place / STEPS_PER_BOARD + 1);
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn first_time(&self) -> Timestamp {
        self.steps.first().map(|step| step.time).unwrap_or_default()
    }

    pub(crate) fn last_time(&self) -> Timestamp {
        self.steps.last().map(|step| step.time).unwrap_or_default()
    }

    /// How many steps had been made by then.
    pub(crate) fn steps_until(&self, time: Timestamp) -> usize {
        self.steps.partition_point(|step| step.time <= time)
    }

    /// How things stood then.
    pub(crate) fn board_at(&mut self, time: Timestamp) -> Board {
        let until = self.steps_until(time);
        self.keep(until / STEPS_PER_BOARD);
        let nearest = until / STEPS_PER_BOARD;
        let mut board = self.kept[nearest].clone();
        let rest = &self.steps[nearest * STEPS_PER_BOARD..until];
        for step in rest {
            board.apply(step);
        }
        board
    }

    /// Makes the boards up to this one.
    fn keep(&mut self, last: usize) {
        if self.kept.is_empty() {
            self.kept.push(Board::default());
        }
        while self.kept.len() <= last {
            let from = (self.kept.len() - 1) * STEPS_PER_BOARD;
            let mut board = self.kept[self.kept.len() - 1].clone();
            let steps = &self.steps[from..from + STEPS_PER_BOARD];
            for step in steps {
                board.apply(step);
            }
            self.kept.push(board);
        }
    }
}

impl Extend<Step> for History {
    fn extend<T: IntoIterator<Item = Step>>(&mut self, steps: T) {
        steps.into_iter().for_each(|step| self.push(step));
    }
}
