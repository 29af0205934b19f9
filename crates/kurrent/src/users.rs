//! Users. The server does not ask who calls, so it has none: nobody is found, and nobody can be made.

use crate::errors::with_trailers;
use crate::proto::event_store::client::users as proto;
use crate::services::users_server::Users;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Code, Request, Response, Status};

/// The service.
pub(crate) struct UsersService;

fn not_found(login_name: &str) -> Status {
    with_trailers(
        Code::NotFound,
        format!("User '{login_name}' is not found: this server has no users."),
        "user-not-found",
        &[("login-name", login_name.to_owned())],
    )
}

#[tonic::async_trait]
impl Users for UsersService {
    async fn create(
        &self,
        _request: Request<proto::CreateReq>,
    ) -> Result<Response<proto::CreateResp>, Status> {
        Err(Status::unimplemented(
            "this server does not ask who calls, so it has no users",
        ))
    }

    async fn update(
        &self,
        request: Request<proto::UpdateReq>,
    ) -> Result<Response<proto::UpdateResp>, Status> {
        let options = request.into_inner().options.unwrap_or_default();
        Err(not_found(&options.login_name))
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteReq>,
    ) -> Result<Response<proto::DeleteResp>, Status> {
        let options = request.into_inner().options.unwrap_or_default();
        Err(not_found(&options.login_name))
    }

    async fn disable(
        &self,
        request: Request<proto::DisableReq>,
    ) -> Result<Response<proto::DisableResp>, Status> {
        let options = request.into_inner().options.unwrap_or_default();
        Err(not_found(&options.login_name))
    }

    async fn enable(
        &self,
        request: Request<proto::EnableReq>,
    ) -> Result<Response<proto::EnableResp>, Status> {
        let options = request.into_inner().options.unwrap_or_default();
        Err(not_found(&options.login_name))
    }

    type DetailsStream = BoxStream<'static, Result<proto::DetailsResp, Status>>;

    /// Without a name all users are asked for.
    async fn details(
        &self,
        request: Request<proto::DetailsReq>,
    ) -> Result<Response<Self::DetailsStream>, Status> {
        let options = request.into_inner().options.unwrap_or_default();
        if options.login_name.is_empty() {
            return Ok(Response::new(stream::empty().boxed()));
        }
        Err(not_found(&options.login_name))
    }

    async fn change_password(
        &self,
        request: Request<proto::ChangePasswordReq>,
    ) -> Result<Response<proto::ChangePasswordResp>, Status> {
        let options = request.into_inner().options.unwrap_or_default();
        Err(not_found(&options.login_name))
    }

    async fn reset_password(
        &self,
        request: Request<proto::ResetPasswordReq>,
    ) -> Result<Response<proto::ResetPasswordResp>, Status> {
        let options = request.into_inner().options.unwrap_or_default();
        Err(not_found(&options.login_name))
    }
}
