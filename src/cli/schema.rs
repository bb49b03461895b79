//! `campanile schema`: JSON Schema of the definitions, for editors.

use clap::ValueEnum;

use super::Failure;
use crate::engine::definition::{Kind, schema};

/// Prints the JSON Schema of the definitions: editors complete and check them with it
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: let an editor with a YAML language server check campaigns

  campanile schema > campanile.schema.json
  # and as the first line of a file of definitions:
  # yaml-language-server: $schema=campanile.schema.json")]
pub struct SchemaArgs {
    /// Only one kind of document; without it any of them, as files hold them
    #[arg(value_name = "KIND")]
    kind: Option<OneKind>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OneKind {
    Campaign,
    Cohort,
    Destination,
    Workspace,
}

impl From<OneKind> for Kind {
    fn from(kind: OneKind) -> Kind {
        match kind {
            OneKind::Campaign => Kind::Campaign,
            OneKind::Cohort => Kind::Cohort,
            OneKind::Destination => Kind::Destination,
            OneKind::Workspace => Kind::Workspace,
        }
    }
}

pub fn run(args: &SchemaArgs) -> Result<(), Failure> {
    println!("{:#}", schema(args.kind.map(Kind::from)));
    Ok(())
}
