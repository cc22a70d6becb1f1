//! What rules keep: stored with what their answer brings about, or not at all.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use xthonpay_domain::text::{ItemKey, LoanLabel, PluginName};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::invoicing::InvoicingError;
use xthonpay_payments::plugin_storage::StoredItems;
use xthonpay_payments::port::hooks::{Draft, DraftRuling, HookFailure, InvoiceRules, OnFailure, PaymentReview};
use xthonpay_payments::port::lending::storage::{
    Answered, Item, ItemExpectation, ItemWrite, PluginStorage as _, Space,
};
use xthonpay_payments::port::store::{Changeset, CommitError, Store as _, Write};

use xthonpay_domain::invoice::assessment::Advice;

use crate::doubles::failure;
use crate::world::World;

fn space(plugin: &str) -> Space {
    let (plugin, label): (PluginName, LoanLabel) = (plugin.parse().expect("a name"), "notes".parse().expect("a label"));
    Space { plugin, merchant: None, label }
}

fn key(text: &str) -> ItemKey {
    text.parse().expect("a key")
}

/// What a counting plugin answers after it has counted.
#[derive(Clone, Copy)]
enum Then {
    Accept,
    Refuse,
}

/// Counts the drafts that it is asked about.
struct Counting {
    items: Arc<StoredItems>,
    then: Then,
}

impl Counting {
    async fn one_more(&self) -> ItemWrite {
        let (space, key) = (space("counting"), key("drafts"));
        let before = self.items.item(&space, &key).await.expect("the store answers");
        // Others look at the same count meanwhile.
        tokio::task::yield_now().await;
        let count: u64 =
            before.as_ref().map_or(0, |item| String::from_utf8_lossy(&item.value).parse().expect("a number"));
        let value = (count + 1).to_string().into_bytes();
        let item = Item { value, revision: self.items.fresh_revision(), expires_at: None };
        let expected = before.map_or(ItemExpectation::Absent, |item| ItemExpectation::Revision(item.revision));
        ItemWrite { space, key, expected, becomes: Some(item) }
    }
}

#[async_trait]
impl InvoiceRules for Counting {
    async fn on_draft(&self, draft: &Draft) -> Result<Answered<DraftRuling>, HookFailure> {
        let answer = match self.then {
            Then::Accept => DraftRuling::Accept(draft.proposed),
            Then::Refuse => DraftRuling::Refuse { code: "no".to_owned(), message: "no".to_owned() },
        };
        Ok(Answered { answer, writes: vec![self.one_more().await] })
    }

    async fn on_payment(&self, _: &PaymentReview) -> Result<Answered<Advice>, HookFailure> {
        Ok(Answered { answer: Advice::Settle, writes: vec![self.one_more().await] })
    }
}

/// Fails, with the operator's wish that nothing goes on then.
struct Broken;

#[async_trait]
impl InvoiceRules for Broken {
    async fn on_draft(&self, _: &Draft) -> Result<Answered<DraftRuling>, HookFailure> {
        Err(failure(OnFailure::Closed))
    }

    async fn on_payment(&self, _: &PaymentReview) -> Result<Answered<Advice>, HookFailure> {
        Err(failure(OnFailure::Hold))
    }
}

fn items(world: &World) -> Arc<StoredItems> {
    Arc::new(StoredItems::new(world.store.clone(), world.random.clone()))
}

fn counted(world: &World) -> Option<String> {
    let item = world.store.tables().plugin_items.get(&(space("counting"), key("drafts"))).cloned()?;
    String::from_utf8(item.value).ok()
}

fn bind(world: &World, then: Then) {
    let rules = Counting { items: items(world), then };
    world.hooks.bind_rules([Arc::new(rules) as Arc<dyn InvoiceRules>]);
}

#[tokio::test]
async fn drafts_at_the_same_moment_all_count() {
    let (world, caller) = World::started().await;
    bind(&world, Then::Accept);
    let made = join_all((0..10).map(|_| world.make(&caller, world.new_invoice(5)))).await;
    let made = made.into_iter().filter(Result::is_ok).count();
    assert_eq!(made, 10);
    assert_eq!(counted(&world).as_deref(), Some("10"));
    assert_eq!(world.store.tables().invoices.len(), 10);
}

#[tokio::test]
async fn a_refusal_counts_too_and_makes_no_invoice() {
    let (world, caller) = World::started().await;
    bind(&world, Then::Refuse);
    let refused = join_all((0..5).map(|_| world.make(&caller, world.new_invoice(5)))).await;
    assert!(refused.iter().all(|made| matches!(made, Err(InvoicingError::RefusedByRules { .. }))), "{refused:?}");
    assert_eq!(counted(&world).as_deref(), Some("5"));
    assert!(world.store.tables().invoices.is_empty());
}

#[tokio::test]
async fn a_draft_that_no_invoice_comes_of_counts_nothing() {
    let (world, caller) = World::started().await;
    let counting = Counting { items: items(&world), then: Then::Accept };
    world.hooks.bind_rules([Arc::new(counting) as Arc<dyn InvoiceRules>, Arc::new(Broken)]);
    assert!(matches!(world.make(&caller, world.new_invoice(5)).await, Err(InvoicingError::RulesUnavailable(_))));
    assert_eq!(counted(&world), None);
}

#[tokio::test]
async fn what_has_run_out_is_removed_when_a_space_is_counted() {
    let world = World::new(1);
    let items = items(&world);
    let put = |name: &str, bytes: usize, expires_at: Option<u64>| {
        let item = Item {
            value: vec![1; bytes],
            revision: items.fresh_revision(),
            expires_at: expires_at.map(Timestamp::from_secs),
        };
        let expected = ItemExpectation::Anything;
        Write::PutItem(Box::new(ItemWrite { space: space("a"), key: key(name), expected, becomes: Some(item) }))
    };
    let changes: Changeset =
        [put("k1", 10, None), put("k2", 20, Some(50)), put("k3", 30, Some(200))].into_iter().collect();
    world.store.commit(changes).await.expect("stored");
    let now = Timestamp::from_secs(100);
    assert_eq!(items.used_bytes(&space("a"), now).await, Ok(44));
    assert_eq!(world.store.tables().plugin_items.len(), 2);
    items.note_growth(&space("a"), 6);
    assert_eq!(items.used_bytes(&space("a"), now).await, Ok(50), "noted, not counted again");
    assert_eq!(items.used_bytes(&space("b"), now).await, Ok(0), "no plugin sees another's");
}

#[tokio::test]
async fn an_expectation_that_does_not_hold_stores_nothing() {
    let world = World::new(1);
    let item = |value: u8, revision| Item { value: vec![value], revision, expires_at: None };
    let write =
        |expected, becomes| Write::PutItem(Box::new(ItemWrite { space: space("a"), key: key("k"), expected, becomes }));
    let commit = async |write: Write| world.store.commit(Changeset::new().with(write)).await;
    assert_eq!(commit(write(ItemExpectation::Revision(1), Some(item(1, 2)))).await, Err(CommitError::Refused));
    assert_eq!(commit(write(ItemExpectation::Absent, Some(item(1, 2)))).await, Ok(()));
    assert_eq!(commit(write(ItemExpectation::Absent, Some(item(1, 3)))).await, Err(CommitError::Refused));
    assert_eq!(commit(write(ItemExpectation::Revision(2), Some(item(2, 4)))).await, Ok(()));
    assert_eq!(commit(write(ItemExpectation::Revision(2), None)).await, Err(CommitError::Refused));
    assert_eq!(commit(write(ItemExpectation::Revision(4), None)).await, Ok(()));
}
