//! Test mode: payments that are made on request on the simulated chain, so that a merchant sees every case happen.
//!
//! Only the chain is simulated. Its blocks go through the same scanner, rules, ledger and deliveries as those of every other
//! chain, and the state that an invoice ends in is found in the store, never set here. One thing alone is moved by hand: the
//! expiry of an invoice that shall be paid too late.
//!
//! A simulation makes blocks and waits until the scanner has done with them. One at a time makes blocks, since those of a
//! reorganisation belong together; they wait side by side. Dropping a call ends it where it stands: what is mined already is
//! processed all the same, and the same call can be made again.

mod beginning;
mod case;
mod failure;
mod payments;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::info;
use xthonpay_domain::access::Mode;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::Asset;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::{Invoice, Terms};
use xthonpay_domain::time::Timestamp;

use crate::access::Principal;
use crate::catalog::{Catalog, mode_of};
use crate::port::random::{Random, bytes};
use crate::port::simulation::{BlockMaker, FINAL_BEHIND, Movement, Way};
use crate::port::store::{Changeset, CommitError, Store, Write};
use crate::scanning::status::{Health, SharedStatus};
pub use beginning::left_behind;
pub use case::Case;
pub use failure::SimulationError;
use payments::{Awaited, Payment, Shape};

/// How often a block is made without being asked for, so that time goes on and invoices expire.
pub const BLOCK_TIME: Duration = Duration::from_secs(3);
/// Simulations under way and waiting, of the whole deployment. Bounds the memory and what they ask of the store.
const AT_ONCE_MAX: usize = 16;
/// How long a simulation may take. The slowest waits for a reading of balances, which are five seconds apart.
const TIME_MAX: Duration = Duration::from_secs(15);
/// How often the records are looked at while a simulation waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// Blocks that the chain may be ahead of its scanner before no more are made: a scanner that stopped must find all of them
/// when it goes on, and the chain keeps only the newest.
const LEAD_MAX: u64 = 200;
/// How often a record that changed in the meantime is read again.
const ATTEMPTS_MAX: u32 = 5;

/// Makes payments on the simulated chain.
#[derive(Clone)]
pub struct Simulation {
    /// Records.
    pub store: Arc<dyn Store>,
    /// The chain.
    pub blocks: Arc<dyn BlockMaker>,
    /// What the chain's scanner says about itself.
    pub status: SharedStatus,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
    /// Hashes of transactions.
    pub random: Arc<dyn Random>,
    /// Who may make blocks.
    pub stage: Stage,
}

/// Who may make blocks of the simulated chain.
#[derive(Clone)]
pub struct Stage {
    mining: Arc<Mutex<()>>,
    places: Arc<Semaphore>,
}

impl Default for Stage {
    fn default() -> Self {
        Self { mining: Arc::default(), places: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }
}

/// What shall happen to an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub case: Case,
    /// How much is paid, in base units of the asset that is paid in; `None` means what the case stands for.
    pub amount: Option<Amount>,
}

/// An invoice after a simulation.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The invoice.
    pub invoice: Invoice,
    /// Every deposit on its address.
    pub deposits: Vec<Deposit>,
}

impl Simulation {
    /// Makes a block now and then until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let making = async {
            loop {
                sleep(BLOCK_TIME).await;
                let _mining = self.stage.mining.lock().await;
                if self.is_followed() {
                    self.blocks.mine(&[]);
                }
            }
        };
        stop.run_until_cancelled(making).await;
    }

    /// The caller's invoice on the simulated chain.
    ///
    /// # Errors
    /// [`SimulationError::UnknownInvoice`].
    pub async fn invoice(&self, caller: &Principal, id: &InvoiceId) -> Result<Invoice, SimulationError> {
        let found = self.store.invoice(id).await?;
        let is_simulated = |invoice: &Invoice| mode_of(&invoice.terms.asset.chain) == Mode::Test;
        let found = found.filter(|invoice| invoice.merchant == *caller.merchant() && is_simulated(invoice));
        found.ok_or_else(|| SimulationError::UnknownInvoice { invoice: id.clone() })
    }

    /// What an invoice is paid in when this case happens to it.
    ///
    /// # Errors
    /// [`SimulationError::OnlyNative`] when it cannot happen to this invoice, [`SimulationError::NoAsset`] when the config has no
    /// such asset any more.
    pub fn paid_in(&self, case: Case, invoice: &Invoice) -> Result<&Asset, SimulationError> {
        let asked = &invoice.terms.asset;
        if case == Case::InternalBnb && !self.catalog.is_native(asked) {
            return Err(SimulationError::OnlyNative { asset: asked.clone() });
        }
        let wanted = |asset: &&Asset| (asset.id == *asked) != (case == Case::WrongAsset);
        self.catalog.assets_in(Mode::Test).find(wanted).ok_or(SimulationError::NoAsset)
    }

    /// Lets a case happen to the caller's invoice, and waits until the scanner has done with it and the rules have said their
    /// word.
    ///
    /// # Errors
    /// [`SimulationError`]; after [`SimulationError::Behind`] some of it may have happened.
    pub async fn simulate(&self, caller: &Principal, id: &InvoiceId, wish: Wish) -> Result<Simulated, SimulationError> {
        let _place = self.stage.places.try_acquire().map_err(|_| SimulationError::Busy)?;
        let until = Instant::now().checked_add(TIME_MAX).ok_or(SimulationError::Behind)?;
        let invoice = self.invoice(caller, id).await?;
        let asset = self.paid_in(wish.case, &invoice)?;
        let payments = payments::of(wish, &invoice, &asset.id)?;
        self.use_up(caller).await?;
        if wish.case == Case::Late {
            self.let_expire(id, until).await?;
        }
        let movements: Vec<Movement> = payments.iter().map(|payment| self.movement(&invoice, payment)).collect();
        match payments::shape(wish.case) {
            Shape::Plain => self.pay(&invoice, &movements, until).await?,
            Shape::MinedTwice => self.pay_with_a_fork(&invoice, &movements, until).await?,
        }
        let simulated = self.ruled(id, until).await?;
        info!(invoice = %id, case = wish.case.name(), state = simulated.invoice.assessment.state.name(), "simulated");
        Ok(simulated)
    }

    /// Makes the caller's signature useless for another call.
    async fn use_up(&self, caller: &Principal) -> Result<(), SimulationError> {
        let Some(used) = caller.used_signature.clone() else { return Ok(()) };
        let committed = self.store.commit(Changeset::new().with(Write::UseSignature(used))).await;
        committed.map_err(|error| match error {
            CommitError::Refused => SimulationError::SignatureReplayed,
            CommitError::Store(error) => error.into(),
        })
    }

    /// The right to make blocks, once the scanner is near enough that it will find all of them.
    async fn mining(&self, until: Instant) -> Result<MutexGuard<'_, ()>, SimulationError> {
        let mining = timeout_at(until, self.stage.mining.lock()).await.map_err(|_| SimulationError::Behind)?;
        while !self.is_followed() {
            // Waiting does not thaw it.
            if self.is_frozen() {
                return Err(SimulationError::Behind);
            }
            pause(until).await?;
        }
        Ok(mining)
    }

    /// Whether the scanner follows the chain, so that more blocks may be made.
    fn is_followed(&self) -> bool {
        let status = self.status.get();
        let head = self.blocks.tip().number;
        let near = status.cursor.is_some_and(|cursor| head.0.saturating_sub(cursor.tip.number.0) <= LEAD_MAX);
        near && !self.is_frozen()
    }

    fn is_frozen(&self) -> bool {
        matches!(self.status.get().health, Health::Frozen { .. })
    }

    /// Brings the expiry of an invoice forward to now and waits until it has struck, where it can.
    async fn let_expire(&self, id: &InvoiceId, until: Instant) -> Result<(), SimulationError> {
        let mining = self.mining(until).await?;
        // Every later block has a later time.
        let moment = self.blocks.mine(&[]).time;
        self.bring_forward(id, moment).await?;
        for _ in 0..=FINAL_BEHIND {
            self.blocks.mine(&[]);
        }
        drop(mining);
        while self.stored(id).await?.assessment.state.awaits_expiry() {
            pause(until).await?;
        }
        Ok(())
    }

    async fn bring_forward(&self, id: &InvoiceId, moment: Timestamp) -> Result<(), SimulationError> {
        for _ in 0..ATTEMPTS_MAX {
            let invoice = self.stored(id).await?;
            if invoice.terms.expires_at <= moment {
                return Ok(());
            }
            let terms = Terms { expires_at: moment, ..invoice.terms.clone() };
            let next = Invoice { terms, revision: invoice.revision.saturating_add(1), ..invoice };
            match self.store.commit(Changeset::new().with(Write::UpdateInvoice(Box::new(next)))).await {
                // A payment or a decision came at the same moment.
                Err(CommitError::Refused) => {}
                outcome => return Ok(outcome?),
            }
        }
        Err(CommitError::Refused.into())
    }

    fn movement(&self, invoice: &Invoice, payment: &Payment) -> Movement {
        let way =
            if payment.passed_on { Way::PassedOn } else { Way::Transaction(TxHash::new(bytes(self.random.as_ref()))) };
        Movement { asset: payment.asset.clone(), to: invoice.address, amount: payment.amount, way }
    }

    /// Mines every payment in a block of its own and waits until all are credited or set aside.
    async fn pay(&self, invoice: &Invoice, movements: &[Movement], until: Instant) -> Result<(), SimulationError> {
        let known = self.store.deposits_of_invoice(&invoice.id).await?;
        let awaited = Awaited::of(movements, &known)?;
        {
            let _mining = self.mining(until).await?;
            for movement in movements {
                self.blocks.mine(std::slice::from_ref(movement));
            }
            self.bury(invoice);
        }
        if awaited.is_passed_on() {
            // Only now it has a block from which its confirmations count.
            self.reach(invoice, &awaited, &[DepositState::Seen, DepositState::Final], until).await?;
            let _mining = self.mining(until).await?;
            self.bury(invoice);
        }
        self.reach(invoice, &awaited, &[DepositState::Final], until).await
    }

    /// Mines payments, lets the scanner see them, replaces their blocks by others without them, and mines them again once the
    /// scanner has seen that too.
    async fn pay_with_a_fork(
        &self,
        invoice: &Invoice,
        movements: &[Movement],
        until: Instant,
    ) -> Result<(), SimulationError> {
        let awaited = Awaited::of(movements, &[])?;
        for movement in movements {
            let Way::Transaction(tx) = movement.way else { continue };
            // Nobody else makes blocks meanwhile, so nothing of others is replaced and nothing becomes final.
            let _mining = self.mining(until).await?;
            let block = self.blocks.mine(std::slice::from_ref(movement));
            self.reach(invoice, &awaited, &[DepositState::Seen], until).await?;
            self.blocks.fork(block.number, tx)?;
            self.reach(invoice, &awaited, &[DepositState::Orphaned], until).await?;
            self.blocks.mine(std::slice::from_ref(movement));
            self.bury(invoice);
        }
        self.reach(invoice, &awaited, &[DepositState::Final], until).await
    }

    /// Puts as many blocks on top as the newest one needs to be final and to have the confirmations that the invoice asks for.
    fn bury(&self, invoice: &Invoice) {
        for _ in 0..FINAL_BEHIND.max(invoice.terms.confirmations.saturating_sub(1)) {
            self.blocks.mine(&[]);
        }
    }

    /// Waits until what was paid is in one of these states.
    async fn reach(
        &self,
        invoice: &Invoice,
        awaited: &Awaited,
        states: &[DepositState],
        until: Instant,
    ) -> Result<(), SimulationError> {
        while !awaited.is_in(states, &self.store.deposits_of_invoice(&invoice.id).await?)? {
            pause(until).await?;
        }
        Ok(())
    }

    /// The invoice once the rules have said their word. They may want to wait for longer than a call can: then it is as it is.
    async fn ruled(&self, id: &InvoiceId, until: Instant) -> Result<Simulated, SimulationError> {
        loop {
            let invoice = self.stored(id).await?;
            if !invoice.assessment.awaits_ruling || pause(until).await.is_err() {
                let deposits = self.store.deposits_of_invoice(id).await?;
                return Ok(Simulated { invoice, deposits });
            }
        }
    }

    async fn stored(&self, id: &InvoiceId) -> Result<Invoice, SimulationError> {
        let found = self.store.invoice(id).await?;
        found.ok_or_else(|| SimulationError::UnknownInvoice { invoice: id.clone() })
    }
}

/// Waits a moment, as long as there is time.
async fn pause(until: Instant) -> Result<(), SimulationError> {
    if Instant::now() >= until {
        return Err(SimulationError::Behind);
    }
    sleep(LOOK_INTERVAL).await;
    Ok(())
}
