//! `Idempotency-Key`: one effect and one answer for one name that the caller chose, however often it asks.
//!
//! The answer is stored in the transaction of the effect, so that neither is ever there without the other. What can happen
//! to a call under a name, and what the next call under the same name finds:
//!
//! | the call | the next one |
//! |---|---|
//! | works still | is refused; it shall ask again |
//! | succeeded | gets the same answer, byte for byte, and changes nothing |
//! | failed | works: a failure is not kept, so that the caller may correct what it sent |
//! | was given up by its caller or by a deadline, or the host was killed | gets the answer if the transaction was stored, and works otherwise. If the transaction is stored while the next one works, the store refuses the second, and the answer of the first is given |
//!
//! A name belongs to a merchant and to one call on one thing, such as `POST /invoices/inv_…/cancel`. An answer is kept for
//! [`ANSWER_KEPT_FOR`] and honoured for as long as it is there: until it is forgotten the store refuses another one.
//!
//! Answers are stored as they are, except those that may show a secret, which are sealed and bound to their place.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tracing::warn;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::IdempotencyKey;
use xthonpay_domain::time::Timestamp;

use crate::port::store::{AnswerBytes, Changeset, CommitError, KeptAnswer, Store, StoreError, Write};
use crate::port::vault::{Purpose, Sealed, Vault, VaultError};

/// How long an answer is kept: a week outlasts a client's retries and an outage over a weekend.
pub const ANSWER_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The largest answer that is kept where no effect was stored: such calls can be made again, and a caller could fill the disk
/// with what it makes us say. Many times what a call answers about a few things.
const AFTERWARDS_BYTES_MAX: usize = 64 * 1_024;

/// Calls under a name that work at the same time: twice the connections that the REST server accepts.
const AT_WORK_MAX: usize = 1_024;

/// A call that is not begun because of the name that it came under.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IdempotencyError {
    /// A call under the same name works still.
    #[error("a call with this Idempotency-Key is under way; ask again for its answer")]
    InProgress,
    /// The name stands for another request.
    #[error("this Idempotency-Key was used for another request; choose a fresh one")]
    Mismatch,
    /// Too many calls under names work.
    #[error("{AT_WORK_MAX} calls with an Idempotency-Key are under way")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kept answer does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl IdempotencyError {
    /// Whether the same call may go well later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::InProgress | Self::Full => true,
            Self::Store(error) => error.is_transient(),
            Self::Mismatch | Self::Vault(_) => false,
        }
    }
}

/// What a caller asks for under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Who asks.
    pub merchant: MerchantId,
    /// For which call on which thing, such as `POST /invoices`.
    pub call: String,
    /// Under which name.
    pub key: IdempotencyKey,
    /// SHA-256 of all that was asked for.
    pub fingerprint: [u8; 32],
    /// Whether the answer may show a secret.
    pub is_secret: bool,
}

impl Wish {
    /// Where a sealed answer belongs. No part holds a line feed.
    fn row(&self) -> String {
        format!("{}\n{}\n{}", self.merchant, self.call, self.key)
    }
}

/// A wish that is being fulfilled; whoever makes the effect keeps the answer with it, see
/// [`Principal::once`](crate::access::Principal::once).
#[derive(Clone)]
pub struct Claim {
    wish: Arc<Wish>,
    vault: Arc<dyn Vault>,
    is_kept: Arc<AtomicBool>,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("wish", &self.wish).finish_non_exhaustive()
    }
}

impl Claim {
    /// The record of the answer.
    #[must_use]
    pub fn keep(&self, answer: AnswerBytes, now: Timestamp) -> KeptAnswer {
        self.is_kept.store(true, Ordering::Relaxed);
        let wish = self.wish.as_ref();
        let body = if wish.is_secret {
            self.vault.seal(Purpose::KeptAnswer, &wish.row(), &answer.body).0
        } else {
            answer.body
        };
        KeptAnswer {
            merchant: wish.merchant.clone(),
            call: wish.call.clone(),
            key: wish.key.clone(),
            fingerprint: wish.fingerprint,
            answer: AnswerBytes { body, ..answer },
            expires_at: now.after(ANSWER_KEPT_FOR),
        }
    }
}

/// What becomes of a call under a name.
#[derive(Debug)]
pub enum Begun {
    /// It works. Nobody else works under the name for as long as the turn is there.
    Turn(Turn),
    /// It was made before, and this was answered.
    Before(AnswerBytes),
}

/// The right to work under a name; gone when dropped, however the call ends.
#[derive(Debug)]
pub struct Turn {
    claim: Claim,
    at_work: Arc<Mutex<HashSet<String>>>,
}

impl Turn {
    /// What the effect is stored with.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.claim.wish.row());
    }
}

/// Calls under names.
pub struct Idempotency {
    store: Arc<dyn Store>,
    vault: Arc<dyn Vault>,
    at_work: Arc<Mutex<HashSet<String>>>,
}

impl Idempotency {
    /// Nothing at work.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, vault: Arc<dyn Vault>) -> Self {
        Self { store, vault, at_work: Arc::default() }
    }

    /// Begins a call under a name, or finds the answer of the one that was made before.
    ///
    /// # Errors
    /// [`IdempotencyError`]; the call must not be made then.
    pub async fn begin(&self, wish: Wish) -> Result<Begun, IdempotencyError> {
        // Before the store is read: a call that ends in between leaves its answer there.
        let turn = self.take_turn(wish)?;
        match self.answer_of(&turn).await? {
            Some(answer) => Ok(Begun::Before(answer)),
            None => Ok(Begun::Turn(turn)),
        }
    }

    /// The answer that is kept under the name of a turn. On durable storage when this returns it.
    ///
    /// # Errors
    /// [`IdempotencyError`]; [`IdempotencyError::Mismatch`] when the name stands for another request.
    pub async fn answer_of(&self, turn: &Turn) -> Result<Option<AnswerBytes>, IdempotencyError> {
        let wish = turn.claim.wish.as_ref();
        let kept = self.store.kept_answer(&wish.merchant, &wish.call, &wish.key).await?;
        let Some(KeptAnswer { fingerprint, answer, .. }) = kept else { return Ok(None) };
        if fingerprint != wish.fingerprint {
            return Err(IdempotencyError::Mismatch);
        }
        // What is read here may be a changeset that is not on disk yet. A write behind it is on disk only when that one is.
        self.store.probe().await?;
        if !wish.is_secret {
            return Ok(Some(answer));
        }
        let body = self.vault.open(Purpose::KeptAnswer, &wish.row(), &Sealed(answer.body))?;
        Ok(Some(AnswerBytes { body: body.expose().to_vec(), ..answer }))
    }

    /// Keeps the answer of a call that succeeded and stored no effect with which it could be kept. Such calls do no harm when
    /// they are made again, so a failure to keep it is no failure of the call.
    pub async fn keep_afterwards(&self, turn: &Turn, answer: impl FnOnce() -> AnswerBytes, now: Timestamp) {
        let wish = turn.claim.wish.as_ref();
        // Made for a changeset is not stored with one: it may have been refused, and the call gone on without it.
        if turn.claim.is_kept.load(Ordering::Relaxed)
            && !matches!(self.store.kept_answer(&wish.merchant, &wish.call, &wish.key).await, Ok(None))
        {
            return;
        }
        let answer = answer();
        if answer.body.len() > AFTERWARDS_BYTES_MAX {
            return;
        }
        let kept = turn.claim.keep(answer, now);
        match self.store.commit(Changeset::new().with(Write::KeepAnswer(Box::new(kept)))).await {
            // Refused: the answer of a call that was given up is there by now.
            Ok(()) | Err(CommitError::Refused) => {}
            Err(error) => warn!(%error, call = turn.claim.wish.call, "an answer is not kept"),
        }
    }

    fn take_turn(&self, wish: Wish) -> Result<Turn, IdempotencyError> {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if at_work.len() >= AT_WORK_MAX {
            return Err(IdempotencyError::Full);
        }
        if !at_work.insert(wish.row()) {
            return Err(IdempotencyError::InProgress);
        }
        let (vault, is_kept) = (Arc::clone(&self.vault), Arc::default());
        let claim = Claim { wish: Arc::new(wish), vault, is_kept };
        Ok(Turn { claim, at_work: Arc::clone(&self.at_work) })
    }
}
