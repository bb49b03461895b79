//! Which variables a rendering misses: for previews; sends only count them.

use super::lookup::{Found, ROOTS, lookup};
use super::text::{Output, Part};
use super::{Scope, Template};

/// The variables that have neither a value nor a default, by name, each once, in the order of URL, headers and body. Only of plain
/// outputs (`{{ user.name }}`): what filters and tags miss is in the count of [`super::render`] alone.
pub fn missing(template: &Template, scope: &Scope<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let texts = std::iter::once(&template.url).chain(template.headers.iter().map(|(_, parts)| parts)).chain(&template.body);
    texts.flatten().for_each(|part| of_part(part, scope, &mut names));
    names
}

fn of_part(part: &Part, scope: &Scope<'_>, names: &mut Vec<String>) {
    match part {
        Part::Output(output) => {
            let Output { simple, expected_missing, .. } = &**output;
            let variable = &simple.variable;
            let is_missing = matches!(lookup(scope, variable.root, &variable.path), Found::Missing);
            if is_missing && simple.default.is_none() && !expected_missing {
                let root = ROOTS.iter().find(|(_, root)| *root == variable.root).map_or("", |(name, _)| *name);
                let path: Vec<&str> = std::iter::once(root).chain(variable.path.iter().map(AsRef::as_ref)).collect();
                let name = path.join(".");
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Part::Unless { value, .. } => of_part(value, scope, names),
        Part::Fixed(_) | Part::Liquid(..) | Part::Secret(..) | Part::Forget | Part::Comma | Part::Profile(_) => {}
    }
}
