//! What a replay is told of the world outside: how endpoints and linked services answer, and secrets. The same options wherever past events
//! are replayed.

use std::path::PathBuf;

use super::Failure;
use super::settings::{join, read_file};
use crate::engine::definition::Problem;
use crate::simulator::endpoints::{Endpoints, Secrets};
use crate::simulator::rules::{AnswerRule, LinkRule, read_list, read_secrets};

#[derive(clap::Args, Debug)]
pub struct WorldArgs {
    /// How endpoints answer: a list as in scenario files [default: 200]
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// What linked services answer: a list as in scenario files
    #[arg(long, value_name = "FILE")]
    links: Option<PathBuf>,
    /// Secrets: a map of names and texts [default: all are ***]
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

impl WorldArgs {
    pub fn endpoints(&self) -> Result<Endpoints, Failure> {
        fn list<T>(path: Option<&PathBuf>, read: impl Fn(&str, &str) -> Result<T, Vec<Problem>>) -> Result<Option<T>, Failure> {
            let Some(path) = path else { return Ok(None) };
            read(&path.display().to_string(), &read_file(path)?).map(Some).map_err(|problems| Failure::Refused(join(&problems)))
        }
        let answers = list(self.answers.as_ref(), |file, text| read_list(file, text, AnswerRule::read))?;
        let links = list(self.links.as_ref(), |file, text| read_list(file, text, LinkRule::read))?;
        let values = list(self.secrets.as_ref(), read_secrets)?.unwrap_or_default();
        let secrets = Secrets { values, otherwise: Some("***".into()) };
        Ok(Endpoints::new(answers.unwrap_or_default(), links.unwrap_or_default(), secrets))
    }

    /// Whether it says what linked services answer.
    pub fn knows_links(&self) -> bool {
        self.links.is_some()
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.answers.is_none() && self.links.is_none() && self.secrets.is_none()
    }
}
