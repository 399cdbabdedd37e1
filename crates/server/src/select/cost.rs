//! What a condition can cost at most, from its text alone: steps, each of which handles some 64 bytes.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::parser::Expression;

/// Most steps of one condition, for the largest status there can be: some ten milliseconds.
pub const MOST_COST: u64 = 200_000;
/// Titles that a condition is told of; of whoever has more, those that come first by name.
pub const MOST_OWNED: i64 = 1000;
/// Deepest expression, operators in a row counted as well.
const MOST_DEPTH: usize = 120;

/// What may be named, with the steps that it takes to look at all of it, and at one element.
const NAMES: &[(&str, Size)] = &[
    // 256 names, and texts of 1,024 bytes.
    ("vars", Size { all: 256 * 17, one: 1 }),
    ("owns", Size { all: 1000, one: 1 }),
    ("rights", Size { all: 100, one: 1 }),
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

/// How much a value is, in steps: all of it, and the largest of its elements when it is gone through.
#[derive(Clone, Copy, Debug)]
struct Size {
    all: u64,
    one: u64,
}

const ONE: Size = Size { all: 1, one: 1 };
const TEXT: Size = Size { all: 16, one: 16 };

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
                Ok((cost + 1, Size { all: of.all.min(TEXT.all).max(1), one: 1 }))
            }
            Expr::List(list) => self.all(list.elements.iter()),
            Expr::Map(map) => {
                let mut both = vec![];
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return Err("it makes something that is no map".to_owned()) };
                    both.extend([&entry.key, &entry.value]);
                }
                self.all(both.into_iter())
            }
            Expr::Call(call) if OPERATORS.contains(&call.func_name.as_str()) || FUNCTIONS.contains(&call.func_name.as_str()) => {
                let (cost, given) = self.all(call.target.iter().map(|target| &**target).chain(&call.args))?;
                let comes_of_it = match call.func_name.as_str() {
                    operators::ADD | operators::CONDITIONAL => given,
                    operators::INDEX => Size { all: given.all, one: given.one },
                    "string" => TEXT,
                    _ => ONE,
                };
                Ok((cost.saturating_add(given.all), comes_of_it))
            }
            Expr::Call(call) => Err(format!("there is no `{}` here; there are {}", call.func_name, FUNCTIONS.join(", "))),
            Expr::Comprehension(comprehension) => self.go_through(comprehension),
            Expr::Struct(_) | Expr::Unspecified => Err("it makes something that is no value".to_owned()),
        }
    }

    fn all<'e>(&mut self, parts: impl Iterator<Item = &'e Expression>) -> Result<(u64, Size), String> {
        let (mut cost, mut size) = (1u64, Size { all: 1, one: 1 });
        for part in parts {
            let (taken, given) = self.visit(part)?;
            cost = cost.saturating_add(taken);
            size = Size { all: size.all.saturating_add(given.all), one: size.one.max(given.all) };
        }
        Ok((cost, size))
    }

    /// `all`, `exists`, `exists_one`, `map`, `filter`: the step is taken once for each element, and may copy what has come together so far.
    fn go_through(&mut self, it: &ComprehensionExpr) -> Result<(u64, Size), String> {
        let (range_cost, range) = self.visit(&it.iter_range)?;
        let (init_cost, init) = self.visit(&it.accu_init)?;
        let outside = self.names.len();
        let element = Size { all: range.one, one: range.one };
        self.names.push((it.iter_var.clone(), element));
        self.names.extend(it.iter_var2.iter().map(|name| (name.clone(), Size { all: range.one.max(TEXT.all), one: range.one })));
        // One step on nothing tells what a step adds. What has come together is handled by later steps too, no more than thrice in each.
        self.names.push((it.accu_var.clone(), ONE));
        let (step, added) = self.visit(&it.loop_step)?;
        let (condition, _) = self.visit(&it.loop_cond)?;
        let (result_cost, _) = self.visit(&it.result)?;
        let comes_of_it = match it.accu_init.expr {
            Expr::List(_) | Expr::Map(_) => Size { all: init.all.saturating_add(range.all.saturating_mul(added.all)), one: added.all },
            _ => ONE,
        };
        self.names.truncate(outside);
        let step = condition.saturating_add(step).saturating_add(comes_of_it.all.saturating_mul(3));
        let steps = range.all.saturating_mul(step);
        Ok((range_cost.saturating_add(init_cost).saturating_add(steps).saturating_add(result_cost), comes_of_it))
    }
}

fn of_bytes(bytes: usize) -> Size {
    let all = bytes as u64 / 64 + 1;
    Size { all, one: all }
}
