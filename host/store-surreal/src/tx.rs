//! The one wrapper around write transactions.
//!
//! An answer of the SDK says nothing by itself: a transaction that failed to commit answers too. So every statement's result
//! is looked at, and the whole is put into one of five classes by the type of the errors, never by their text.

use std::collections::HashMap;

use surrealdb::Error;
use surrealdb::types::{QueryError, SurrealValue, Variables};

use crate::connection::{AskError, Connection, Keeper};

/// Statements that are run as one transaction, with what they are bound to. The text is put together from constants only.
#[derive(Default)]
pub(crate) struct Script {
    text: String,
    variables: Variables,
}

/// What became of a transaction.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is committed, on disk where there is one.
    Committed,
    /// An expectation in it does not hold. Nothing is stored.
    Refused,
    /// Another transaction wrote the same records at the same time. Nothing is stored; it may be run again.
    Conflict,
    /// It failed before it was committed. Nothing is stored.
    Failed(String),
    /// Whether it is stored is not known.
    Unknown(String),
}

impl Script {
    /// Adds statements, each ending in a semicolon.
    pub(crate) fn push(&mut self, statements: &str) {
        self.text.push_str(statements);
        self.text.push('\n');
    }

    /// Binds a parameter.
    pub(crate) fn bind(&mut self, name: &str, value: impl SurrealValue) {
        self.variables.insert(name, value);
    }
}

/// Runs a script as one transaction.
pub(crate) async fn tx(connection: &Connection, script: Script) -> Outcome {
    let text = format!("BEGIN;\n{}COMMIT;", script.text);
    let outcome = match connection.ask(&text, script.variables).await {
        Ok(mut results) => {
            let statements = results.num_statements();
            let errors = results.take_errors();
            classify(errors, statements)
        }
        Err(AskError::NotAsked(reason)) => Outcome::Failed(reason),
        Err(AskError::NoAnswer(reason)) => Outcome::Unknown(reason),
    };
    // An engine in this process that could not write or sync its log goes on writing behind the damage, and what it shows
    // now says nothing about what is on disk. Only a restart, which reads the log again, tells what is true.
    if let (Outcome::Unknown(reason), Keeper::Directory) = (&outcome, connection.keeper()) {
        connection.distrust(&format!("a commit could not be confirmed on disk ({reason}): restart the host"));
    }
    outcome
}

/// What the errors of a transaction of so many statements say.
fn classify(errors: HashMap<usize, Error>, statements: usize) -> Outcome {
    let Some(commit) = statements.checked_sub(1) else {
        return Outcome::Unknown("the store answered with no result".to_owned());
    };
    let commit = errors.get(&commit);
    // The first failure cancels the transaction; the other statements then only say that they were not executed.
    let cause = errors.iter().filter(|(_, error)| !is_consequence(error)).min_by_key(|(statement, _)| **statement);
    match (commit, cause) {
        (None, _) if errors.is_empty() => Outcome::Committed,
        (None, _) => Outcome::Unknown("statements failed and the commit did not".to_owned()),
        (Some(commit), _) if is_conflict(commit) => Outcome::Conflict,
        (Some(commit), Some((_, error))) if is_consequence(commit) => match error {
            error if is_conflict(error) => Outcome::Conflict,
            error if is_refusal(error) => Outcome::Refused,
            error => Outcome::Failed(error.message().to_owned()),
        },
        // The commit itself failed. Its log may have been written before that, so nothing follows from the error.
        (Some(commit), _) => Outcome::Unknown(commit.message().to_owned()),
    }
}

/// Whether the error only tells that another statement failed.
fn is_consequence(error: &Error) -> bool {
    matches!(error.query_details(), Some(QueryError::NotExecuted | QueryError::Cancelled))
}

/// Whether two transactions wrote the same record.
fn is_conflict(error: &Error) -> bool {
    matches!(error.query_details(), Some(QueryError::TransactionConflict))
}

/// Whether an expectation did not hold: a record that exists already, or a `THROW`, of which all are ours.
fn is_refusal(error: &Error) -> bool {
    error.is_already_exists() || error.is_thrown()
}

#[cfg(test)]
mod tests {
    use surrealdb::types::AlreadyExistsError;

    use super::*;

    fn consequence() -> Error {
        Error::query("not executed".to_owned(), QueryError::NotExecuted)
    }

    fn class(errors: impl IntoIterator<Item = (usize, Error)>, statements: usize) -> Outcome {
        classify(errors.into_iter().collect(), statements)
    }

    #[test]
    fn no_error_means_committed() {
        assert!(matches!(class([], 4), Outcome::Committed));
    }

    #[test]
    fn no_result_at_all_means_unknown() {
        assert!(matches!(class([], 0), Outcome::Unknown(_)));
    }

    #[test]
    fn an_expectation_that_fails_means_refused() {
        let exists = Error::already_exists("x".to_owned(), AlreadyExistsError::Record { id: "invoice:x".to_owned() });
        for cause in [exists, Error::thrown("expectation".to_owned())] {
            let errors = [(1, consequence()), (2, cause), (3, consequence())];
            assert!(matches!(class(errors, 4), Outcome::Refused));
        }
    }

    #[test]
    fn a_conflict_is_one_wherever_it_shows() {
        let conflict = || Error::query("x".to_owned(), QueryError::TransactionConflict);
        assert!(matches!(class([(1, consequence()), (2, conflict())], 3), Outcome::Conflict));
        assert!(matches!(class([(1, conflict()), (2, consequence())], 3), Outcome::Conflict));
    }

    #[test]
    fn a_statement_that_fails_cancels_the_whole() {
        let errors = [(1, Error::internal("out of memory".to_owned())), (2, consequence())];
        assert!(matches!(class(errors, 3), Outcome::Failed(_)));
    }

    #[test]
    fn a_commit_that_fails_by_itself_proves_nothing() {
        // What the engine says when its log could not be synced, and when it does not know.
        let unsynced = Error::query("cannot commit".to_owned(), QueryError::NotExecuted);
        assert!(matches!(class([(1, consequence()), (2, unsynced)], 3), Outcome::Unknown(_)));
        let unclear = || Error::query("unknown".to_owned(), None);
        assert!(matches!(class([(1, unclear()), (2, unclear())], 3), Outcome::Unknown(_)));
        assert!(matches!(class([(2, Error::internal("io".to_owned()))], 3), Outcome::Unknown(_)));
    }
}
