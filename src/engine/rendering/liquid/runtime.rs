//! The run-time: variables of the scope, borrowed; what is assigned; and the meter that bounds the work.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use liquid_core::error::Result;
use liquid_core::model::{KString, KStringCow, KStringRef, ScalarCow, ValueCow, try_find};
use liquid_core::runtime::{PartialStore, Registers};
use liquid_core::{Error, Renderable, Runtime, Value as Liquid, ValueView};
use smallvec::SmallVec;

use super::texts::characters;
use super::values::{MISSING, to_liquid};
use super::{MAX_LOOP_PASSES, MAX_WORK_BYTES};
use crate::engine::rendering::Scope;
use crate::engine::rendering::lookup::{Found, Root, lookup};
use crate::engine::time::Timestamp;

/// The run-time of one request.
pub struct Run<'s> {
    scope: Scope<'s>,
    /// Assigned and captured, newest last. A handful at most: a list is faster than a table.
    locals: RefCell<Vec<(KString, Liquid)>>,
    counters: RefCell<Vec<(KString, Liquid)>>,
    registers: Registers,
}

impl<'s> Run<'s> {
    pub fn new(scope: Scope<'s>) -> Run<'s> {
        Run { scope, locals: RefCell::default(), counters: RefCell::default(), registers: Registers::default() }
    }

    /// Forgets what was assigned: the next template text begins.
    pub fn forget_locals(&self) {
        self.locals.borrow_mut().clear();
        self.counters.borrow_mut().clear();
    }

    /// Must be called before anything is rendered with it. `naming`: what has no value is to be told by name.
    pub fn start(&self, naming: bool) {
        let mut meter = self.registers.get_mut::<Meter>();
        meter.now = self.scope.now;
        meter.naming = naming;
    }

    /// The variables of outputs without a value since this was last asked.
    pub fn take_names(&self) -> Vec<String> {
        std::mem::take(&mut self.registers.get_mut::<Meter>().names)
    }

    /// How many outputs had no value and no default, and why the template stopped itself, if it did.
    pub fn outcome(&self) -> (u32, Option<String>) {
        let mut meter = self.registers.get_mut::<Meter>();
        (meter.missing, meter.abort.take())
    }
}

/// What one request has used up and come across.
#[derive(Debug, Default)]
pub struct Meter {
    pub now: Timestamp,
    work: usize,
    passes: u32,
    /// Lookups without a value, also those in conditions.
    unfound: u32,
    /// Outputs without a value.
    missing: u32,
    /// For previews: the variables that were not found are named. Sends only count.
    naming: bool,
    /// Since the output began that is evaluated.
    unfound_names: Vec<String>,
    /// Of outputs without a value.
    names: Vec<String>,
    pub abort: Option<String>,
}

impl Meter {
    /// An output is evaluated now. Answers what [`Meter::end_output`] is to be given.
    pub fn begin_output(&mut self) -> u32 {
        self.unfound_names.clear();
        self.unfound
    }

    /// It is evaluated. A default is an answer to what was not found.
    pub fn end_output(&mut self, before: u32, has_default: bool) {
        if self.unfound > before && !has_default {
            self.missing += 1;
            self.names.append(&mut self.unfound_names);
            self.names.truncate(MAX_NAMES);
        }
    }
}

/// Counts work; an error when there was too much.
pub fn charge(runtime: &dyn Runtime, bytes: usize) -> Result<()> {
    let mut meter = runtime.registers().get_mut::<Meter>();
    meter.work = meter.work.saturating_add(bytes);
    if meter.work > MAX_WORK_BYTES {
        Err(Error::with_msg(format!("the template works through more than {MAX_WORK_BYTES} bytes")))
    } else {
        Ok(())
    }
}

/// Counts passes through a loop, before any of them is made.
pub fn charge_passes(runtime: &dyn Runtime, passes: usize) -> Result<()> {
    let mut meter = runtime.registers().get_mut::<Meter>();
    meter.passes = u32::try_from(passes).ok().and_then(|passes| meter.passes.checked_add(passes)).unwrap_or(u32::MAX);
    if meter.passes > MAX_LOOP_PASSES { Err(Error::with_msg(format!("loops of more than {MAX_LOOP_PASSES} passes"))) } else { Ok(()) }
}

/// Names that are noted at most before they are taken: a loop may make up very many.
const MAX_NAMES: usize = 100;

/// No value; noted.
pub fn missing<'r>(runtime: &dyn Runtime, path: &[ScalarCow<'_>]) -> ValueCow<'r> {
    let mut meter = runtime.registers().get_mut::<Meter>();
    meter.unfound += 1;
    if meter.naming && meter.unfound_names.len() < MAX_NAMES {
        let path: Vec<KStringCow<'_>> = path.iter().map(ValueView::to_kstr).collect();
        let path: Vec<&str> = path.iter().map(KStringCow::as_str).collect();
        meter.unfound_names.push(path.join("."));
    }
    ValueCow::Borrowed(&MISSING)
}

impl Runtime for Run<'_> {
    fn partials(&self) -> &dyn PartialStore {
        &NoPartials
    }

    fn name(&self) -> Option<KStringRef<'_>> {
        None
    }

    fn roots(&self) -> BTreeSet<KStringCow<'_>> {
        BTreeSet::new()
    }

    fn try_get(&self, path: &[ScalarCow<'_>]) -> Option<ValueCow<'_>> {
        let (head, rest) = path.split_first()?;
        let head = head.to_kstr();
        for table in [&self.locals, &self.counters] {
            if let Some((_, value)) = table.borrow().iter().rev().find(|(name, _)| *name == head.as_str()) {
                return find(value, rest).map(|found| ValueCow::Owned(found.into_owned()));
            }
        }
        let names: SmallVec<[KStringCow<'_>; 4]> = rest.iter().map(ValueView::to_kstr).collect();
        let names: SmallVec<[&str; 4]> = names.iter().map(KStringCow::as_str).collect();
        match lookup(&self.scope, Root::of(head.as_str())?, &names) {
            Found::Value(value) => Some(ValueCow::Borrowed(value)),
            Found::Object(object) => Some(ValueCow::Borrowed(object)),
            Found::Text(text) => Some(ValueCow::Owned(Liquid::scalar(text.to_owned()))),
            Found::Owned(value) => Some(ValueCow::Owned(to_liquid(&value))),
            Found::Missing => None,
        }
    }

    fn get(&self, path: &[ScalarCow<'_>]) -> Result<ValueCow<'_>> {
        Ok(self.try_get(path).unwrap_or_else(|| missing(self, path)))
    }

    fn set_global(&self, name: KString, value: Liquid) -> Option<Liquid> {
        set(&mut self.locals.borrow_mut(), name, value)
    }

    fn set_index(&self, name: KString, value: Liquid) -> Option<Liquid> {
        set(&mut self.counters.borrow_mut(), name, value)
    }

    fn get_index<'a>(&'a self, name: &str) -> Option<ValueCow<'a>> {
        let counters = self.counters.borrow();
        counters.iter().find(|(known, _)| *known == name).map(|(_, value)| ValueCow::Owned(value.clone()))
    }

    fn registers(&self) -> &Registers {
        &self.registers
    }
}

/// What lies below a value that the crate holds. Of a text the crate would answer its bytes as `size`.
fn find<'v>(value: &'v dyn ValueView, path: &[ScalarCow<'_>]) -> Option<ValueCow<'v>> {
    if let Some((last, before)) = path.split_last()
        && last.to_kstr() == "size"
        && let Some(text) = try_find(value, before).filter(|whole| whole.type_name() == "string")
    {
        return Some(ValueCow::Owned(Liquid::scalar(i64::try_from(characters(&text.to_kstr()).count()).unwrap_or(i64::MAX))));
    }
    try_find(value, path)
}

fn set(table: &mut Vec<(KString, Liquid)>, name: KString, value: Liquid) -> Option<Liquid> {
    match table.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => Some(std::mem::replace(old, value)),
        None => {
            table.push((name, value));
            None
        }
    }
}

/// One pass of a loop: its variable and `forloop` before everything else.
pub struct Pass<'r> {
    pub parent: &'r dyn Runtime,
    pub name: &'r str,
    pub item: ValueCow<'r>,
    pub index: usize,
    pub length: usize,
}

impl Pass<'_> {
    fn forloop(&self, path: &[ScalarCow<'_>]) -> Option<ValueCow<'_>> {
        let (field, rest) = path.split_first()?;
        let field = field.to_kstr();
        let number = |number: usize| Some(ValueCow::Owned(Liquid::scalar(i64::try_from(number).unwrap_or(i64::MAX))));
        match field.as_str() {
            "index" => number(self.index + 1),
            "index0" => number(self.index),
            "rindex" => number(self.length - self.index),
            "rindex0" => number(self.length - self.index - 1),
            "length" => number(self.length),
            "first" => Some(ValueCow::Owned(Liquid::scalar(self.index == 0))),
            "last" => Some(ValueCow::Owned(Liquid::scalar(self.index + 1 == self.length))),
            "parentloop" => {
                let path: SmallVec<[ScalarCow<'_>; 4]> = std::iter::once(ScalarCow::new("forloop")).chain(rest.iter().cloned()).collect();
                self.parent.try_get(&path).map(|found| ValueCow::Owned(found.into_owned()))
            }
            _ => None,
        }
    }
}

impl Runtime for Pass<'_> {
    fn partials(&self) -> &dyn PartialStore {
        self.parent.partials()
    }

    fn name(&self) -> Option<KStringRef<'_>> {
        None
    }

    fn roots(&self) -> BTreeSet<KStringCow<'_>> {
        BTreeSet::new()
    }

    fn try_get(&self, path: &[ScalarCow<'_>]) -> Option<ValueCow<'_>> {
        let (head, rest) = path.split_first()?;
        match head.to_kstr().as_str() {
            name if name == self.name => find(self.item.as_view(), rest).filter(|found| !found.is_nil()),
            "forloop" => self.forloop(rest),
            _ => self.parent.try_get(path),
        }
    }

    fn get(&self, path: &[ScalarCow<'_>]) -> Result<ValueCow<'_>> {
        Ok(self.try_get(path).unwrap_or_else(|| missing(self, path)))
    }

    fn set_global(&self, name: KString, value: Liquid) -> Option<Liquid> {
        self.parent.set_global(name, value)
    }

    fn set_index(&self, name: KString, value: Liquid) -> Option<Liquid> {
        self.parent.set_index(name, value)
    }

    fn get_index<'a>(&'a self, name: &str) -> Option<ValueCow<'a>> {
        self.parent.get_index(name)
    }

    fn registers(&self) -> &Registers {
        self.parent.registers()
    }
}

/// There is no `include`.
#[derive(Debug)]
struct NoPartials;

impl PartialStore for NoPartials {
    fn contains(&self, _name: &str) -> bool {
        false
    }

    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn try_get(&self, _name: &str) -> Option<Arc<dyn Renderable>> {
        None
    }

    fn get(&self, name: &str) -> Result<Arc<dyn Renderable>> {
        Err(Error::with_msg(format!("there is no template `{name}`")))
    }
}
