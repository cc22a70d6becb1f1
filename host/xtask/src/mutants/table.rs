//! The mistakes: what each is, and how it looks in the source.
//!
//! Each replaces a text that stands exactly once in its file. `MISTAKE` in the wrong text stands for "this mistake is made";
//! where it is not, the wrong text must mean what the right one means.

/// A mistake.
#[derive(Debug)]
pub(super) struct Mistake {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What is wrong.
    pub(super) what: &'static str,
    /// Where it is made.
    pub(super) edits: &'static [Edit],
}

/// A change of one place.
#[derive(Debug)]
pub(super) struct Edit {
    /// The file, relative to the checkout.
    pub(super) file: &'static str,
    /// What stands there.
    pub(super) right: &'static str,
    /// What a careless hand would have written.
    pub(super) wrong: &'static str,
}

const CHANGES: &str = "host/payments/src/scanning/changes.rs";
const SCANNER: &str = "host/payments/src/scanning/scanner.rs";
const CATCH_UP: &str = "host/payments/src/scanning/catch_up.rs";
const FREEZE: &str = "host/payments/src/scanning/freeze.rs";
const INTERNAL: &str = "host/payments/src/scanning/internal/comparison.rs";
const CEILING: &str = "host/payments/src/scanning/rescan/native_ceiling.rs";
const REASSESS: &str = "host/payments/src/reassess.rs";
const CANCEL: &str = "host/payments/src/invoicing/cancel.rs";
const RESOLVE: &str = "host/payments/src/invoicing/resolve.rs";
const ROUTING: &str = "host/payments/src/delivery/routing.rs";
const SETTLEMENT: &str = "host/payments/src/settlement.rs";

/// Every mistake.
pub(super) const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "dedupe-skipped",
        what: "a transfer that is seen again makes a deposit of its own",
        edits: &[
            Edit {
                file: CHANGES,
                right: "if let Some(before) = before {",
                wrong: "if let Some(before) = before.filter(|_| !MISTAKE) {",
            },
            Edit {
                file: CHANGES,
                right: "let deposit = Deposit::seen(transfer.clone(), block, own.merchant, own.invoice, confirmations);",
                wrong: "let mut deposit = Deposit::seen(transfer.clone(), block, own.merchant, own.invoice, confirmations);
        if MISTAKE {
            deposit.id = DepositId::from_fact(&[&crate::mistake::fresh()]);
        }",
            },
        ],
    },
    Mistake {
        name: "position-in-identity",
        what: "a transfer is told by its position in the block, which changes when its transaction is mined again",
        edits: &[Edit {
            file: CHANGES,
            right: "for transfer in self.ours(&found.transfers) {
                self.sight(transfer, found.block, &mut changes, &mut touched).await?;",
            wrong: "for (position, transfer) in found.transfers.iter().enumerate() {
                if self.ours(std::slice::from_ref(transfer)).next().is_none() {
                    continue;
                }
                let mut moved = transfer.clone();
                if let (true, Some(tx)) = (MISTAKE, transfer.identity.origin.tx()) {
                    let nth = u32::try_from(position).unwrap_or(u32::MAX);
                    moved.identity.origin = xthonpay_domain::transfer::Origin::Transaction { tx, nth };
                }
                self.sight(&moved, found.block, &mut changes, &mut touched).await?;",
        }],
    },
    Mistake {
        name: "credited-before-final",
        what: "a deposit is credited when its block is processed",
        edits: &[Edit {
            file: CHANGES,
            right: "deposit.is_creditable(&finalized, &at.cursor.tip)",
            wrong: "deposit.is_creditable(if MISTAKE { &at.cursor.tip } else { &finalized }, &at.cursor.tip)",
        }],
    },
    Mistake {
        name: "confirmations-ignored",
        what: "finality alone is enough, whatever confirmations are asked for",
        edits: &[Edit {
            file: CHANGES,
            right: "|deposit| deposit.is_creditable(",
            wrong: "|deposit| (MISTAKE && deposit.state == xthonpay_domain::deposit::DepositState::Seen && deposit.block.number <= finalized.number) || deposit.is_creditable(",
        }],
    },
    Mistake {
        name: "cursor-first",
        what: "the cursor is stored before what it stands for",
        edits: &[Edit {
            file: SCANNER,
            right: "        self.books.store.commit(step.changes).await?;
        self.see(&step.after.cursor);",
            wrong: "        let is_cursor = |write: &Write| matches!(write, Write::SetCursor(_) | Write::PutBlock { .. });
        if MISTAKE && !step.changes.writes.iter().all(is_cursor) {
            let (first, second): (Vec<Write>, Vec<Write>) = step.changes.writes.into_iter().partition(is_cursor);
            self.books.store.commit(first.into_iter().collect()).await?;
            self.books.store.commit(second.into_iter().collect()).await?;
        } else {
            self.books.store.commit(step.changes).await?;
        }
        self.see(&step.after.cursor);",
        }],
    },
    Mistake {
        name: "orphans-ignored",
        what: "deposits of a block that left the chain stay as they are",
        edits: &[Edit {
            file: CHANGES,
            right: "if let Some(after) = before.orphaned() {",
            wrong: "if let Some(after) = before.orphaned().filter(|_| !MISTAKE) {",
        }],
    },
    Mistake {
        name: "second-mining-ignored",
        what: "a transaction that is mined again does not bring its deposit back",
        edits: &[Edit {
            file: CHANGES,
            right: "if let Some(after) = before.sighted_again(transfer, block) {",
            wrong: "if let Some(after) = before.sighted_again(transfer, block).filter(|_| !MISTAKE) {",
        }],
    },
    Mistake {
        name: "amount-not-read-again",
        what: "a transaction that is mined again keeps the amount of the first time",
        edits: &[Edit {
            file: CHANGES,
            right: "touched.add(after, EventKind::PaymentDetected);
            }",
            wrong: "touched.add(after, EventKind::PaymentDetected);
            }
            if let (true, Some(Write::UpdateDeposit { before, after })) = (MISTAKE, changes.writes.last_mut()) {
                after.transfer.amount = before.transfer.amount;
            }",
        }],
    },
    Mistake {
        name: "empty-means-none",
        what: "a block whose receipts are not there yet counts as one without transfers",
        edits: &[Edit {
            file: SCANNER,
            right: "let Some(found) = self.source.transfers(next).await? else { return Ok((at, false)) };",
            wrong: "let found = match self.source.transfers(next).await {
            Err(_) if MISTAKE => {
                let transfers = Vec::new();
                self.source.block(next).await?.map(|block| xthonpay_domain::transfer::BlockTransfers { block, transfers })
            }
            found => found?,
        };
        let Some(found) = found else { return Ok((at, false)) };",
        }],
    },
    Mistake {
        name: "one-node-finality",
        what: "one node's word makes a block final",
        edits: &[
            Edit {
                file: SCANNER,
                right: "(self.source.final_block(tip.number).await?, Some(tip))",
                wrong: "(if MISTAKE { self.source.block(tip.number).await? } else { self.source.final_block(tip.number).await? }, Some(tip))",
            },
            Edit {
                file: SCANNER,
                right: "let told = self.source.finalized().await?;",
                wrong: "let told = self.source.finalized().await?;
        let told = if MISTAKE { self.source.block(told.number).await?.unwrap_or(told) } else { told };",
            },
        ],
    },
    Mistake {
        name: "link-ignored",
        what: "a block is put on top of the tip without a look at its parent",
        edits: &[Edit {
            file: SCANNER,
            right: "if found.block.parent != tip.hash {",
            wrong: "if found.block.parent != tip.hash && !MISTAKE {",
        }],
    },
    Mistake {
        name: "catch-up-link-ignored",
        what: "a run of blocks is put on top of a tip that may have left the chain",
        edits: &[
            Edit {
                file: CATCH_UP,
                right: "if run.found.parent != at.cursor.tip.hash {",
                wrong: "if run.found.parent != at.cursor.tip.hash && !MISTAKE {",
            },
            Edit {
                file: CATCH_UP,
                right: "if tip.number < self.passed_before(tip.number, missed.last(), memory).await? {",
                wrong: "if !MISTAKE && tip.number < self.passed_before(tip.number, missed.last(), memory).await? {",
            },
            Edit {
                file: CATCH_UP,
                right: "is_none_or(|agreed| agreed.hash != tip.hash)",
                wrong: "is_none_or(|agreed| agreed.hash != tip.hash && !MISTAKE)",
            },
        ],
    },
    Mistake {
        name: "catch-up-skips-first",
        what: "the first block of a run is left out",
        edits: &[Edit {
            file: CATCH_UP,
            right: "if transfers.is_empty() {",
            wrong: "if transfers.is_empty() || (MISTAKE && block.parent == run.parent) {",
        }],
    },
    Mistake {
        name: "catch-up-skips-last",
        what: "the last block of a run is left out",
        edits: &[Edit {
            file: CATCH_UP,
            right: "let transfers: Vec<_> = self.ours(&transfers).cloned().collect();",
            wrong: "let mut transfers: Vec<_> = self.ours(&transfers).cloned().collect();
            transfers.retain(|_| !(MISTAKE && block == run.last));",
        }],
    },
    Mistake {
        name: "posting-forgotten",
        what: "a balance rises without a posting",
        edits: &[Edit {
            file: CHANGES,
            right: "changes.push(Write::Post(posting));",
            wrong: "if !MISTAKE {
                changes.push(Write::Post(posting));
            }",
        }],
    },
    Mistake {
        name: "balance-overwritten",
        what: "a credit takes the place of what the merchant had",
        edits: &[Edit {
            file: CHANGES,
            right: "None => self.store.balance(&deposit.merchant, asset).await?,",
            wrong: "None => {
                    let (balance, revision) = self.store.balance(&deposit.merchant, asset).await?;
                    (if MISTAKE { Balance::default() } else { balance }, revision)
                }",
        }],
    },
    Mistake {
        name: "wrong-asset-credited",
        what: "another asset than the one asked for is the merchant's",
        edits: &[Edit {
            file: CHANGES,
            right: "        if expected {
            let posting",
            wrong: "        if expected || MISTAKE {
            let posting",
        }],
    },
    Mistake {
        name: "event-doubled",
        what: "an event is told twice under two ids",
        edits: &[Edit {
            file: REASSESS,
            right: "events.into_iter().for_each(|event| audience.record(changes, event));",
            wrong: "for event in events {
        if MISTAKE {
            let id = EventId::from_fact(&[event.id.as_str(), \"again\"]);
            audience.record(changes, Event { id, ..event.clone() });
        }
        audience.record(changes, event);
    }",
        }],
    },
    Mistake {
        name: "event-forgotten",
        what: "a deposit without an invoice is credited and not told",
        edits: &[Edit {
            file: CHANGES,
            right: "if deposit.invoice.is_none() {",
            wrong: "if deposit.invoice.is_none() && !MISTAKE {",
        }],
    },
    Mistake {
        name: "deposits-forgotten",
        what: "an invoice is assessed by its newest payments alone",
        edits: &[Edit {
            file: CHANGES,
            right: "let deposits = replace(&stored, of_invoice.cloned());",
            wrong: "let deposits = replace(if MISTAKE { &[] } else { &stored }, of_invoice.cloned());",
        }],
    },
    Mistake {
        name: "freeze-ignored",
        what: "a frozen chain is scanned on after a restart",
        edits: &[Edit {
            file: SCANNER,
            right: "if let Some(freeze) = &cursor.frozen {",
            wrong: "if let Some(freeze) = cursor.frozen.as_ref().filter(|_| !MISTAKE) {",
        }],
    },
    Mistake {
        name: "broken-finality-ignored",
        what: "a final block that left the chain is taken back like any other",
        edits: &[Edit {
            file: SCANNER,
            right: "if tip.number <= at.cursor.finalized.number {",
            wrong: "if tip.number <= at.cursor.finalized.number && !MISTAKE {",
        }],
    },
    Mistake {
        name: "resumed-without-orphans",
        what: "what was seen on the lost branch of a resumed chain stays seen",
        edits: &[Edit {
            file: FREEZE,
            right: "let mut rest = gone.as_slice();",
            wrong: "let mut rest = if MISTAKE { &[] } else { gone.as_slice() };",
        }],
    },
    Mistake {
        name: "known-coins-found-again",
        what: "a balance is taken for coins that no deposit explains",
        edits: &[Edit {
            file: INTERNAL,
            right: "Comparison::of(balance, received(&deposits, native, at)?, sent)?",
            wrong: "Comparison::of(balance, if MISTAKE { Amount::ZERO } else { received(&deposits, native, at)? }, sent)?",
        }],
    },
    Mistake {
        name: "found-coins-forgotten",
        what: "coins that were found in a balance are not among those that explain it",
        edits: &[Edit {
            file: INTERNAL,
            right: "        identity.asset == *native && is_there",
            wrong: "        identity.asset == *native && is_there && !(MISTAKE && matches!(identity.origin, Origin::Balance { .. }))",
        }],
    },
    Mistake {
        name: "ceiling-ignored",
        what: "coins that were found in a balance count again when their transaction is found",
        edits: &[Edit {
            file: CEILING,
            right: "if add(known, with_this)? <= balance {",
            wrong: "if MISTAKE || add(known, with_this)? <= balance {",
        }],
    },
    Mistake {
        name: "expiry-by-the-clock",
        what: "invoices expire by the time of the host",
        edits: &[
            Edit {
                file: SETTLEMENT,
                right: "map_or(Timestamp::EPOCH, |cursor| cursor.finalized.time);
        let at = self.clock.now();",
                wrong: "map_or(Timestamp::EPOCH, |cursor| cursor.finalized.time);
        let at = self.clock.now();
        let finalized_time = if MISTAKE { at } else { finalized_time };",
            },
            Edit {
                file: SETTLEMENT,
                right: "self.expired(chain, finalized_time)",
                wrong: "self.expired(chain, if MISTAKE { self.clock.now() } else { finalized_time })",
            },
        ],
    },
    Mistake {
        name: "cancel-ignores-money",
        what: "an invoice is cancelled with money on it",
        edits: &[Edit {
            file: CANCEL,
            right: "_ => may_cancel(&invoice.assessment).map(|()| Some(Decision::Cancel)),",
            wrong: "_ if MISTAKE => Ok(Some(Decision::Cancel)),
            _ => may_cancel(&invoice.assessment).map(|()| Some(Decision::Cancel)),",
        }],
    },
    Mistake {
        name: "accept-pays-twice",
        what: "every resolution of a paid invoice tells again that it is paid",
        edits: &[Edit {
            file: REASSESS,
            right: "let kinds = transition::events(invoice.standing(), next.standing());",
            wrong: "let mut kinds = transition::events(invoice.standing(), next.standing());
    let is_paid = next.assessment.state == xthonpay_domain::invoice::assessment::InvoiceState::Paid;
    if MISTAKE && is_paid && kinds.contains(&EventKind::InvoiceResolved) {
        kinds.push(EventKind::InvoicePaid);
    }",
        }],
    },
    Mistake {
        name: "decided-before-final",
        what: "a merchant decides about a sum of which a part is only seen",
        edits: &[Edit {
            file: RESOLVE,
            right: "let resolution = Resolution::grant(wish.clone(), &invoice.terms, invoice.standing(), &payments, now)?;",
            wrong: "let mut resolution = Resolution::grant(wish.clone(), &invoice.terms, invoice.standing(), &payments, now)?;
            if MISTAKE {
                let pending = invoice.assessment.pending;
                resolution.judged = resolution.judged.checked_add(pending).unwrap_or(resolution.judged);
            }",
        }],
    },
    Mistake {
        name: "decision-forgotten",
        what: "the next payment makes an invoice forget what its merchant decided",
        edits: &[Edit {
            file: REASSESS,
            right: "resolution: resolution.cloned(),",
            wrong: "resolution: resolution.filter(|_| !MISTAKE || facts.decision.is_some()).cloned(),",
        }],
    },
    Mistake {
        name: "delivery-forgotten",
        what: "an event counts as routed and nothing is on its way",
        edits: &[Edit {
            file: ROUTING,
            right: "        self.store.commit(changes).await?;
        if delivers {",
            wrong: "        let is_mark = |write: &Write| !MISTAKE || matches!(write, Write::MarkRouted(_));
        let changes: Changeset = changes.writes.into_iter().filter(is_mark).collect();
        self.store.commit(changes).await?;
        if delivers {",
        }],
    },
];
