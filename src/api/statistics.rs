//! `/v1/stats` and `/v1/campaigns/{key}/stats`: what became of everybody whom a trigger concerned, and what came of it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Key, Parameters, Reader};
use super::problem::Problem;
use super::{Routes, Shared};
use crate::engine::id::UserId;
use crate::engine::statistics::{self, Arms, Converting, Report, parse_day, show_day};
use crate::engine::time::Timestamp;
use crate::worker::stats::{note, tally};

pub fn routes() -> Routes {
    Routes::new().routes(routes!(of_one)).routes(routes!(of_all))
}

/// Tallies read at once: with the largest 4 MiB.
const AT_ONCE: usize = 64;

/// Which days.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Days {
    /// The first UTC day, `2026-11-01`. Without days all time is told.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<String>,
    /// The last UTC day. 90 days are known singly.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<String>,
}

/// Statistics of one campaign, or of all.
#[derive(Serialize, ToSchema)]
pub struct Stats {
    /// `null`: of all campaigns.
    pub campaign: Option<String>,
    /// When the counts last changed; `null`: nothing was counted yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Timestamp>,
    pub totals: Totals,
    /// What was held back, by reason.
    pub reasons: BTreeMap<Box<str>, u64>,
    /// What finally failed, by cause.
    pub failed_by: BTreeMap<Box<str>, u64>,
    /// UTC days, oldest first; those without anything are left out.
    pub by_day: Vec<Day>,
    pub conversions: Conversions,
    /// Of all campaigns: the totals of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaigns: Option<BTreeMap<String, Totals>>,
}

/// The funnel.
#[derive(Serialize, ToSchema)]
pub struct Totals {
    /// Decisions that came to an end.
    pub matched: u64,
    /// Those of them that got past the audience, and what is judged before it.
    pub in_audience: u64,
    /// Held out as control group.
    pub control: u64,
    /// Held back because the campaign had reached the user: `already_sent`, `resend_wait`.
    pub duplicate: u64,
    /// Held back by a frequency cap.
    pub capped: u64,
    /// Decisions that were put off; each is matched when it comes to an end.
    pub deferred: u64,
    pub sent: u64,
    pub delivered: u64,
    pub failed: u64,
    /// All that was held back, for whatever reason.
    pub suppressed: u64,
}

/// One UTC day.
#[derive(Serialize, ToSchema)]
pub struct Day {
    #[schema(format = Date, example = "2026-11-21")]
    pub day: String,
    #[serde(flatten)]
    pub totals: Totals,
}

/// What the goal's events came to, of those who were sent to and of those held out.
#[derive(Serialize, ToSchema)]
pub struct Conversions {
    pub treatment: Arm,
    pub control: Arm,
    /// How much higher the treatment's rate is, as a part of the control's; `null` where nobody of the control converted.
    pub lift: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub struct Arm {
    /// How often somebody was sent to, or held out: an event converts one such exposure.
    pub users: u64,
    pub conversions: u64,
    pub rate: f64,
}

/// What became of everybody whom a campaign's trigger concerned.
#[utoipa::path(
    get, path = "/v1/campaigns/{key}/stats", tag = "statistics", security(("read" = []), ("admin" = [])),
    params(("key" = String, Path), Days),
    responses((status = 200, description = "Some seconds old", body = Stats), (status = 404, description = "There is no such campaign"))
)]
async fn of_one(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    Parameters(days): Parameters<Days>,
) -> Result<Json<Stats>, Problem> {
    let days = days.read()?;
    if shared.in_force().await?.by_key(&key).is_none() {
        return Err(Problem::not_found(format!("there is no campaign `{key}`")));
    }
    let mut reports = reports(&shared, vec![key.clone()], days).await?;
    let report = reports.remove(&key).unwrap_or_default();
    Ok(Json(Stats { campaign: Some(key), ..shown(report) }))
}

/// What became of everybody whom any trigger concerned.
#[utoipa::path(
    get, path = "/v1/stats", tag = "statistics", security(("read" = []), ("admin" = [])), params(Days),
    responses((status = 200, description = "Some seconds old", body = Stats))
)]
async fn of_all(_: Reader, State(shared): State<Arc<Shared>>, Parameters(days): Parameters<Days>) -> Result<Json<Stats>, Problem> {
    let days = days.read()?;
    let in_force = shared.in_force().await?;
    let keys = in_force.campaigns.iter().map(|campaign| campaign.definition.key.to_string()).collect();
    let reports = reports(&shared, keys, days).await?;
    let mut all = Report::default();
    reports.values().for_each(|report| all.merge(report));
    // Arms of different campaigns do not compare.
    all.conversions.lift = None;
    let campaigns = reports.into_iter().map(|(key, report)| (key, totals(report.totals)));
    Ok(Json(Stats { campaigns: Some(campaigns.collect()), ..shown(all) }))
}

impl Days {
    fn read(&self) -> Result<Option<RangeInclusive<i32>>, Problem> {
        let day = |text: &Option<String>, name: &str, absent: i32| match text {
            None => Ok(absent),
            Some(text) => parse_day(text).ok_or_else(|| Problem::invalid(format!("`{text}` is no day: write 2026-11-21")).at(name)),
        };
        let (from, to) = (day(&self.from, "from", i32::MIN)?, day(&self.to, "to", i32::MAX)?);
        if from > to {
            return Err(Problem::invalid("`from` lies after `to`").at("from"));
        }
        Ok((self.from.is_some() || self.to.is_some()).then_some(from..=to))
    }
}

/// Of these campaigns, by key.
async fn reports(shared: &Shared, keys: Vec<String>, days: Option<RangeInclusive<i32>>) -> Result<BTreeMap<String, Report>, Problem> {
    let mut reports = BTreeMap::new();
    for keys in keys.chunks(AT_ONCE) {
        let (keys, days) = (keys.to_vec(), days.clone());
        let read = shared.desk.run(async move |state| {
            let notes: Vec<UserId> = keys.iter().map(|key| note(key)).collect();
            let stored = state.load(&notes).await?.users;
            let report = |(key, stored): (String, Option<_>)| Ok((key, tally(stored.as_ref())?.report(days.clone())));
            keys.into_iter().zip(stored).map(report).collect::<Result<Vec<_>, Problem>>()
        });
        reports.extend(read.await?);
    }
    Ok(reports)
}

fn shown(report: Report) -> Stats {
    let Report { as_of, totals: all, reasons, failed_by, by_day, conversions: Arms { treatment, control, lift } } = report;
    let arm = |Converting { users, conversions, rate }| Arm { users, conversions, rate };
    Stats {
        campaign: None,
        as_of,
        totals: totals(all),
        reasons,
        failed_by,
        by_day: by_day.into_iter().map(|day| Day { day: show_day(day.day), totals: totals(day.totals) }).collect(),
        conversions: Conversions { treatment: arm(treatment), control: arm(control), lift },
        campaigns: None,
    }
}

fn totals(of: statistics::Totals) -> Totals {
    let statistics::Totals { matched, in_audience, control, duplicate, capped, deferred, sent, delivered, failed, suppressed } = of;
    Totals { matched, in_audience, control, duplicate, capped, deferred, sent, delivered, failed, suppressed }
}
