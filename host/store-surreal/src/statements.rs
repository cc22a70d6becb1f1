//! Plans as the statements of one transaction.
//!
//! The number of statements depends on the kinds of changes, not on the number of records: rows of one table go into one
//! statement. The text is put together from constants; everything else is bound. Expectations are checked first, inside the
//! transaction, and cancel it.

use std::collections::BTreeMap;

use surrealdb::types::{Array, Object, RecordId, SurrealValue, Value};

use crate::plan::{Change, Effect, Expected, Plan};
use crate::record::{ID, LISTED, Row, listed};
use crate::table::Table;
use crate::tx::Script;
use crate::whole::Whole;

/// What cancels a transaction whose expectation does not hold. Nothing else throws.
const REFUSE: &str = "THROW \"expectation\"";

/// Rows of one table by what is expected of them.
#[derive(Default)]
struct TableChanges {
    /// There is none yet.
    new: Vec<Value>,
    /// Of these revisions.
    revised: Vec<Value>,
    revisions: Vec<Value>,
    /// Exactly these.
    replaced: Vec<Value>,
    before: Vec<Value>,
    /// Whatever there is.
    put: Vec<Value>,
}

/// The changes of several plans, no two of which change the same record.
#[derive(Default)]
struct Changes {
    tables: BTreeMap<Table, TableChanges>,
    unlisted: Vec<Value>,
    gone: Vec<Value>,
    /// Those of `gone` that must have a revision, and which.
    gone_from: Vec<Value>,
    gone_revisions: Vec<Value>,
    entries: Vec<Value>,
}

/// The script that stores the plans, all or none. The plans must not have a record in common.
pub(crate) fn store<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> Script {
    let mut changes = Changes::default();
    for (id, change) in plans.into_iter().flat_map(Plan::changes) {
        changes.add(id, change);
    }
    changes.script()
}

impl Changes {
    fn add(&mut self, id: &RecordId, change: &Change) {
        match &change.effect {
            Effect::Row { table, row, entries } => {
                self.entries.extend(entries.iter().cloned().map(Value::RecordId).chain(listed(row)).map(entry));
                self.tables.entry(*table).or_default().add(row, &change.expected);
            }
            Effect::Unlisted => self.unlisted.push(Value::RecordId(id.clone())),
            Effect::Gone => {
                if let Expected::Revision(revision) = change.expected {
                    self.gone_from.push(Value::RecordId(id.clone()));
                    self.gone_revisions.push(Whole(revision).into_value());
                }
                self.gone.push(Value::RecordId(id.clone()));
            }
        }
    }

    fn script(self) -> Script {
        let mut script = Script::default();
        for (table, changes) in &self.tables {
            changes.check(table.name(), &mut script);
        }
        if !self.unlisted.is_empty() {
            script.push(&format!(
                "IF array::len(SELECT VALUE id FROM $unlisted) != array::len($unlisted) {{ {REFUSE} }};"
            ));
            script.push("DELETE array::flatten($unlisted.listed) RETURN NONE;");
            script.bind("unlisted", Array::from(self.unlisted));
        }
        if !self.gone_from.is_empty() {
            script.push(&format!("IF $gone_from.revision != $gone_revisions {{ {REFUSE} }};"));
            script.bind("gone_from", Array::from(self.gone_from));
            script.bind("gone_revisions", Array::from(self.gone_revisions));
        }
        if !self.gone.is_empty() {
            script.push("DELETE $gone RETURN NONE;");
            script.bind("gone", Array::from(self.gone));
        }
        for (table, changes) in self.tables {
            changes.write(table.name(), &mut script);
        }
        if !self.entries.is_empty() {
            // An entry has no content: one that is there already is the same.
            script.push("INSERT IGNORE INTO entry $entries RETURN NONE;");
            script.bind("entries", Array::from(self.entries));
        }
        script
    }
}

impl TableChanges {
    fn add(&mut self, row: &Row, expected: &Expected) {
        let value = Value::Object(row.clone());
        match expected {
            Expected::Absent => self.new.push(value),
            Expected::Revision(revision) => {
                self.revised.push(value);
                self.revisions.push(Whole(*revision).into_value());
            }
            Expected::Same(before) => {
                self.replaced.push(value);
                self.before.push(Value::Object(before.clone()));
            }
            Expected::Anything => self.put.push(value),
        }
    }

    /// Expectations that the statements which write do not check by themselves.
    fn check(&self, table: &'static str, script: &mut Script) {
        if !self.revised.is_empty() {
            let ids = format!("${table}_revised.id");
            script.push(&format!("IF {ids}.revision != ${table}_revisions {{ {REFUSE} }};"));
            script.bind(&format!("{table}_revisions"), Array::from(self.revisions.clone()));
        }
        if !self.replaced.is_empty() {
            script.push(&format!("IF ${table}_replaced.id.* != ${table}_before {{ {REFUSE} }};"));
            script.bind(&format!("{table}_before"), Array::from(self.before.clone()));
        }
    }

    fn write(self, table: &'static str, script: &mut Script) {
        if !self.new.is_empty() {
            // Fails when there is one with this id.
            script.push(&format!("INSERT INTO {table} ${table}_new RETURN NONE;"));
            script.bind(&format!("{table}_new"), Array::from(self.new));
        }
        for (name, rows) in [("revised", self.revised), ("replaced", self.replaced)] {
            if rows.is_empty() {
                continue;
            }
            let parameter = format!("{table}_{name}");
            if rows.iter().any(moves_between_lists) {
                script.push(&format!(
                    "DELETE array::complement(array::flatten(${parameter}.id.listed), \
                     array::flatten(${parameter}.listed)) RETURN NONE;"
                ));
            }
            script.push(&format!("FOR $row IN ${parameter} {{ UPDATE ONLY $row.id CONTENT $row RETURN NONE }};"));
            script.bind(&parameter, Array::from(rows));
        }
        if !self.put.is_empty() {
            let parameter = format!("{table}_put");
            script.push(&format!("FOR $row IN ${parameter} {{ UPSERT ONLY $row.id CONTENT $row RETURN NONE }};"));
            script.bind(&parameter, Array::from(self.put));
        }
    }
}

fn moves_between_lists(row: &Value) -> bool {
    matches!(row, Value::Object(row) if row.contains_key(LISTED))
}

/// The row of an entry, which is nothing but its id.
fn entry(id: Value) -> Value {
    let mut row = Object::new();
    row.insert(ID, id);
    Value::Object(row)
}
