//! `event_store.client.projections.Projections`: decode, call, encode.
//!
//! Those of the system are views over the store's indexes: always there, always up to date, and not to be
//! changed. Those of users are kept (`books.rs`, `definition.rs`), listed and switched, but not run: this
//! server has no JavaScript. Who needs what one computes follows the store by a client.

mod books;
mod definition;
mod statistics;

use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::projections as proto;
use crate::services::projections_server::Projections;
use books::Books;
use definition::{Definition, Mode, Status as Standing};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use icecore_eventstore::EventStore;
use proto::create_req::options::Mode as CreateMode;
use proto::statistics_req::options::Mode as Asked;
use proto::statistics_resp::Details;
use proto::update_req::options::EmitOption;
use tonic::{Request, Response, Status};

/// The projections of the system.
const SYSTEM: [&str; 5] = [
    "$by_category",
    "$by_event_type",
    "$by_correlation_id",
    "$streams",
    "$stream_by_category",
];

/// What to do instead of asking for a state or a result.
const NOT_RUN: &str = "this server does not run projections in JavaScript, so there is no state: let a \
                       program subscribe to $all or to a stream and keep what it computes, as \
                       icecore-client's projections do";

/// The service over a store.
pub(crate) struct ProjectionsService {
    store: EventStore,
    books: Books,
}

impl ProjectionsService {
    pub(crate) fn new(store: EventStore) -> Self {
        Self {
            books: Books::new(store.clone()),
            store,
        }
    }

    async fn statistics_of(&self, asked: Asked) -> Result<Vec<Details>, Status> {
        let last = self.store.last_position();
        let mode = match asked {
            Asked::Name(name) if is_system(&name) => {
                return Ok(vec![statistics::of_system(&name, last)]);
            }
            Asked::Name(name) => {
                let definition = self.books.find(&name).await?;
                return Ok(vec![statistics::of_user(&name, &definition)]);
            }
            Asked::All(_) => None,
            Asked::Continuous(_) => Some(Mode::Continuous),
            Asked::Transient(_) => Some(Mode::Transient),
            Asked::OneTime(_) => Some(Mode::OneTime),
        };
        let is_meant = |of| mode.is_none_or(|mode| mode == of);
        let mut all = Vec::new();
        if is_meant(Mode::Continuous) {
            all.extend(SYSTEM.map(|name| statistics::of_system(name, last)));
        }
        for (name, definition) in self.books.all().await? {
            if is_meant(definition.mode) {
                all.push(statistics::of_user(&name, &definition));
            }
        }
        Ok(all)
    }

    /// There is nothing to look at but the name.
    async fn not_run(&self, name: &str) -> Status {
        if is_system(name) {
            let text = format!("projection `{name}` has no state: read the streams of its links");
            return Status::unimplemented(text);
        }
        match self.books.find(name).await {
            Ok(_) => Status::unimplemented(NOT_RUN),
            Err(status) => status,
        }
    }
}

fn is_system(name: &str) -> bool {
    SYSTEM.contains(&name)
}

/// Those of the system stay as they are.
fn of_user(name: &str) -> Result<(), Status> {
    if is_system(name) {
        return Err(Status::failed_precondition(format!(
            "projection `{name}` is a view over the store: it is always on and cannot be changed"
        )));
    }
    Ok(())
}

fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("{field} is missing"))
}

/// The options of a call.
fn given<T>(options: Option<T>) -> Result<T, Status> {
    options.ok_or_else(|| missing("options"))
}

#[tonic::async_trait]
impl Projections for ProjectionsService {
    async fn create(
        &self,
        request: Request<proto::CreateReq>,
    ) -> Result<Response<proto::CreateResp>, Status> {
        let options = given(request.into_inner().options)?;
        let mut definition = Definition::new(options.query, options.engine_version);
        let name = match options.mode.ok_or_else(|| missing("mode"))? {
            CreateMode::OneTime(_) => {
                definition.mode = Mode::OneTime;
                self.store.next_id().to_string()
            }
            CreateMode::Transient(transient) => {
                definition.mode = Mode::Transient;
                transient.name
            }
            CreateMode::Continuous(continuous) => {
                definition.emit_enabled = continuous.emit_enabled;
                definition.track_emitted_streams = continuous.track_emitted_streams;
                continuous.name
            }
        };
        if is_system(&name) {
            return Err(books::exists(&name));
        }
        self.books.create(&name, &definition).await?;
        Ok(Response::new(proto::CreateResp {}))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateReq>,
    ) -> Result<Response<proto::UpdateResp>, Status> {
        let options = given(request.into_inner().options)?;
        of_user(&options.name)?;
        let change = |definition: &mut Definition| {
            definition.version += 1;
            definition.query = options.query;
            if let Some(EmitOption::EmitEnabled(enabled)) = options.emit_option {
                definition.emit_enabled = enabled;
            }
        };
        self.books.change(&options.name, change).await?;
        Ok(Response::new(proto::UpdateResp {}))
    }

    /// What it wrote goes with it: it has not written anything.
    async fn delete(
        &self,
        request: Request<proto::DeleteReq>,
    ) -> Result<Response<proto::DeleteResp>, Status> {
        let options = given(request.into_inner().options)?;
        of_user(&options.name)?;
        self.books.delete(&options.name).await?;
        Ok(Response::new(proto::DeleteResp {}))
    }

    type StatisticsStream = BoxStream<'static, Result<proto::StatisticsResp, Status>>;

    async fn statistics(
        &self,
        request: Request<proto::StatisticsReq>,
    ) -> Result<Response<Self::StatisticsStream>, Status> {
        let asked = given(request.into_inner().options)?.mode;
        let found = self.statistics_of(asked.ok_or_else(|| missing("mode"))?);
        let answers = found.await?.into_iter().map(|details| {
            Ok(proto::StatisticsResp {
                details: Some(details),
            })
        });
        Ok(Response::new(stream::iter(answers).boxed()))
    }

    async fn disable(
        &self,
        request: Request<proto::DisableReq>,
    ) -> Result<Response<proto::DisableResp>, Status> {
        let options = given(request.into_inner().options)?;
        of_user(&options.name)?;
        let status = if options.write_checkpoint {
            Standing::Stopped
        } else {
            Standing::Aborted
        };
        let change = |definition: &mut Definition| definition.status = status;
        self.books.change(&options.name, change).await?;
        Ok(Response::new(proto::DisableResp {}))
    }

    async fn enable(
        &self,
        request: Request<proto::EnableReq>,
    ) -> Result<Response<proto::EnableResp>, Status> {
        let name = given(request.into_inner().options)?.name;
        if !is_system(&name) {
            let change = |definition: &mut Definition| definition.status = Standing::Running;
            self.books.change(&name, change).await?;
        }
        Ok(Response::new(proto::EnableResp {}))
    }

    /// A view is what the store holds, so there is nothing that could begin anew.
    async fn reset(
        &self,
        request: Request<proto::ResetReq>,
    ) -> Result<Response<proto::ResetResp>, Status> {
        let name = given(request.into_inner().options)?.name;
        if !is_system(&name) {
            let change = |definition: &mut Definition| definition.epoch += 1;
            self.books.change(&name, change).await?;
        }
        Ok(Response::new(proto::ResetResp {}))
    }

    async fn state(
        &self,
        request: Request<proto::StateReq>,
    ) -> Result<Response<proto::StateResp>, Status> {
        Err(self
            .not_run(&given(request.into_inner().options)?.name)
            .await)
    }

    async fn result(
        &self,
        request: Request<proto::ResultReq>,
    ) -> Result<Response<proto::ResultResp>, Status> {
        Err(self
            .not_run(&given(request.into_inner().options)?.name)
            .await)
    }

    /// Nothing runs that could be restarted.
    async fn restart_subsystem(
        &self,
        _request: Request<shared::Empty>,
    ) -> Result<Response<shared::Empty>, Status> {
        Ok(Response::new(shared::Empty {}))
    }
}
