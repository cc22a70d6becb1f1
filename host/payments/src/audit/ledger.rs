//! I1 and I2: postings balance, balances equal their postings, and what is set aside is listed.

use std::collections::BTreeMap;

use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::id::{DepositId, MerchantId};
use xthonpay_domain::ledger::{Account, Balance, Line, Posting, PostingKind, Side};

use super::pace::Pace;
use super::report::{Findings, Invariant, count};
use super::window::Window;
use super::{Audit, AuditError};
use crate::port::store::{READ_LIMIT_MAX, StoreError};

/// Merchants whose postings are summed in one pass: about 50 MB with two assets each.
const MERCHANTS_AT_ONCE: usize = 100_000;
/// Balances that differed and are looked at again. Beyond them the books are broken as a whole.
const SUSPECTS_MAX: usize = 1_000;
/// How often balances that differed are compared again, as long as they keep changing meanwhile.
const ROUNDS_MAX: usize = 5;

/// The lines of one account, by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sides {
    debit: Amount,
    credit: Amount,
}

/// The accounts of one merchant in one asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Accounts {
    available: Sides,
    held: Sides,
}

type OfMerchant = BTreeMap<AssetId, Accounts>;
type Suspect = (MerchantId, AssetId);

impl Sides {
    fn add(&mut self, line: &Line) -> Result<(), AmountError> {
        let side = match line.side {
            Side::Debit => &mut self.debit,
            Side::Credit => &mut self.credit,
        };
        *side = side.checked_add(line.amount)?;
        Ok(())
    }

    /// What the lines leave on an account that grows on the credit side.
    fn left(&self) -> Result<Amount, AmountError> {
        self.credit.checked_sub(self.debit)
    }
}

impl Accounts {
    /// How a balance differs from the postings that it is made of.
    fn differs_from(&self, balance: &Balance) -> Option<String> {
        let of = |name: &str, sides: &Sides, kept: Amount| match sides.left() {
            Ok(sum) if sum == kept => None,
            Ok(sum) => Some(format!("{name} is {kept} and its postings sum to {sum}")),
            Err(_) => Some(format!("the postings of {name} take out {} and put in {}", sides.debit, sides.credit)),
        };
        let found = [of("available", &self.available, balance.available), of("held", &self.held, balance.held)];
        let told: Vec<String> = found.into_iter().flatten().collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// The assets in which lines do not balance.
fn unbalanced(lines: &[Line]) -> Vec<AssetId> {
    let mut sums: BTreeMap<&AssetId, Result<Sides, AmountError>> = BTreeMap::new();
    for line in lines {
        let sides = sums.entry(&line.asset).or_insert(Ok(Sides::default()));
        *sides = sides.and_then(|mut sides| sides.add(line).map(|()| sides));
    }
    let wrong = sums.into_iter().filter(|(_, sides)| !matches!(sides, Ok(sides) if sides.debit == sides.credit));
    wrong.map(|(asset, _)| asset.clone()).collect()
}

/// What is wrong with a posting about a deposit.
fn misposted(posting: &Posting, deposit: Option<&Deposit>) -> Option<String> {
    let Some(deposit) = deposit else {
        return Some(format!("it is about deposit {}, which is not there; restore a backup", posting.cause()));
    };
    let expected = match posting.kind() {
        PostingKind::DepositCredited => Posting::credit_deposit(deposit, posting.at()),
        PostingKind::DepositSuspended => Posting::suspend_deposit(deposit, posting.at()),
    };
    if deposit.state != DepositState::Final {
        let id = &deposit.id;
        return Some(format!("it is about deposit {id}, which is not final; find out on the chain what became of it"));
    }
    let same = expected.is_ok_and(|expected| expected.lines() == posting.lines());
    (!same).then(|| format!("its lines are not those of deposit {}; correct it by a posting", deposit.id))
}

impl Audit {
    /// Checks every posting and every balance.
    pub(super) async fn ledger(&self, findings: &mut Findings, pace: &mut Pace<'_>) -> Result<(), AuditError> {
        let mut suspended = BTreeMap::new();
        let mut suspects = Vec::new();
        let mut from = None;
        let mut after = None;
        loop {
            let first = from.is_none();
            let mut sums = Window::<MerchantId, OfMerchant>::new(from, MERCHANTS_AT_ONCE);
            let mut seen = None;
            loop {
                let page = self.store.postings(seen.as_ref(), READ_LIMIT_MAX).await?;
                let Some(last) = page.last() else { break };
                seen = Some(last.id().clone());
                for posting in &page {
                    if first {
                        self.posting(posting, &mut suspended, findings).await?;
                    }
                    add_lines(&mut sums, posting, findings);
                }
                pace.tell(|| format!("{} postings checked", findings.checked.postings));
            }
            from = sums.next().cloned();
            self.compare(sums, &mut after, &mut suspects, findings).await?;
            if from.is_none() {
                break;
            }
        }
        self.confirm(suspects, findings).await?;
        self.suspense(suspended, findings).await
    }

    /// One posting by itself and with its deposit.
    async fn posting(
        &self,
        posting: &Posting,
        suspended: &mut BTreeMap<AssetId, Amount>,
        findings: &mut Findings,
    ) -> Result<(), AuditError> {
        count(&mut findings.checked.postings);
        for asset in unbalanced(posting.lines()) {
            let detail = format!("debits and credits of {asset} differ; correct it by a posting");
            findings.breach(Invariant::Postings, Some(&asset.chain), posting.id(), detail);
        }
        let deposit = match posting.cause().parse::<DepositId>() {
            Ok(id) => self.store.deposit(&id).await?,
            Err(_) => None,
        };
        if let Some(detail) = misposted(posting, deposit.as_ref()) {
            let chain = posting.lines().first().map(|line| line.asset.chain.clone());
            findings.breach(Invariant::Deposits, chain.as_ref(), posting.id(), detail);
        }
        for line in posting.lines().iter().filter(|line| line.account == Account::Suspense) {
            let sum: &mut Amount = suspended.entry(line.asset.clone()).or_default();
            let after = match line.side {
                Side::Credit => sum.checked_add(line.amount),
                Side::Debit => sum.checked_sub(line.amount),
            };
            match after {
                Ok(after) => *sum = after,
                Err(error) => findings.breach(Invariant::Balances, None, "suspense", error.to_string()),
            }
        }
        Ok(())
    }

    /// Holds the balances of a window's merchants against the sums, and notes those that differ at first sight.
    async fn compare(
        &self,
        mut sums: Window<MerchantId, OfMerchant>,
        after: &mut Option<Suspect>,
        suspects: &mut Vec<Suspect>,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        'pages: loop {
            let page = self.store.balances(after.as_ref(), READ_LIMIT_MAX).await?;
            if page.is_empty() {
                break;
            }
            for (merchant, asset, balance) in page {
                if !sums.covers(&merchant) {
                    break 'pages;
                }
                count(&mut findings.checked.balances);
                let accounts = sums.get_mut(&merchant).and_then(|sums| sums.remove(&asset)).unwrap_or_default();
                let key = (merchant, asset);
                if accounts.differs_from(&balance).is_some() {
                    suspects.push(key.clone());
                }
                *after = Some(key);
            }
        }
        // Merchants with postings and no balance.
        for (merchant, assets) in sums.into_values() {
            suspects.extend(assets.into_keys().map(|asset| (merchant.clone(), asset)));
        }
        if suspects.len() > SUSPECTS_MAX {
            let more = suspects.len().saturating_sub(SUSPECTS_MAX);
            findings.omit(format!("I2: {more} more balances that differed at first sight"), true);
            suspects.truncate(SUSPECTS_MAX);
        }
        Ok(())
    }

    /// Compares again what differed. A posting changes the balance in the same transaction, so a balance that had the same
    /// revision before and after all postings were summed is made of exactly these.
    async fn confirm(&self, mut suspects: Vec<Suspect>, findings: &mut Findings) -> Result<(), AuditError> {
        for _ in 0..ROUNDS_MAX {
            if suspects.is_empty() {
                return Ok(());
            }
            let mut before = BTreeMap::new();
            for (merchant, asset) in suspects {
                let (_, revision) = self.store.balance(&merchant, &asset).await?;
                before.insert((merchant, asset), (revision, Accounts::default()));
            }
            self.sum_again(&mut before).await?;
            suspects = Vec::new();
            for ((merchant, asset), (revision, accounts)) in before {
                let (balance, now) = self.store.balance(&merchant, &asset).await?;
                if now != revision {
                    suspects.push((merchant, asset));
                } else if let Some(detail) = accounts.differs_from(&balance) {
                    let subject = format!("{merchant} {asset}");
                    let advice = "stop withdrawals of this merchant and correct it by a posting";
                    findings.breach(Invariant::Balances, Some(&asset.chain), subject, format!("{detail}; {advice}"));
                }
            }
        }
        for (merchant, asset) in suspects {
            let what =
                format!("I2: the balance of {merchant} in {asset} kept changing; audit while the host is stopped");
            findings.omit(what, true);
        }
        Ok(())
    }

    /// Sums the postings of some balances.
    async fn sum_again(&self, of: &mut BTreeMap<Suspect, (u64, Accounts)>) -> Result<(), StoreError> {
        let mut seen = None;
        loop {
            let page = self.store.postings(seen.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            seen = Some(last.id().clone());
            for line in page.iter().flat_map(Posting::lines) {
                if let Some((merchant, held)) = owner(line)
                    && let Some((_, accounts)) = of.get_mut(&(merchant.clone(), line.asset.clone()))
                {
                    let sides = if held { &mut accounts.held } else { &mut accounts.available };
                    // A sum beyond 256 bits leaves a difference, which is told.
                    let _ = sides.add(line);
                }
            }
        }
    }

    /// That the deposits that are listed as set aside are those that postings have set aside.
    async fn suspense(&self, posted: BTreeMap<AssetId, Amount>, findings: &mut Findings) -> Result<(), AuditError> {
        let mut listed: BTreeMap<AssetId, Amount> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.store.suspended_deposits(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for deposit in &page {
                count(&mut findings.checked.suspended);
                if self.postings_of(&deposit.id).await?.1.is_none() {
                    let detail = "it is listed as set aside, and no posting has set it aside; restore a backup";
                    findings.breach(Invariant::Balances, None, &deposit.id, detail);
                }
                let sum = listed.entry(deposit.transfer.identity.asset.clone()).or_default();
                *sum = sum.checked_add(deposit.transfer.amount).unwrap_or(Amount::MAX);
            }
        }
        for (asset, posted) in posted {
            let listed = listed.remove(&asset).unwrap_or_default();
            // The list is read after the postings and only grows: what came meanwhile is listed and not in the sum.
            if listed < posted {
                let detail = format!("postings have set aside {posted}, and {listed} is listed; restore a backup");
                findings.breach(Invariant::Balances, None, format!("suspense {asset}"), detail);
            }
            findings.totals(&asset).suspended = posted.to_string();
        }
        Ok(())
    }
}

/// Adds a posting's lines to the sums of their merchants.
fn add_lines(sums: &mut Window<MerchantId, OfMerchant>, posting: &Posting, findings: &mut Findings) {
    for line in posting.lines() {
        let Some((merchant, held)) = owner(line) else { continue };
        let Some(assets) = sums.at(merchant) else { continue };
        let accounts = assets.entry(line.asset.clone()).or_default();
        let sides = if held { &mut accounts.held } else { &mut accounts.available };
        if sides.add(line).is_err() {
            findings.breach(Invariant::Balances, None, merchant, "its postings leave the range of 256 bits");
        }
    }
}

/// The merchant of a line, and whether the line is about what is held.
fn owner(line: &Line) -> Option<(&MerchantId, bool)> {
    match &line.account {
        Account::MerchantAvailable(merchant) => Some((merchant, false)),
        Account::MerchantHeld(merchant) => Some((merchant, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::id::ID_BYTES;

    use super::*;

    fn line(side: Side, asset: &str, units: u128) -> Line {
        let asset = asset.parse().expect("well formed");
        Line { account: Account::ChainDeposit, side, asset, amount: Amount::from_units(units) }
    }

    #[test]
    fn lines_balance_asset_by_asset() {
        use Side::{Credit, Debit};
        type Lines<'a> = &'a [(Side, &'a str, u128)];
        let cases: [(Lines<'_>, &[&str]); 6] = [
            (&[], &[]),
            (&[(Debit, "bsc:USDT", 5), (Credit, "bsc:USDT", 2), (Credit, "bsc:USDT", 3)], &[]),
            (&[(Debit, "bsc:USDT", 5), (Credit, "bsc:USDT", 4)], &["bsc:USDT"]),
            (&[(Debit, "bsc:USDT", 5), (Credit, "bsc:BNB", 5)], &["bsc:BNB", "bsc:USDT"]),
            (&[(Debit, "bsc:USDT", 5), (Credit, "bsc:USDT", 5), (Debit, "bsc:BNB", 1)], &["bsc:BNB"]),
            (&[(Debit, "bsc:USDT", 5)], &["bsc:USDT"]),
        ];
        for (lines, wrong) in cases {
            let lines: Vec<Line> = lines.iter().map(|(side, asset, units)| line(*side, asset, *units)).collect();
            let found: Vec<String> = unbalanced(&lines).iter().map(ToString::to_string).collect();
            assert_eq!(found, wrong, "{lines:?}");
        }
        let huge = Line { amount: Amount::MAX, ..line(Side::Debit, "bsc:USDT", 1) };
        assert_eq!(unbalanced(&[huge.clone(), huge]).len(), 1, "a sum beyond 256 bits does not balance");
    }

    #[test]
    fn a_balance_is_what_its_postings_leave() {
        let sides = |debit, credit| Sides { debit: Amount::from_units(debit), credit: Amount::from_units(credit) };
        // Debits and credits of what is available and of what is held, the balance, and whether it is right.
        let cases = [
            ((0, 0), (0, 0), (0, 0), true),
            ((3, 10), (0, 3), (7, 3), true),
            ((3, 10), (0, 3), (8, 3), false),
            ((3, 10), (0, 3), (7, 2), false),
            ((10, 3), (0, 0), (0, 0), false),
            ((0, 0), (0, 0), (1, 0), false),
        ];
        for (available, held, kept, right) in cases {
            let accounts = Accounts { available: sides(available.0, available.1), held: sides(held.0, held.1) };
            let balance = Balance { available: Amount::from_units(kept.0), held: Amount::from_units(kept.1) };
            let found = accounts.differs_from(&balance);
            assert_eq!(found.is_none(), right, "{available:?} {held:?} {kept:?}: {found:?}");
        }
    }

    #[test]
    fn a_line_belongs_to_its_merchant_or_to_none() {
        let merchant = MerchantId::from_random([1; ID_BYTES]);
        let of = |account| owner(&Line { account, ..line(Side::Credit, "bsc:USDT", 1) }).map(|(_, held)| held);
        assert_eq!(of(Account::MerchantAvailable(merchant.clone())), Some(false));
        assert_eq!(of(Account::MerchantHeld(merchant)), Some(true));
        assert_eq!(of(Account::Suspense), None);
    }
}
