//! A made-up office and its log: some hundred applications over four months, the same each time.

use crate::log::Line;
use fastrand::Rng;
use icecore_client::Timestamp;
use serde_json::{Value, json};

/// Applications of the log.
const APPLICATIONS: u32 = 400;

/// Lines that have happened when the program is started for the first time.
pub(crate) const LINES_AT_FIRST: usize = 3_000;

/// 2025-01-06T08:00:00Z, a Monday.
const BEGIN: Timestamp = Timestamp::from_nanos(1_736_150_400_000_000_000);

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Whoever does not work for the bank: the form on its site.
const SITE: &str = "web form";
const EMPLOYEES: [&str; 6] = ["Bram", "Eva", "Joris", "Lotte", "Noor", "Tom"];

/// The whole log, in the order of time.
pub(crate) fn log() -> Vec<Line> {
    let mut random = Rng::with_seed(2_025);
    let mut second = 0;
    let mut steps = Vec::new();
    for number in 1..=APPLICATIONS {
        second += random.i64(2 * HOUR..12 * HOUR);
        let mut application = Application {
            stream: format!("loan-{number}"),
            second,
            random: &mut random,
            steps: &mut steps,
        };
        application.play();
    }
    steps.sort_by_key(|(second, _)| *second);
    steps.into_iter().map(|(_, line)| line).collect()
}

/// An application on its way through the office.
struct Application<'a> {
    stream: String,
    /// The present, counted from the beginning of the log.
    second: i64,
    random: &'a mut Rng,
    steps: &'a mut Vec<(i64, Line)>,
}

impl Application<'_> {
    fn play(&mut self) {
        let amount = self.random.u32(10..=500) * 100;
        let data = json!({ "AMOUNT_REQ": amount.to_string() });
        self.happens("A_SUBMITTED", data, SITE, "COMPLETE");
        if self.chance(30) {
            self.becomes(SITE, "A_DECLINED");
            return;
        }
        self.becomes(SITE, "A_PREACCEPTED");
        let employee = self.work("W_Completeren aanvraag", 10 * MINUTE..2 * DAY);
        if self.chance(25) {
            self.becomes(employee, "A_DECLINED");
            return;
        }
        self.becomes(employee, "A_ACCEPTED");
        self.becomes(employee, "A_FINALIZED");
        let employee = self.work("W_Nabellen offertes", DAY..9 * DAY);
        if self.chance(25) {
            self.becomes(employee, "A_CANCELLED");
            return;
        }
        let mut employee = self.work("W_Valideren aanvraag", HOUR..4 * DAY);
        if self.chance(20) {
            employee = self.work("W_Nabellen incomplete dossiers", HOUR..3 * DAY);
        }
        let end = if self.chance(85) {
            "A_APPROVED"
        } else {
            "A_DECLINED"
        };
        self.becomes(employee, end);
    }

    /// A piece of work: it waits, then somebody does it.
    fn work(&mut self, what: &str, wait: std::ops::Range<i64>) -> &'static str {
        let employee = EMPLOYEES[self.random.usize(..EMPLOYEES.len())];
        self.happens(what, json!({}), SITE, "SCHEDULE");
        self.second += self.random.i64(wait);
        self.happens(what, json!({}), employee, "START");
        self.second += self.random.i64(5 * MINUTE..40 * MINUTE);
        self.happens(what, json!({}), employee, "COMPLETE");
        employee
    }

    fn becomes(&mut self, employee: &str, event_type: &str) {
        self.second += self.random.i64(1..30);
        self.happens(event_type, json!({}), employee, "COMPLETE");
    }

    fn happens(&mut self, event_type: &str, data: Value, resource: &str, lifecycle: &str) {
        let line = Line {
            stream: self.stream.clone(),
            event_type: event_type.into(),
            time: BEGIN.plus_nanos(self.second * 1_000_000_000).to_string(),
            data,
            metadata: json!({ "resource": resource, "lifecycle": lifecycle }),
            tags: Vec::new(),
        };
        self.steps.push((self.second, line));
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.u32(..100) < percent
    }
}
