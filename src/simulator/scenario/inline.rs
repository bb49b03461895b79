//! Definitions that stand inside a scenario: read as any others, their problems at their places in the scenario's text.

use crate::engine::definition::problem::{Place, Problem};
use crate::engine::definition::text::{Data, Node};

/// The text of some definitions, written anew with every key and value on a line of its own, and the place that each line came from.
#[derive(Debug, Default)]
pub struct Inline {
    pub text: String,
    places: Vec<Place>,
}

impl Inline {
    pub fn of(definitions: &[Node]) -> Inline {
        let mut inline = Inline::default();
        for node in definitions {
            inline.line(node.place, "---");
            inline.node(node, "");
        }
        inline
    }

    /// A problem of this text as one of the scenario's; those of other files stay as they are.
    pub fn in_place(&self, file: &str, problem: Problem) -> Problem {
        if *problem.file != *file {
            return problem;
        }
        let line = usize::try_from(problem.place.line).unwrap_or(usize::MAX);
        let place = self.places.get(line.saturating_sub(1)).or(self.places.last()).copied().unwrap_or(Place::START);
        Problem { place, ..problem }
    }

    fn node(&mut self, node: &Node, comma: &str) {
        match &node.data {
            Data::Scalar(value) => self.line(node.place, &format!(" {value}{comma}")),
            Data::Broken => self.line(node.place, &format!(" null{comma}")),
            Data::List(items) => {
                self.line(node.place, " [");
                for (at, item) in items.iter().enumerate() {
                    self.node(item, if at + 1 < items.len() { "," } else { "" });
                }
                self.line(node.place, &format!(" ]{comma}"));
            }
            Data::Map(entries) => {
                self.line(node.place, " {");
                for (at, entry) in entries.iter().enumerate() {
                    self.line(entry.place, &format!(" {}:", serde_json::Value::from(&*entry.key)));
                    self.node(&entry.value, if at + 1 < entries.len() { "," } else { "" });
                }
                self.line(node.place, &format!(" }}{comma}"));
            }
        }
    }

    fn line(&mut self, place: Place, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
        self.places.push(place);
    }
}
