//! `/v1/campaigns/{key}/users`: whom a campaign has reached, as their records say. A walk over all users, a part of it a request.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Key, Parameters, Reader};
use super::problem::Problem;
use super::{Routes, Shared};
use crate::engine::fatigue;
use crate::engine::id::CampaignId;
use crate::engine::record::codec;
use crate::engine::time::Timestamp;
use crate::worker::ports::{Cursor, Page};

pub fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// Users that are looked at in one request: where a campaign has reached few, a page may be empty and not the last.
const LOOKED_AT: usize = 10_000;

/// Users looked at in one go: others get their turn at the desk between.
const PAGE: usize = 500;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// What of them.
    #[param(inline)]
    outcome: Outcome,
    /// `next` of the page before.
    cursor: Option<String>,
    /// About how many: a part of the walk is told whole. From 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Sent,
}

/// A part of those who were reached, in no order.
#[derive(Serialize, ToSchema)]
pub struct ExposedUsers {
    pub users: Vec<ExposedUser>,
    /// Where the next part begins; `null`: that was the last. A part may be empty and not the last.
    pub next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ExposedUser {
    pub user_id: String,
    /// When last.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub times: u64,
    #[schema(example = "treatment")]
    pub arm: &'static str,
}

/// Whom a campaign has reached. Somebody who is reached during the walk may be in it or not; some may be told twice.
#[utoipa::path(
    get, path = "/v1/campaigns/{key}/users", tag = "statistics", security(("read" = []), ("admin" = [])),
    params(("key" = String, Path), Wanted),
    responses((status = 200, description = "In no order", body = ExposedUsers), (status = 404, description = "There is no such campaign"))
)]
async fn list(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    Parameters(wanted): Parameters<Wanted>,
) -> Result<Json<ExposedUsers>, Problem> {
    let Wanted { outcome: Outcome::Sent, cursor, limit } = wanted;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid(format!("`limit` is from 1 to {MAX_LIMIT}")).at("limit"));
    }
    let read = |text: String| URL_SAFE_NO_PAD.decode(&text).map(Cursor);
    let mut cursor = cursor.map(read).transpose().map_err(|_| Problem::invalid("`cursor` is none that was given out").at("cursor"))?;
    if shared.in_force().await?.by_key(&key).is_none() {
        return Err(Problem::not_found(format!("there is no campaign `{key}`")));
    }
    let campaign = CampaignId::of(&key);
    let mut users = Vec::new();
    for _ in 0..LOOKED_AT / PAGE {
        let from = cursor.take();
        let (found, next) = shared.desk.run(async move |state| exposed(state, campaign, from).await).await?;
        users.extend(found);
        cursor = next;
        if cursor.is_none() || users.len() >= limit as usize {
            break;
        }
    }
    Ok(Json(ExposedUsers { users, next: cursor.map(|Cursor(bytes)| URL_SAFE_NO_PAD.encode(bytes)) }))
}

async fn exposed(
    state: &mut dyn crate::worker::ports::State,
    campaign: CampaignId,
    from: Option<Cursor>,
) -> Result<(Vec<ExposedUser>, Option<Cursor>), Problem> {
    let Page { users, next } = state.users(from.as_ref(), PAGE).await?;
    let mut found = Vec::new();
    for (user, stored) in users.iter().zip(state.load(&users).await?.users) {
        let Some(stored) = stored else { continue };
        let record =
            codec::decode(&stored.record).map_err(|error| Problem::internal(format!("a stored record cannot be read: {error}")))?;
        if let Some((at, times)) = fatigue::exposed(&record.ledger, campaign) {
            found.push(ExposedUser { user_id: user.to_string(), at, times, arm: "treatment" });
        }
    }
    Ok((found, next))
}
