//! What a condition can cost at most, from its text alone: steps, each of which handles some 64 bytes.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::parser::Expression;

/// Most steps of one condition, for the largest status there can be: a tenth of a second.
pub const MOST_COST: u64 = 300_000;
/// Titles that a condition is told of; of whoever has more, those that come first by name.
pub const MOST_OWNED: i64 = 1000;
/// Deepest expression, operators in a row counted as well.
const MOST_DEPTH: usize = 120;

/// What may be named, with the steps that it takes to look at all of it, and at one element.
const NAMES: &[(&str, Size)] = &[
    // 256 names, and texts of 1,024 bytes.
    ("vars", Size { all: 256 * 17, one: 1, value: 16, count: 256 }),
    ("owns", Size { all: 1000, one: 1, value: 1, count: 1000 }),
    ("rights", Size { all: 100, one: 1, value: 93, count: 7 }),
    ("release", TEXT),
    ("number", ONE),
    ("channel", ONE),
    ("batch", ONE),
    ("medium", TEXT),
];
/// What may be called. None of these makes more than it is given.
const FUNCTIONS: &[&str] = &["size", "contains", "startsWith", "endsWith", "int", "double", "string"];
const OPERATORS: &[&str] = &[
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
];

/// How much a value is, in steps.
#[derive(Clone, Copy, Debug)]
struct Size {
    all: u64,
    /// The largest of what it gives when it is gone through: elements of a list, names of a map.
    one: u64,
    /// The largest of what it gives when one of it is asked for.
    value: u64,
    /// How many it gives.
    count: u64,
}

const ONE: Size = Size::flat(1);
const TEXT: Size = Size::flat(16);

impl Size {
    /// Of what may hold anything of so many steps.
    const fn flat(all: u64) -> Self {
        Self { all, one: all, value: all, count: all }
    }
}

/// Refuses brackets nested deeper than `most`, before anything recursive looks at them.
pub(super) fn brackets(text: &str, most: u16) -> Result<(), String> {
    let mut depth = 0u16;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return Err(format!("its brackets are nested deeper than {most}"));
        }
    }
    Ok(())
}

/// Adds it up.
///
/// # Errors
/// What it may not name or call, or that it comes to too much.
pub(super) fn of(expression: &Expression) -> Result<u64, String> {
    let mut names: Vec<(String, Size)> = NAMES.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
    let (cost, _) = Walk { names: &mut names, depth: 0 }.visit(expression)?;
    match cost {
        0..=MOST_COST => Ok(cost),
        _ => Err(format!("it can take {cost} steps on a large status; {MOST_COST} are the most: loops inside of loops are what costs")),
    }
}

/// Several values together.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    all: u64,
    largest: u64,
    one: u64,
    value: u64,
    count: u64,
    most: u64,
}

struct Walk<'a> {
    /// In scope, innermost last.
    names: &'a mut Vec<(String, Size)>,
    depth: usize,
}

impl Walk<'_> {
    /// Steps that it takes at most, and how much comes of it.
    fn visit(&mut self, expression: &Expression) -> Result<(u64, Size), String> {
        if self.depth >= MOST_DEPTH {
            return Err(format!("it is nested deeper than {MOST_DEPTH}"));
        }
        self.depth += 1;
        let visited = self.look(expression);
        self.depth -= 1;
        visited
    }

    fn look(&mut self, expression: &Expression) -> Result<(u64, Size), String> {
        match &expression.expr {
            Expr::Ident(name) => {
                let known = self.names.iter().rev().find(|(known, _)| known == name);
                let there: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                known.map(|(_, size)| (1, *size)).ok_or_else(|| format!("there is no `{name}`; there are {}", there.join(", ")))
            }
            Expr::Literal(LiteralValue::String(text)) => Ok((1, of_bytes(text.inner().len()))),
            Expr::Literal(_) => Ok((1, ONE)),
            Expr::Select(select) => {
                let (cost, of) = self.visit(&select.operand)?;
                Ok((cost + 1, Size::flat(of.value)))
            }
            Expr::List(list) => {
                let (cost, given) = self.all(list.elements.iter())?;
                Ok((cost, Size { all: given.all, one: given.largest, value: given.largest, count: list.elements.len() as u64 }))
            }
            Expr::Map(map) => {
                let mut both = vec![];
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return Err("it makes something that is no map".to_owned()) };
                    both.extend([&entry.key, &entry.value]);
                }
                let (cost, given) = self.all(both.into_iter())?;
                Ok((cost, Size { all: given.all, one: given.largest, value: given.largest, count: map.entries.len() as u64 }))
            }
            Expr::Call(call) if OPERATORS.contains(&call.func_name.as_str()) || FUNCTIONS.contains(&call.func_name.as_str()) => {
                let (cost, given) = self.all(call.target.iter().map(|target| &**target).chain(&call.args))?;
                let comes_of_it = match call.func_name.as_str() {
                    operators::ADD => Size { all: given.all, one: given.one, value: given.value, count: given.count },
                    operators::CONDITIONAL => Size { all: given.largest, one: given.one, value: given.value, count: given.most },
                    operators::INDEX => Size::flat(given.value),
                    "string" => TEXT,
                    _ => ONE,
                };
                // Nothing is copied to look one thing up.
                let handled = if call.func_name == operators::INDEX { 1 } else { given.all };
                Ok((cost.saturating_add(handled), comes_of_it))
            }
            Expr::Call(call) => Err(format!("there is no `{}` here; there are {}", call.func_name, FUNCTIONS.join(", "))),
            Expr::Comprehension(comprehension) => self.go_through(comprehension),
            Expr::Struct(_) | Expr::Unspecified => Err("it makes something that is no value".to_owned()),
        }
    }

    fn all<'e>(&mut self, parts: impl Iterator<Item = &'e Expression>) -> Result<(u64, Given), String> {
        let (mut cost, mut given) = (1u64, Given { all: 1, ..Given::default() });
        for part in parts {
            let (taken, size) = self.visit(part)?;
            cost = cost.saturating_add(taken);
            given = Given {
                all: given.all.saturating_add(size.all),
                largest: given.largest.max(size.all),
                one: given.one.max(size.one),
                value: given.value.max(size.value),
                count: given.count.saturating_add(size.count),
                most: given.most.max(size.count),
            };
        }
        Ok((cost, given))
    }

    /// `all`, `exists`, `exists_one`, `map`, `filter`: the step is taken once for each element, and may copy what has come together so far.
    fn go_through(&mut self, it: &ComprehensionExpr) -> Result<(u64, Size), String> {
        let (range_cost, range) = self.visit(&it.iter_range)?;
        let (init_cost, init) = self.visit(&it.accu_init)?;
        let outside = self.names.len();
        let element = Size::flat(range.one);
        self.names.push((it.iter_var.clone(), element));
        self.names.extend(it.iter_var2.iter().map(|name| (name.clone(), Size::flat(range.value))));
        // One step on nothing tells what a step adds. What has come together is copied by each further step.
        self.names.push((it.accu_var.clone(), ONE));
        let (step, added) = self.visit(&it.loop_step)?;
        let (condition, _) = self.visit(&it.loop_cond)?;
        let (result_cost, _) = self.visit(&it.result)?;
        let comes_of_it = match it.accu_init.expr {
            Expr::List(_) | Expr::Map(_) => Size {
                all: init.all.saturating_add(range.count.saturating_mul(added.all)),
                one: added.all,
                value: added.all,
                count: range.count,
            },
            _ => ONE,
        };
        self.names.truncate(outside);
        let step = condition.saturating_add(step).saturating_add(comes_of_it.all);
        let steps = range.count.saturating_mul(step);
        Ok((range_cost.saturating_add(init_cost).saturating_add(steps).saturating_add(result_cost), comes_of_it))
    }
}

fn of_bytes(bytes: usize) -> Size {
    Size::flat(bytes as u64 / 64 + 1)
}
