//! The reader: many questions for one record each, few statements.
//!
//! Most of what a statement costs is planning it and handing it to the engine, whatever number of records it reads. Questions
//! wait in a bounded queue; one task takes all that are there and asks for them at once. While that statement runs, the next
//! ones gather, so a host at rest answers a question at once, and a busy one shares the cost. An answer is never older than its
//! question: the statement begins behind it.

use std::sync::Arc;

use surrealdb::types::{RecordId, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use xthonpay_payments::port::store::StoreError;

use crate::connection::{Connection, Keeper};
use crate::read::{Rows, rows_of};

/// Questions that wait to be asked; beyond it, callers wait to hand theirs in. As many as the plans that wait for the writer.
const QUEUE_MAX: usize = 1_024;
/// Records that are read by one statement. More would save little, and keep the first of them waiting.
const RECORDS_MAX: usize = 64;

/// A record that somebody wants, and who.
struct Question {
    id: RecordId,
    /// Nobody listens when the caller has gone.
    answer: oneshot::Sender<Result<Option<Value>, StoreError>>,
}

/// Asks for records by their ids.
pub(crate) struct Reader {
    connection: Arc<Connection>,
    queue: mpsc::Sender<Question>,
}

impl Reader {
    /// Starts the task. It ends when the reader is dropped.
    pub(crate) fn start(connection: Arc<Connection>) -> Self {
        let (queue, questions) = mpsc::channel(QUEUE_MAX);
        drop(tokio::spawn(run(Arc::clone(&connection), questions)));
        Self { connection, queue }
    }
}

impl Rows for Reader {
    async fn row(&self, id: RecordId) -> Result<Option<Value>, StoreError> {
        // A server is far away and answers many at once.
        if self.connection.keeper() == Keeper::Server {
            return self.connection.row(id).await;
        }
        let stopped = || StoreError::Unavailable { reason: "the reader of the store has stopped".to_owned() };
        let (answer, answered) = oneshot::channel();
        self.queue.send(Question { id, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Answers until nobody can ask anything more.
async fn run(connection: Arc<Connection>, mut incoming: mpsc::Receiver<Question>) {
    loop {
        let questions = next_questions(&mut incoming).await;
        if questions.is_empty() {
            return;
        }
        answer(&connection, questions).await;
    }
}

/// The questions that wait; none when nobody can ask any more.
async fn next_questions(incoming: &mut mpsc::Receiver<Question>) -> Vec<Question> {
    let mut questions = Vec::new();
    incoming.recv_many(&mut questions, RECORDS_MAX).await;
    // Those that are about to ask come first.
    yield_now().await;
    while questions.len() < RECORDS_MAX
        && let Ok(question) = incoming.try_recv()
    {
        questions.push(question);
    }
    questions
}

/// Asks the engine once, and tells everybody.
async fn answer(connection: &Connection, questions: Vec<Question>) {
    let rows = rows_of(connection, questions.iter().map(|question| question.id.clone()).collect()).await;
    let mut rows = rows.map(Vec::into_iter);
    for question in questions {
        let _ = question.answer.send(match &mut rows {
            Ok(rows) => Ok(rows.next().filter(|row| !row.is_none())),
            Err(error) => Err(error.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::task::JoinSet;
    use xthonpay_domain::event::Event;

    use super::*;
    use crate::read::by_id;
    use crate::record::{event, samples};
    use crate::testing::{create, memory, writer};

    fn id(number: u64) -> RecordId {
        event::id(&samples::event(number, 1).id)
    }

    #[tokio::test]
    async fn each_question_gets_its_own_record_or_none() {
        let connection = Arc::new(memory().await);
        let store = writer(&connection).await;
        for number in (0..200).step_by(2) {
            assert_eq!(store.store(create(number)).await, Ok(()));
        }
        let reader = Reader::start(connection);
        // More than a statement reads, two of each, those that are there among those that are not.
        let numbers = || (0..200_u64).chain((0..200).rev());
        let found = join_all(numbers().map(|number| by_id::<Event>(&reader, id(number)))).await;
        for (number, found) in numbers().zip(found) {
            assert_eq!(found, Ok(number.is_multiple_of(2).then(|| samples::event(number, 1))), "{number}");
        }
    }

    #[tokio::test]
    async fn questions_that_wait_are_asked_together() {
        let (queue, mut incoming) = mpsc::channel(QUEUE_MAX);
        for number in 0..RECORDS_MAX + 3 {
            let question = Question { id: id(number.try_into().expect("small")), answer: oneshot::channel().0 };
            assert!(queue.try_send(question).is_ok(), "there is room");
        }
        assert_eq!(next_questions(&mut incoming).await.len(), RECORDS_MAX);
        assert_eq!(next_questions(&mut incoming).await.len(), 3);
        drop(queue);
        assert_eq!(next_questions(&mut incoming).await.len(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_acknowledged_is_found_by_whoever_asks_then() {
        let connection = Arc::new(memory().await);
        let store = Arc::new(writer(&connection).await);
        let reader = Arc::new(Reader::start(connection));
        let mut callers = JoinSet::new();
        for caller in 0..16_u64 {
            let (store, reader) = (Arc::clone(&store), Arc::clone(&reader));
            callers.spawn(async move {
                for number in (0..20).map(|number| caller * 1_000 + number) {
                    assert_eq!(by_id::<Event>(reader.as_ref(), id(number)).await, Ok(None));
                    assert_eq!(store.store(create(number)).await, Ok(()));
                    assert_eq!(by_id(reader.as_ref(), id(number)).await, Ok(Some(samples::event(number, 1))));
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.expect("no assertion failed");
        }
    }

    #[tokio::test]
    async fn one_that_goes_away_leaves_the_others_their_answers() {
        let connection = Arc::new(memory().await);
        assert_eq!(writer(&connection).await.store(create(1)).await, Ok(()));
        let reader = Reader::start(connection);
        tokio::select! {
            biased;
            early = by_id::<Event>(&reader, id(1)) => panic!("nobody can have answered: {early:?}"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(by_id(&reader, id(1)).await, Ok(Some(samples::event(1, 1))));
    }

    #[tokio::test]
    async fn everybody_is_told_that_the_store_is_closed() {
        let connection = Arc::new(memory().await);
        let reader = Reader::start(Arc::clone(&connection));
        connection.close().await;
        for answer in join_all((0..5).map(|number| by_id::<Event>(&reader, id(number)))).await {
            let error = answer.expect_err("closed");
            assert!(error.to_string().contains("the store is closed"), "{error}");
        }
    }
}
