//! The request as it is written: its templates are text here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::value::Value;

/// The request as written: every `String` here that may hold `{{ }}` is template text.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub url: Box<str>,
    /// `host[:port]` as written in the URL, lower case: fixed text, chooses the destination.
    pub host: Box<str>,
    pub method: Method,
    /// Query parameters in order; values are templates.
    pub params: Vec<(Box<str>, Value)>,
    pub headers: Vec<(Box<str>, Box<str>)>,
    pub content_type: ContentType,
    pub body: Body,
    /// H5: data fetched at send time, by name.
    pub links: Vec<Link>,
    /// Names a destination where two match the host.
    pub destination: Option<Box<str>>,
}

impl Webhook {
    /// One that says nothing but where to.
    pub fn new(url: &str, host: &str) -> Webhook {
        Webhook {
            url: url.into(),
            host: host.into(),
            method: Method::Post,
            params: Vec::new(),
            headers: Vec::new(),
            content_type: ContentType::Json,
            body: Body::Default,
            links: Vec::new(),
            destination: None,
        }
    }
}

/// Data of another service, in the template as `link.<name>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub name: Box<str>,
    /// Template text; the host is fixed.
    pub url: Box<str>,
    pub host: Box<str>,
    /// How long a fetched answer may be used again; zero = not.
    pub ttl: Duration,
    pub timeout: Duration,
    pub on_error: OnLinkError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLinkError {
    /// Nothing is sent: `link_failed`.
    Drop,
    /// The name is missing in the template.
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `text/plain; charset=utf-8`
    Text,
}

impl ContentType {
    /// The media type that is sent.
    pub fn media_type(self) -> &'static str {
        match self {
            ContentType::Json => "application/json",
            ContentType::Text => "text/plain; charset=utf-8",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Nothing written: `{"campaign","delivery_id","user_id","event","timestamp","properties"}`; a GET has none.
    Default,
    /// A map, whose text leaves are templates: always valid JSON.
    Map(Value),
    /// A raw template.
    Text(Box<str>),
    /// H3: CleverTap's payload.
    Profiles(Profiles),
}

/// The fields of a profile in CleverTap's payload.
pub const PROFILE_FIELDS: [&str; 6] = ["Email", "Identity", "ObjectId", "Push_token", "ProfileData", "Event_properties"];

/// By default all of each user, and nothing that all share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles {
    /// Template text; `None` = the campaign's key.
    pub target_id: Option<Box<str>>,
    /// A map whose text leaves are templates.
    pub key_values: Value,
    /// Only these of [`PROFILE_FIELDS`]; `None` = all.
    pub fields: Option<Vec<Box<str>>>,
    /// The traits named; `None` = all but email.
    pub profile_data: Option<Vec<Box<str>>>,
}
