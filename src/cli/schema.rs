//! `campanile schema`: JSON Schema of the definitions, for editors; or their reference, for people.

use clap::ValueEnum;

use super::Failure;
use crate::engine::definition::{Kind, reference, schema};

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
    /// Prints the language for people instead: every key with its values and a sentence, as Markdown
    #[arg(long, conflicts_with = "kind")]
    reference: bool,
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
    if args.reference {
        print!("{}", reference());
        return Ok(());
    }
    println!("{:#}", schema(args.kind.map(Kind::from)));
    Ok(())
}
