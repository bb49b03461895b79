//! `/v1/campaigns`: the campaigns that are stored and what they are at.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::extract::{Nothing, Parameters, Reader};
use super::problem::Problem;
use super::{Routes, Shared};
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::definition::Status;
use crate::engine::time::Timestamp;

pub fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// All campaigns.
#[derive(Serialize, ToSchema)]
pub struct Campaigns {
    pub revision: u64,
    /// By priority, highest first, then key; ended ones too.
    pub campaigns: Vec<Brief>,
}

/// What a list says of a campaign.
#[derive(Serialize, ToSchema)]
pub struct Brief {
    pub key: String,
    pub title: Option<String>,
    #[schema(value_type = super::shown::Status)]
    pub status: Status,
    pub version: u32,
    pub channel: Option<String>,
    pub tags: Vec<String>,
    pub priority: i64,
    /// Which kind of trigger it has.
    #[schema(example = "inaction")]
    pub trigger: &'static str,
    /// The destination's key, else the host.
    pub destination: String,
    /// Of a running campaign with a schedule.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<Timestamp>,
}

/// All campaigns that are stored.
#[utoipa::path(
    get, path = "/v1/campaigns", tag = "campaigns", security(("read" = []), ("admin" = [])),
    responses((status = 200, description = "By priority, then key", body = Campaigns))
)]
async fn list(_: Reader, State(shared): State<Arc<Shared>>, _: Parameters<Nothing>) -> Result<Json<Campaigns>, Problem> {
    let in_force = shared.in_force().await?;
    let campaigns = in_force.campaigns.iter().map(|campaign| brief(&in_force, campaign));
    Ok(Json(Campaigns { revision: in_force.revision, campaigns: campaigns.collect() }))
}

fn brief(in_force: &InForce, campaign: &CampaignInForce) -> Brief {
    let campaign = &campaign.definition;
    let text = |text: &str| text.to_owned();
    Brief {
        key: text(&campaign.key),
        title: campaign.title.as_deref().map(text),
        status: campaign.status.unwrap_or(Status::Ready),
        version: campaign.version,
        channel: campaign.channel.as_deref().map(text),
        tags: campaign.tags.iter().map(|tag| text(tag)).collect(),
        priority: campaign.priority,
        trigger: campaign.trigger.name(),
        destination: text(in_force.destination_of(&campaign.webhook).name),
        next_run: None,
    }
}
