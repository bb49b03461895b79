//! What the OpenAPI document says of the engine's enums, which know nothing of it.

#![expect(dead_code, reason = "only their schemas are used")]

use utoipa::ToSchema;

/// What a definition is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Kind {
    Workspace,
    Destination,
    Cohort,
    Campaign,
}

/// `ready` -> `running` -> `paused` <-> `running` -> `ended`, which is final.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Status {
    Ready,
    Running,
    Paused,
    Ended,
}
