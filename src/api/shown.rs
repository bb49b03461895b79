//! What the OpenAPI document says of the engine's enums, which know nothing of it, and of bodies that are read without copying.

#![expect(dead_code, reason = "only their schemas are used")]

use serde_json::{Map, Value};
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

/// What became of a definition that was applied.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Change {
    Added,
    Changed,
    Unchanged,
    Deleted,
    Ended,
}

/// Whose rule it is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Scope {
    Workspace,
    Campaign,
}

type Fields = Map<String, Value>;

/// A `track` of the Segment spec; `userId` or `anonymousId` is needed. Other fields are left as they are.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"userId": "u1", "event": "purchase", "properties": {"amount": 120}}))]
pub struct Track {
    pub user_id: Option<Id>,
    pub anonymous_id: Option<Id>,
    pub event: String,
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Fields>,
    pub timestamp: Option<String>,
    /// Text, or a number; anything else is as if it were not there.
    pub message_id: Option<Value>,
    /// What it describes of the sender is used where it can be read.
    #[schema(value_type = Option<Object>)]
    pub context: Option<Fields>,
}

/// An `identify` of the Segment spec; `userId` or `anonymousId` is needed.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"userId": "u1", "traits": {"country": "KR"}}))]
pub struct Identify {
    pub user_id: Option<Id>,
    pub anonymous_id: Option<Id>,
    #[schema(value_type = Option<Object>)]
    pub traits: Option<Fields>,
    pub timestamp: Option<String>,
    /// Text, or a number; anything else is as if it were not there.
    pub message_id: Option<Value>,
    /// What it describes of the sender is used where it can be read.
    #[schema(value_type = Option<Object>)]
    pub context: Option<Fields>,
}

/// A `page` or `screen` of the Segment spec; `userId` or `anonymousId` is needed.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"userId": "u1", "name": "Home"}))]
pub struct View {
    pub user_id: Option<Id>,
    pub anonymous_id: Option<Id>,
    /// Joins the properties, whatever it is; so does `category`.
    pub name: Option<Value>,
    pub category: Option<Value>,
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Fields>,
    pub timestamp: Option<String>,
    /// Text, or a number; anything else is as if it were not there.
    pub message_id: Option<Value>,
}

/// Events with their `type`: `track`, `identify`, `page`, `screen` or `delete`.
#[derive(ToSchema)]
#[schema(example = json!({"batch": [{"type": "track", "userId": "u1", "event": "purchase"}]}))]
pub struct Batch {
    #[schema(value_type = Vec<Object>, max_items = 1000)]
    pub batch: Vec<Fields>,
}

/// One user, or up to 1,000 recipients.
#[derive(ToSchema)]
#[schema(example = json!({"user_id": "u1", "properties": {"points": 5}}))]
pub struct Send {
    pub user_id: Option<Id>,
    /// Asking again with the same id sends nothing again.
    pub message_id: Option<Id>,
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Fields>,
    #[schema(value_type = Option<Object>)]
    pub traits: Option<Fields>,
    #[schema(max_items = 1000)]
    pub recipients: Option<Vec<Recipient>>,
}

/// One of several; its own properties and traits go over the common ones.
#[derive(ToSchema)]
pub struct Recipient {
    pub user_id: Id,
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Fields>,
    #[schema(value_type = Option<Object>)]
    pub traits: Option<Fields>,
}

/// The ids by which the log knows what was asked for.
#[derive(ToSchema)]
pub struct Sent {
    pub message_id: Option<String>,
    pub message_ids: Option<Vec<String>>,
}

/// Text, or a number, which is its text.
#[derive(serde::Serialize, ToSchema)]
#[serde(untagged)]
pub enum Id {
    Text(String),
    #[schema(value_type = f64)]
    Number(serde_json::Number),
}
