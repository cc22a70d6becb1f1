//! One fault at every single commit and every single question to the node: the outcome is always the same.

use xthonpay_domain::amount::Amount;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_payments::access::Principal;
use xthonpay_payments::scanning::scanner::Progress;
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::scripted_chain::no_answer;

use crate::world::World;

/// Steps after which a scanner that still fails will not recover.
const STEPS_MAX: usize = 200;

struct Scene {
    world: World,
    caller: Principal,
    invoices: [Invoice; 2],
}

/// What a merchant has in the end: what can be spent, the states and the events of both invoices, and the number of postings.
/// The events are sorted: whether a payment is confirmed before or after another one is seen depends on when the scanner looks.
type Outcome = (Amount, Vec<InvoiceState>, Vec<Vec<EventKind>>, usize);

impl Scene {
    async fn set() -> Self {
        let (world, caller) = World::started().await;
        let invoices = [world.invoice(&caller, 100).await, world.invoice(&caller, 50).await];
        Self { world, caller, invoices }
    }

    /// Two invoices are paid in one block, the block leaves the chain, one payment comes back, then everything is final.
    async fn act(&mut self) {
        let [first, second] = [self.invoices[0].address, self.invoices[1].address];
        self.world.pay(&[(first, 60), (second, 50)]);
        self.world.pay(&[(first, 40)]);
        self.work().await;
        let taken = self.world.chain.fork(2);
        self.world.chain.mine_empty(2);
        self.world.chain.mine(&taken[0].transfers);
        self.work().await;
        self.world.chain.mine(&taken[1].transfers);
        self.world.chain.finalise_below(1);
        self.work().await;
        self.world.chain.finalise();
        self.world.chain.mine_empty(1);
        self.work().await;
    }

    /// Lets scanner and settlement work as their loops do: whatever fails is tried again.
    async fn work(&mut self) {
        for _ in 0..STEPS_MAX {
            let step = self.world.scanner.step(&mut self.world.memory).await;
            if let Err(failure) = &step {
                assert!(failure.is_transient(), "{failure}");
            }
            let ruled = self.world.settlement.rule_all(&self.world.questions).await;
            if matches!(step, Ok(Progress::Idle)) && ruled.is_ok() {
                return;
            }
            // The next look would wait for a while.
            self.world.questions = Default::default();
        }
        unreachable!("the scanner does not recover");
    }

    async fn outcome(&self) -> Outcome {
        let mut states = Vec::new();
        for invoice in &self.invoices {
            states.push(self.world.stored(invoice).await.assessment.state);
        }
        let told = |id: &InvoiceId| {
            let mut events = self.world.events_of(id);
            events.sort_by_key(|kind| kind.name());
            events
        };
        let events = self.invoices.iter().map(|invoice| told(&invoice.id)).collect();
        let postings = self.world.store.tables().postings.len();
        (self.world.available(self.caller.merchant()).await, states, events, postings)
    }
}

#[tokio::test]
async fn any_single_failure_of_the_store_leaves_exactly_one_credit() {
    let mut undisturbed = Scene::set().await;
    let first = undisturbed.world.store.faults.commits();
    undisturbed.act().await;
    let commits = undisturbed.world.store.faults.commits().saturating_sub(first);
    let expected = undisturbed.outcome().await;
    assert_eq!((expected.0, expected.3), (Amount::from_units(150), 3));
    assert_eq!(expected.1, [InvoiceState::Paid, InvoiceState::Paid]);
    assert!(commits > 10, "{commits} commits leave little to disturb");
    for fault in [Fault::NothingStored, Fault::Stored, Fault::Refused] {
        for nth in 0..commits {
            let mut scene = Scene::set().await;
            let passing = std::iter::repeat_n(None, usize::try_from(nth).expect("a small number"));
            scene.world.store.faults.next(passing.chain([Some(fault)]));
            scene.act().await;
            // One ruling may come a step later: the rules are asked again then.
            scene.world.questions = Default::default();
            scene.work().await;
            assert_eq!(scene.outcome().await, expected, "{fault:?} at commit {nth}");
        }
    }
}

#[tokio::test]
async fn any_single_failure_of_the_node_leaves_exactly_one_credit() {
    let mut undisturbed = Scene::set().await;
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    undisturbed.world.chain.fail_when(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        None
    });
    undisturbed.act().await;
    let expected = undisturbed.outcome().await;
    let questions = asked.load(std::sync::atomic::Ordering::SeqCst);
    assert!(questions > 15, "{questions} questions leave little to disturb");
    for nth in 0..questions {
        let mut scene = Scene::set().await;
        let mut left = nth;
        scene.world.chain.fail_when(move |_| match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                None
            }
            None => {
                left = usize::MAX;
                Some(no_answer())
            }
        });
        scene.act().await;
        assert_eq!(scene.outcome().await, expected, "failure at question {nth}");
    }
}

#[tokio::test]
async fn reads_that_fail_for_a_while_lose_nothing() {
    let mut scene = Scene::set().await;
    scene.world.pay(&[(scene.invoices[0].address, 100)]);
    scene.world.store.faults.fail_reads(true);
    for _ in 0..3 {
        assert!(scene.world.scanner.step(&mut scene.world.memory).await.is_err());
    }
    scene.world.store.faults.clear();
    scene.act().await;
    assert_eq!(scene.outcome().await.0, Amount::from_units(250));
}
