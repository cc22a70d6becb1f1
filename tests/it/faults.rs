//! What nodes get wrong, one fault after the other, while customers pay.
//!
//! Each row of a table is one fault of the node that the host asks first at that moment. An invoice is paid just before the fault begins and another one
//! while it lasts. Where other nodes are sound, both must be credited during the fault; where the node is alone, what the row
//! says must come true, and both must be credited soon after the fault has ended. At the end of a table every payment must be
//! credited once and nothing else. `docs/faults.md` lists the rows with their outcomes; `XTHONPAY_FAULTS=long` makes each fault
//! last twenty seconds.

use core::time::Duration;
use std::io::Write as _;

use tokio::time::{Instant, sleep, timeout};
use xthonpay_tests::BoxError;
use xthonpay_tests::fault_proxy::Fault::{
    Broken, Dripping, DroppingLogs, EmptyAtFirst, GzipBomb, Hanging, HeadsAhead, HeadsGarbled, HeadsMissed,
    HeadsReordered, HeadsTwice, Html, Huge, Lagging, MissingItem, RateLimited, Refusing, RepeatedId, Shuffled,
    SocketsCut, SocketsRefused, Status, Truncated, Without, WithoutFinalized, WrongId,
};
use xthonpay_tests::fault_proxy::{Fault, FaultProxy};
use xthonpay_tests::seeded::Seeded;

use crate::nodes::{ALONE, Nodes, ONE_OF_TWO, Setting, TWO_OF_THREE};
use crate::world::{Done, Ground};

/// How long a fault lasts: several of the time-outs and pauses that it meets.
const FAULT: Duration = Duration::from_millis(1_500);
const FAULT_LONG: Duration = Duration::from_secs(20);

/// How soon after the end of a fault everything must be credited. A node that failed again and again is left alone for up to
/// 10 s, and the scanner's own longest pause is 5 s.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

/// How soon a payment must be credited while a fault lasts that does not stop crediting: with sound nodes beside it, and
/// without, where the pauses above may come in between.
const CREDIT_MAX: Duration = Duration::from_secs(10);
const CREDIT_ALONE_MAX: Duration = Duration::from_secs(30);

/// The variable that makes faults last long.
const LENGTH_VARIABLE: &str = "XTHONPAY_FAULTS";

/// What happens to payments while the only node has the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alone {
    /// They are credited.
    GoesOn,
    /// They wait for the end of the fault.
    Waits,
}

/// A fault, the share of requests that it hits, and its outcome where the node is alone.
struct Row {
    fault: Fault,
    percent: u8,
    alone: Alone,
}

const fn waits(fault: Fault) -> Row {
    Row { fault, percent: 100, alone: Alone::Waits }
}

const fn goes_on(fault: Fault) -> Row {
    Row { fault, percent: 100, alone: Alone::GoesOn }
}

/// A fault that comes and goes from request to request.
const fn now_and_then(fault: Fault) -> Row {
    Row { fault, percent: 10, alone: Alone::GoesOn }
}

/// The answer does not come, or not whole, or is none.
const CONNECTION: [Row; 11] = [
    waits(Refusing),
    waits(Hanging),
    waits(Dripping(Duration::from_millis(20))),
    waits(Status(429)),
    waits(Status(503)),
    waits(Html),
    waits(Truncated),
    waits(Broken),
    waits(Huge),
    waits(GzipBomb),
    now_and_then(Broken),
];

/// The answer is JSON-RPC, and wrong.
const ENVELOPE: [Row; 6] = [
    waits(RateLimited),
    waits(MissingItem),
    waits(WrongId),
    waits(RepeatedId),
    goes_on(Shuffled),
    now_and_then(RateLimited),
];

/// The answer is sound JSON-RPC, and not what the chain is.
const VIEW: [Row; 7] = [
    goes_on(Lagging(4)),
    // The head goes back and forth, as behind a load balancer.
    now_and_then(Lagging(3)),
    goes_on(EmptyAtFirst(Duration::from_millis(600))),
    waits(DroppingLogs),
    now_and_then(DroppingLogs),
    waits(WithoutFinalized),
    waits(Without("eth_getBlockReceipts")),
];

/// Announcements are hints, so none of this delays a payment by more than a look at the node.
const HEADS: [Row; 7] = [
    goes_on(HeadsTwice),
    goes_on(HeadsReordered),
    goes_on(HeadsMissed),
    goes_on(HeadsAhead),
    goes_on(HeadsGarbled),
    goes_on(SocketsCut(Duration::from_millis(300))),
    goes_on(SocketsRefused),
];

async fn table(name: &str, rows: &[Row], setting: Setting) -> Done {
    let mut random = Seeded::announced(&format!("{name} {setting:?}"))?;
    let nodes = Nodes::new(Ground::shared().await?, setting, random.next_u64()).await?;
    let mut invoices = Vec::new();
    for row in rows {
        let told = format!("{name}: {:?} at {} %, {} nodes", row.fault, row.percent, setting.nodes);
        let before = nodes.invoice().await?;
        let during = nodes.invoice().await?;
        let faulty = nodes.primary().await?;
        nodes.shop.pay_usdt(before.address, "10").await?;
        faulty.count_anew();
        faulty.set_some(row.percent, [row.fault.clone()]);
        nodes.shop.pay_usdt(during.address, "10").await?;
        let paid = Instant::now();
        let outcome = async {
            if setting.nodes > 1 || row.alone == Alone::GoesOn {
                let limit = if setting.nodes > 1 { CREDIT_MAX } else { CREDIT_ALONE_MAX };
                within(limit, nodes.wait_paid(&before)).await?;
                within(limit, nodes.wait_paid(&during)).await?;
            } else {
                sleep(fault_length()).await;
                nodes.unpaid(&during).await?;
            }
            let asked = faulty.counts();
            faulty.clear();
            let cleared = Instant::now();
            within(RECOVERY_MAX, nodes.wait_paid(&before)).await?;
            within(RECOVERY_MAX, nodes.wait_paid(&during)).await?;
            Ok::<_, BoxError>((asked, cleared.elapsed()))
        };
        let (asked, recovered) = outcome.await.map_err(|error| format!("{told}: {error}\n{}", nodes.complaints()))?;
        assert!(asked.requests > 0, "{told}: nobody met the fault");
        writeln!(
            std::io::stderr(),
            "{told}: met {} requests; credited {} ms after the payment, {} ms after the end of the fault",
            asked.requests,
            paid.elapsed().as_millis(),
            recovered.as_millis(),
        )?;
        invoices.extend([before, during]);
    }
    nodes.check_books(&invoices).await
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    timeout(limit, work).await.map_err(|_| format!("not credited within {limit:?}"))?
}

fn fault_length() -> Duration {
    if std::env::var_os(LENGTH_VARIABLE).is_some_and(|length| length == "long") { FAULT_LONG } else { FAULT }
}

#[tokio::test]
async fn the_only_node_has_connection_faults() -> Done {
    table("connection", &CONNECTION, ALONE).await
}

#[tokio::test]
async fn one_of_two_nodes_has_connection_faults() -> Done {
    table("connection", &CONNECTION, ONE_OF_TWO).await
}

#[tokio::test]
async fn one_of_three_nodes_has_connection_faults() -> Done {
    table("connection", &CONNECTION, TWO_OF_THREE).await
}

#[tokio::test]
async fn the_only_node_has_envelope_faults() -> Done {
    table("envelope", &ENVELOPE, ALONE).await
}

#[tokio::test]
async fn one_of_two_nodes_has_envelope_faults() -> Done {
    table("envelope", &ENVELOPE, ONE_OF_TWO).await
}

#[tokio::test]
async fn one_of_three_nodes_has_envelope_faults() -> Done {
    table("envelope", &ENVELOPE, TWO_OF_THREE).await
}

#[tokio::test]
async fn the_only_node_shows_another_chain_than_there_is() -> Done {
    table("view", &VIEW, ALONE).await
}

#[tokio::test]
async fn one_of_two_nodes_shows_another_chain_than_there_is() -> Done {
    table("view", &VIEW, ONE_OF_TWO).await
}

#[tokio::test]
async fn one_of_three_nodes_shows_another_chain_than_there_is() -> Done {
    table("view", &VIEW, TWO_OF_THREE).await
}

#[tokio::test]
async fn the_only_node_announces_badly() -> Done {
    table("heads", &HEADS, ALONE).await
}

#[tokio::test]
async fn one_of_three_nodes_announces_badly() -> Done {
    table("heads", &HEADS, TWO_OF_THREE).await
}

/// A row that needs the chain: while no block becomes final, nothing is credited, and all of it when finality goes on.
async fn finality_stands_still(setting: Setting) -> Done {
    let mut random = Seeded::announced(&format!("finality_stands_still {setting:?}"))?;
    let nodes = Nodes::new(Ground::shared().await?, setting, random.next_u64()).await?;
    let at = nodes.shop.chain.finalized().await?;
    nodes.proxies.iter().for_each(|proxy| proxy.set([Fault::FinalizedStaysAt(at)]));
    let invoice = nodes.invoice().await?;
    nodes.shop.pay_usdt(invoice.address, "10").await?;
    nodes.shop.wait_status(&invoice, "confirming").await?;
    sleep(fault_length()).await;
    nodes.unpaid(&invoice).await?;
    nodes.proxies.iter().for_each(FaultProxy::clear);
    within(RECOVERY_MAX, nodes.wait_paid(&invoice)).await?;
    nodes.check_books(&[invoice]).await
}

#[tokio::test]
async fn the_only_node_stops_calling_blocks_final() -> Done {
    finality_stands_still(ALONE).await
}

#[tokio::test]
async fn all_of_three_nodes_stop_calling_blocks_final() -> Done {
    finality_stands_still(TWO_OF_THREE).await
}

#[tokio::test]
async fn a_node_without_receipts_of_whole_blocks_is_read_by_its_logs() -> Done {
    let mut random = Seeded::announced("a_node_without_receipts_of_whole_blocks_is_read_by_its_logs")?;
    let ground = Ground::shared().await?;
    let nodes = Nodes::with(ground, ALONE, random.next_u64(), |proxies, _| {
        proxies.iter().for_each(|proxy| proxy.set([Without("eth_getBlockReceipts")]));
    })
    .await?;
    let status = nodes.world.host.status().await?;
    assert_eq!(status["chains"][0]["nodes"][0]["verified_by"], "logs", "{status}");
    let (first, lost) = (nodes.invoice().await?, nodes.invoice().await?);
    nodes.shop.pay_usdt(first.address, "10").await?;
    nodes.wait_paid(&first).await?;
    // Empty lists of logs are not believed where the header's filter says that there are some.
    nodes.faulty().set([Without("eth_getBlockReceipts"), EmptyAtFirst(Duration::from_millis(600))]);
    nodes.shop.pay_usdt(lost.address, "10").await?;
    nodes.wait_paid(&lost).await?;
    nodes.faulty().set([Without("eth_getBlockReceipts")]);
    nodes.check_books(&[first, lost]).await
}
