//! Backups of the whole node, sent while they are taken.

use actix_web::HttpResponse;
use futures_util::stream::poll_fn;

use super::caller::Caller;
use super::problem::Problem;

/// Takes a backup.
#[utoipa::path(
    post,
    path = "/v1/backup",
    tag = "node",
    responses(
        (
            status = 200,
            description = "A tar archive of everything that was acknowledged before. One that does not end with a file \
                           `MANIFEST` was cut off. Restore it with `twinfold restore`.",
            content_type = "application/x-tar",
            body = Vec<u8>,
        ),
        (status = 403, description = "`forbidden`: the caller does not operate this node."),
        (status = 429, description = "`too-many`: another one is being taken."),
        (status = 503, description = "`not-written`: a shard cannot write its state."),
    )
)]
pub(super) async fn take(caller: Caller) -> Result<HttpResponse, Problem> {
    let mut pieces = caller.backup().await?;
    let body = poll_fn(move |context| pieces.poll_recv(context));
    Ok(HttpResponse::Ok().content_type("application/x-tar").streaming(body))
}
