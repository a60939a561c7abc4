//! The cluster, for whoever operates it: how its nodes and shards are, and what they are told to do. Each order stands in
//! the audit before it is carried out, or refused.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Path};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use futures_util::future::{Ready, ready};
use runtime::directory::Change;
use runtime::operations::{self, Contact, Operations, Order, Outcome, Reason, Refused};
use serde::{Deserialize, Serialize};
use twins::id::DEFAULT_TENANT;
use twins::name::Name;
use twins::time::Timestamp;
use utoipa::ToSchema;

use super::authorities::Why;
use super::body::Object;
use super::caller::Caller;
use super::problem::Problem;

/// Who carries orders out.
pub(super) struct Cluster(Arc<dyn Operations>);

impl FromRequest for Cluster {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let operations = request.app_data::<Arc<dyn Operations>>().cloned();
        ready(operations.map(Self).ok_or_else(|| Problem::internal("the API knows no cluster")))
    }
}

/// How a cluster is, as the node that is asked knows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cluster)]
pub(super) struct Shown {
    /// Which it is; null of a node that is alone.
    cluster: Option<String>,
    /// The node that is asked.
    node: u64,
    /// Whether nothing moves by itself.
    frozen: bool,
    /// The nodes, by number.
    nodes: Vec<Node>,
    /// The shards, by number.
    shards: Vec<Shard>,
    /// What needs an eye, with what to do.
    warnings: Vec<String>,
}

/// A node of a cluster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterNode)]
pub(super) struct Node {
    node: u64,
    /// Where others reach it.
    address: Option<String>,
    /// Where it stands: `zone=a`.
    location: String,
    /// `provisioning`, `active`, `draining`, `gone`.
    state: &'static str,
    /// How often it was started.
    generation: u64,
    version: String,
    /// `itself`, `reached`, `silent`: whether the node that is asked hears it.
    contact: &'static str,
    /// For how long it was not heard.
    silent_ms: Option<u64>,
}

/// A shard of a cluster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterShard)]
pub(super) struct Shard {
    shard: u32,
    /// The nodes that hold it.
    replicas: Vec<u64>,
    /// The one that leads it.
    leader: Option<u64>,
    term: u64,
    /// How many entries the last of its replicas is behind, where the node that is asked leads it.
    lag: Option<u64>,
    /// The nodes that are to hold it, while it moves.
    moves_to: Option<Vec<u64>>,
    /// Why it takes nothing.
    stuck: Option<Stuck>,
}

/// Why a shard takes nothing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StuckShard)]
pub(super) struct Stuck {
    why: String,
    /// Its nodes that are not heard.
    missing: Vec<u64>,
    /// What to do.
    next: String,
}

/// What one node joins with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Invitation {
    /// The cluster.
    cluster: String,
    /// For `twinfold cluster join`, once. It is not kept, and cannot be shown again.
    token: String,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
}

/// Where a replica goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `from` and `to`")]
#[schema(as = ShardMove)]
pub(super) struct Move {
    /// The node that has it.
    from: u64,
    /// The node that gets it.
    to: u64,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// Whether anything moves.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `frozen`")]
pub(super) struct Freeze {
    /// Whether nothing moves by itself.
    frozen: bool,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// Reads how the cluster is: its nodes, and its shards. A node that is alone says so.
#[utoipa::path(
    get,
    path = "/v1/cluster",
    tag = "cluster",
    responses(
        (status = 200, description = "How it is, as far as this node knows.", body = Shown),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
    )
)]
pub(super) async fn status(caller: Caller, cluster: Cluster) -> Result<web::Json<Shown>, Problem> {
    caller.operate()?;
    Ok(web::Json(cluster.0.status().await.into()))
}

/// Makes the node, which is alone, the first of a cluster. Its answer is a token for the second one.
#[utoipa::path(
    post,
    path = "/v1/cluster/init",
    tag = "cluster",
    request_body = Option<Why>,
    responses(
        (status = 201, description = "It is the first node. Keep the token: it is not shown again.", body = Invitation),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
        (status = 409, description = "`contradiction`: it is in a cluster already, or listens for no other node"),
        (status = 503, description = "`not-written` or `outcome-unknown`"),
    )
)]
pub(super) async fn init(
    caller: Caller,
    cluster: Cluster,
    Object(why): Object<Option<Why>>,
) -> Result<HttpResponse, Problem> {
    invited(cluster.order(&caller, Order::Found, reason(why)).await?)
}

/// Makes a token with which one more node joins, once and within an hour.
#[utoipa::path(
    post,
    path = "/v1/cluster/tokens",
    tag = "cluster",
    request_body = Option<Why>,
    responses(
        (status = 201, description = "Keep the token: it is not shown again.", body = Invitation),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
        (status = 409, description = "`contradiction`: the node is alone"),
        (status = 503, description = "`not-written` or `outcome-unknown`"),
    )
)]
pub(super) async fn token(
    caller: Caller,
    cluster: Cluster,
    Object(why): Object<Option<Why>>,
) -> Result<HttpResponse, Problem> {
    invited(cluster.order(&caller, Order::Invite, reason(why)).await?)
}

/// Gives the shards of a node to others. It goes on serving meanwhile, and then holds none.
#[utoipa::path(
    post,
    path = "/v1/cluster/nodes/{node}/drain",
    tag = "cluster",
    params(("node" = u64, Path, description = "The node.")),
    request_body = Option<Why>,
    responses(
        (status = 200, description = "It is decided. How far it is says GET /v1/cluster.", body = Shown),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
        (status = 404, description = "`unknown`: there is no such node"),
        (status = 409, description = "`contradiction`: nobody else could hold its shards"),
        (status = 503, description = "`not-written` or `outcome-unknown`"),
    )
)]
pub(super) async fn drain(
    caller: Caller,
    cluster: Cluster,
    node: Path<u64>,
    Object(why): Object<Option<Why>>,
) -> Result<web::Json<Shown>, Problem> {
    cluster.decide(&caller, Order::Drain { node: *node }, reason(why)).await
}

/// Has a node leave for good, once it holds no shard. Its certificate opens nothing any more, and its number never comes
/// back.
#[utoipa::path(
    post,
    path = "/v1/cluster/nodes/{node}/remove",
    tag = "cluster",
    params(("node" = u64, Path, description = "The node.")),
    request_body = Option<Why>,
    responses(
        (status = 200, description = "It has left.", body = Shown),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
        (status = 404, description = "`unknown`: there is no such node"),
        (status = 409, description = "`contradiction`: it holds shards; drain it first"),
        (status = 503, description = "`not-written` or `outcome-unknown`"),
    )
)]
pub(super) async fn remove(
    caller: Caller,
    cluster: Cluster,
    node: Path<u64>,
    Object(why): Object<Option<Why>>,
) -> Result<web::Json<Shown>, Problem> {
    cluster.decide(&caller, Order::Remove { node: *node }, reason(why)).await
}

/// Moves a replica of a shard from one node to another.
#[utoipa::path(
    post,
    path = "/v1/cluster/shards/{shard}/move",
    tag = "cluster",
    params(("shard" = u32, Path, description = "The shard.")),
    request_body = Move,
    responses(
        (status = 200, description = "It is decided. How far it is says GET /v1/cluster.", body = Shown),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
        (status = 404, description = "`unknown`: there is no such shard or node"),
        (status = 409, description = "`contradiction`: it moves already, or the nodes do not fit"),
        (status = 503, description = "`not-written` or `outcome-unknown`"),
    )
)]
pub(super) async fn move_replica(
    caller: Caller,
    cluster: Cluster,
    shard: Path<u32>,
    Object(Move { from, to, reason }): Object<Move>,
) -> Result<web::Json<Shown>, Problem> {
    cluster.decide(&caller, Order::Move { shard: *shard, from, to }, reason).await
}

/// Has nothing move by itself any more, or go on. What moves already comes to its end.
#[utoipa::path(
    post,
    path = "/v1/cluster/freeze",
    tag = "cluster",
    request_body = Freeze,
    responses(
        (status = 200, description = "It is so.", body = Shown),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
        (status = 409, description = "`contradiction`: the node is alone"),
        (status = 503, description = "`not-written` or `outcome-unknown`"),
    )
)]
pub(super) async fn freeze(
    caller: Caller,
    cluster: Cluster,
    Object(Freeze { frozen, reason }): Object<Freeze>,
) -> Result<web::Json<Shown>, Problem> {
    cluster.decide(&caller, Order::Freeze { frozen }, reason).await
}

impl Cluster {
    /// Carries an order out, and shows how the cluster is then.
    async fn decide(
        &self,
        caller: &Caller,
        order: Order,
        reason: Option<String>,
    ) -> Result<web::Json<Shown>, Problem> {
        self.order(caller, order, reason).await?;
        Ok(web::Json(self.0.status().await.into()))
    }

    async fn order(&self, caller: &Caller, order: Order, reason: Option<String>) -> Result<Outcome, Problem> {
        let noted = Name::new("an order", &order.to_string())?;
        caller.operate()?.change(DEFAULT_TENANT, Change::OrderCluster { order: noted }, reason, None).await?;
        Ok(self.0.order(order).await?)
    }
}

fn invited(outcome: Outcome) -> Result<HttpResponse, Problem> {
    match outcome {
        Outcome::Invited(operations::Invitation { cluster, token, expires }) => {
            Ok(HttpResponse::Created().json(Invitation { cluster, token, expires }))
        }
        Outcome::Decided => Err(Problem::internal("the cluster gave no token")),
    }
}

fn reason(why: Option<Why>) -> Option<String> {
    why.and_then(|why| why.reason)
}

impl From<operations::Status> for Shown {
    fn from(status: operations::Status) -> Self {
        let operations::Status { cluster, node, frozen, nodes, shards, warnings } = status;
        let (nodes, shards) = (nodes.into_iter().map(Node::from), shards.into_iter().map(Shard::from));
        Self { cluster, node, frozen, nodes: nodes.collect(), shards: shards.collect(), warnings }
    }
}

impl From<operations::Node> for Node {
    fn from(node: operations::Node) -> Self {
        let operations::Node { node, address, location, state, generation, version, contact } = node;
        let (contact, silent_ms) = match contact {
            Contact::Itself => ("itself", None),
            Contact::Reached => ("reached", None),
            Contact::Silent(since) => ("silent", Some(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))),
        };
        Self { node, address, location, state: state.as_str(), generation, version, contact, silent_ms }
    }
}

impl From<operations::Shard> for Shard {
    fn from(shard: operations::Shard) -> Self {
        let operations::Shard { shard, replicas, leader, term, lag, moves_to, stuck } = shard;
        let stuck = stuck.map(|operations::Stuck { why, missing, next }| Stuck { why, missing, next });
        Self { shard, replicas, leader, term, lag, moves_to, stuck }
    }
}

impl From<Refused> for Problem {
    fn from(Refused { reason, why, next }: Refused) -> Self {
        let (status, code) = match reason {
            Reason::Conflict => (StatusCode::CONFLICT, "contradiction"),
            Reason::Unknown => (StatusCode::NOT_FOUND, "unknown"),
            Reason::NotNow => (StatusCode::SERVICE_UNAVAILABLE, "not-written"),
            Reason::OutcomeUnknown => (StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown"),
        };
        let problem = Self::new(status, code, why, next);
        match reason {
            Reason::NotNow | Reason::OutcomeUnknown => problem.passes(),
            Reason::Conflict | Reason::Unknown => problem,
        }
    }
}
