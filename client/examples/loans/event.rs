//! What the dashboard reads of the log. The types were named by whoever wrote it, in part in Dutch; here
//! they get names of our own. What is not named is not asked for, so it never leaves the server.

use anyhow::Result;
use icecore_client::{Event, RecordedEvent, RecordedEventExt, Timestamp, decode, event_types_of};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The events of a loan.
#[derive(Serialize, Deserialize)]
enum LoanEvent {
    #[serde(rename = "A_SUBMITTED")]
    Submitted {
        #[serde(rename = "AMOUNT_REQ")]
        amount: String,
    },
    #[serde(rename = "A_PREACCEPTED")]
    Preaccepted,
    #[serde(rename = "A_ACCEPTED")]
    Accepted,
    #[serde(rename = "A_FINALIZED")]
    Offered,
    #[serde(rename = "A_APPROVED")]
    Approved,
    #[serde(rename = "A_DECLINED")]
    Declined,
    #[serde(rename = "A_CANCELLED")]
    Cancelled,
    #[serde(rename = "W_Afhandelen leads")]
    HandleLead,
    #[serde(rename = "W_Completeren aanvraag")]
    CompleteApplication,
    #[serde(rename = "W_Nabellen offertes")]
    CallAfterOffer,
    #[serde(rename = "W_Valideren aanvraag")]
    Validate,
    #[serde(rename = "W_Nabellen incomplete dossiers")]
    CallForPapers,
    #[serde(rename = "W_Beoordelen fraude")]
    JudgeFraud,
}

impl Event for LoanEvent {}

/// How far an application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum State {
    Submitted,
    Preaccepted,
    Accepted,
    Offered,
    Approved,
    Declined,
    Cancelled,
}

/// What there is to do for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Work {
    HandleLead,
    CompleteApplication,
    CallAfterOffer,
    Validate,
    CallForPapers,
    JudgeFraud,
}

/// How far a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Phase {
    Schedule,
    Start,
    Complete,
}

/// What the dashboard is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) time: Timestamp,
    pub(crate) loan: Arc<str>,
    pub(crate) employee: Option<String>,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    Submitted { amount: u64 },
    Became(State),
    Worked(Work, Phase),
}

/// What was said beside the data.
#[derive(Default, Deserialize)]
struct Metadata {
    resource: Option<String>,
    lifecycle: Option<Phase>,
}

/// The types to subscribe to.
pub(crate) fn types() -> Result<Vec<String>> {
    let types = event_types_of::<LoanEvent>()?;
    Ok(types.iter().map(|name| name.as_str().to_owned()).collect())
}

/// What an event means for the dashboard.
pub(crate) fn step(recorded: &RecordedEvent) -> Result<Option<Step>> {
    let Some(event) = decode::<LoanEvent>(recorded)? else {
        return Ok(None);
    };
    let metadata: Metadata = recorded.metadata_json()?;
    let work = |work| metadata.lifecycle.map(|phase| What::Worked(work, phase));
    let what = match event {
        LoanEvent::Submitted { amount } => Some(What::Submitted {
            amount: amount.parse()?,
        }),
        LoanEvent::Preaccepted => Some(What::Became(State::Preaccepted)),
        LoanEvent::Accepted => Some(What::Became(State::Accepted)),
        LoanEvent::Offered => Some(What::Became(State::Offered)),
        LoanEvent::Approved => Some(What::Became(State::Approved)),
        LoanEvent::Declined => Some(What::Became(State::Declined)),
        LoanEvent::Cancelled => Some(What::Became(State::Cancelled)),
        LoanEvent::HandleLead => work(Work::HandleLead),
        LoanEvent::CompleteApplication => work(Work::CompleteApplication),
        LoanEvent::CallAfterOffer => work(Work::CallAfterOffer),
        LoanEvent::Validate => work(Work::Validate),
        LoanEvent::CallForPapers => work(Work::CallForPapers),
        LoanEvent::JudgeFraud => work(Work::JudgeFraud),
    };
    Ok(what.map(|what| Step {
        // In a store that had newer events already, an imported one counts as recorded after those;
        // the time that it brought along is kept beside.
        time: recorded.created_at.unwrap_or(recorded.recorded_at),
        loan: recorded.stream.as_str().into(),
        employee: metadata.resource,
        what,
    }))
}

impl State {
    pub(crate) const ALL: [Self; 7] = [
        Self::Submitted,
        Self::Preaccepted,
        Self::Accepted,
        Self::Offered,
        Self::Approved,
        Self::Declined,
        Self::Cancelled,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Preaccepted => "pre-accepted",
            Self::Accepted => "accepted",
            Self::Offered => "offer made",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing more is decided about the application.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Approved | Self::Declined | Self::Cancelled)
    }
}

impl Work {
    pub(crate) const ALL: [Self; 6] = [
        Self::HandleLead,
        Self::CompleteApplication,
        Self::CallAfterOffer,
        Self::Validate,
        Self::CallForPapers,
        Self::JudgeFraud,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HandleLead => "handle lead",
            Self::CompleteApplication => "complete application",
            Self::CallAfterOffer => "call after offer",
            Self::Validate => "validate",
            Self::CallForPapers => "call for papers",
            Self::JudgeFraud => "judge fraud",
        }
    }
}
