//! What is wrong with a text, and where: all problems at once, each with its place and, where it can be guessed, what was
//! meant. Nothing here knows what the text is about; definitions and settings share it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

/// One problem. Shown as `file:line:column: error: message`, with `  help: ...` on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: Box<str>,
    pub place: Place,
    pub severity: Severity,
    pub message: String,
    /// What was probably meant, or the way out.
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The text cannot be used.
    Error,
    /// It can, but does probably not do what was meant.
    Warning,
}

/// A place in a text: line and column from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub const START: Place = Place { line: 1, column: 1 };
}

impl Problem {
    pub fn error(file: &str, place: Place, message: impl Into<String>) -> Problem {
        Problem { file: file.into(), place, severity: Severity::Error, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {severity}: {}", self.file, self.place.line, self.place.column, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "\n  help: {help}"))
    }
}

/// Collects the problems of one file. Shared by all who read parts of it, hence the inner mutability.
#[derive(Debug)]
pub struct Problems {
    file: Box<str>,
    list: RefCell<Vec<Problem>>,
    /// Values that stand for something else than they look like, by their place: whether that matters is known to who reads them.
    doubtful: RefCell<BTreeMap<Place, Box<str>>>,
    /// How many values could not be read and have a stand-in.
    gaps: Cell<usize>,
}

impl Problems {
    pub fn of(file: &str) -> Problems {
        Problems { file: file.into(), list: RefCell::default(), doubtful: RefCell::default(), gaps: Cell::new(0) }
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn error(&self, place: Place, message: impl Into<String>) {
        self.push(Problem::error(&self.file, place, message));
    }

    pub fn error_with_help(&self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Problem::error(&self.file, place, message).help(help));
    }

    pub fn warn(&self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::error(&self.file, place, message).help(help);
        self.push(Problem { severity: Severity::Warning, ..problem });
    }

    pub fn push(&self, problem: Problem) {
        self.list.borrow_mut().push(problem);
    }

    /// Notes a value without quotes that stands for something else than it looks like.
    pub fn doubt(&self, place: Place, written: &str) {
        self.doubtful.borrow_mut().insert(place, written.into());
    }

    /// What was written at a place, when it stands for something else than it looks like.
    pub fn doubtful(&self, place: Place) -> Option<Box<str>> {
        self.doubtful.borrow().get(&place).cloned()
    }

    /// What was read, else a stand-in for what could not be: so that the rest of a text is read and checked all the same. Who gave the
    /// value up has reported why.
    pub fn or_stand_in<T>(&self, read: Option<T>, stand_in: impl FnOnce() -> T) -> T {
        read.unwrap_or_else(|| {
            self.gaps.set(self.gaps.get() + 1);
            stand_in()
        })
    }

    /// How many errors there are so far.
    pub fn errors(&self) -> usize {
        self.list.borrow().iter().filter(|problem| problem.is_error()).count()
    }

    /// Errors and stand-ins so far: what was read since an earlier count is sound if the count is the same.
    pub fn faults(&self) -> usize {
        self.errors() + self.gaps.get()
    }

    /// All problems in the order of the text.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut list = self.list.into_inner();
        sort(&mut list);
        list
    }
}

/// Sorts by file and place.
pub fn sort(problems: &mut [Problem]) {
    problems.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
}

/// The candidate that `word` was probably meant to be: at most a third of its letters differ, whatever their case.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", else all that is known.
pub fn meant<'a>(word: &str, what: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, candidates.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{what}: {}", candidates.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_place_and_its_help() {
        let problem = Problem::error("a.yaml", Place { line: 3, column: 7 }, "unknown key `tittle`").help("did you mean `title`?");
        assert_eq!(problem.to_string(), "a.yaml:3:7: error: unknown key `tittle`\n  help: did you mean `title`?");
    }

    #[test]
    fn problems_are_sorted_by_place_and_only_errors_are_counted() {
        let problems = Problems::of("a.yaml");
        problems.error(Place { line: 2, column: 1 }, "second");
        problems.warn(Place { line: 1, column: 9 }, "first", "look");
        assert_eq!(problems.errors(), 1);
        let messages: Vec<String> = problems.into_sorted().into_iter().map(|problem| problem.message).collect();
        assert_eq!(messages, ["first", "second"]);
    }

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["title", "tags", "trigger", "webhook"];
        for (word, expect) in
            [("tittle", Some("title")), ("Webhook", Some("webhook")), ("tag", Some("tags")), ("webhok", Some("webhook")), ("zebra", None)]
        {
            assert_eq!(nearest(word, known), expect, "{word}");
        }
        assert_eq!(nearest("x", ["a"]), None, "one letter resembles every other");
    }
}
