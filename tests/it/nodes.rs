//! A host whose chain is shown to it by nodes that can be unwell, each a proxy in front of the same sound node.

use std::sync::Arc;

use serde_json::Value;
use xthonpay_domain::block::BlockNumber;
use xthonpay_tests::BoxError;
use xthonpay_tests::books::{self, Difference, Paid};
use xthonpay_tests::fault_proxy::FaultProxy;
use xthonpay_tests::host::{HostConfig, HostProcess};
use xthonpay_tests::places::Places;

use crate::world::{Done, Ground, Issued, Shop, World};

/// How many nodes a chain has, and how many must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) nodes: usize,
    pub(crate) quorum: usize,
}

/// One node, which is believed alone.
pub(crate) const ALONE: Setting = Setting { nodes: 1, quorum: 1 };
/// Two nodes, one of which is enough.
pub(crate) const ONE_OF_TWO: Setting = Setting { nodes: 2, quorum: 1 };
/// Two nodes that must agree.
pub(crate) const BOTH: Setting = Setting { nodes: 2, quorum: 2 };
/// Three nodes, two of which must agree.
pub(crate) const TWO_OF_THREE: Setting = Setting { nodes: 3, quorum: 2 };

/// How many of the log's warnings and errors a failure shows, the last.
const COMPLAINTS_SHOWN: usize = 12;

/// A world behind proxies. The first of them is the preferred node.
pub(crate) struct Nodes {
    pub(crate) world: World,
    pub(crate) proxies: Vec<FaultProxy>,
    pub(crate) shop: Shop,
    from: BlockNumber,
}

impl Nodes {
    /// Starts proxies and a host on this ground.
    pub(crate) async fn new(ground: Arc<Ground>, setting: Setting, seed: u64) -> Result<Self, BoxError> {
        Self::with(ground, setting, seed, |_, _| {}).await
    }

    /// The same with changes before the host is started: faults, or in the config, whose node addresses are set already.
    pub(crate) async fn with(
        ground: Arc<Ground>,
        setting: Setting,
        seed: u64,
        change: impl FnOnce(&[FaultProxy], &mut HostConfig),
    ) -> Result<Self, BoxError> {
        let mut proxies = Vec::new();
        for (_, number) in (0..setting.nodes).zip(0..) {
            proxies.push(FaultProxy::start(ground.node_url(), seed.wrapping_add(number)).await?);
        }
        let places = Places::find()?;
        let mut config = ground.config(&places);
        config.node_url = proxies.first().map(FaultProxy::url).unwrap_or_default();
        config.more_nodes = proxies.iter().skip(1).map(FaultProxy::url).collect();
        let sockets: Vec<String> = proxies.iter().map(|proxy| format!("\"{}\"", proxy.ws_url())).collect();
        config.chain_more =
            format!("quorum = {}\nwebsockets = [{}]\nrequest_timeout = \"1s\"", setting.quorum, sockets.join(", "));
        change(&proxies, &mut config);
        let from = ground.chain().await?.head().await?;
        let host = HostProcess::start(&places, &config).await?;
        let world = World { ground, host };
        let shop = world.shop().await?;
        Ok(Self { world, proxies, shop, from })
    }

    /// The preferred node.
    pub(crate) fn faulty(&self) -> &FaultProxy {
        let [first, ..] = self.proxies.as_slice() else { unreachable!("every setting has a node") };
        first
    }

    /// The node that the host asks first at the moment: after a fault it stays with the one that it went to.
    pub(crate) async fn primary(&self) -> Result<&FaultProxy, BoxError> {
        let status = self.world.host.status().await?;
        let known = status["chains"][0]["nodes"].as_array().ok_or_else(|| format!("no nodes in {status}"))?;
        let position = known.iter().position(|node| node["primary"] == true);
        let primary = position.and_then(|position| self.proxies.get(position));
        Ok(primary.ok_or_else(|| format!("no primary in {status}"))?)
    }

    /// An invoice over 10 USDT.
    pub(crate) async fn invoice(&self) -> Result<Issued, BoxError> {
        self.shop.invoice("USDT", "10").await
    }

    /// Waits until the invoice is paid, and checks that nothing was credited before the chain made it final.
    pub(crate) async fn wait_paid(&self, invoice: &Issued) -> Done {
        let data = self.shop.wait_status(invoice, "paid").await?;
        not_premature(&data, self.shop.chain.finalized().await?)
    }

    /// The invoice is not paid now.
    pub(crate) async fn unpaid(&self, invoice: &Issued) -> Done {
        let data = self.shop.look(invoice).await?;
        if data["status"] == "paid" { Err(format!("credited too early: {data}").into()) } else { Ok(()) }
    }

    /// What the host complained about last.
    pub(crate) fn complaints(&self) -> String {
        let log = self.world.host.log();
        let loud = |line: &&str| !line.contains("\"level\":\"INFO\"");
        let lines: Vec<&str> = log.lines().filter(loud).collect();
        lines.iter().skip(lines.len().saturating_sub(COMPLAINTS_SHOWN)).copied().collect::<Vec<_>>().join("\n")
    }

    /// Every payment to these invoices is credited once, and nothing else is: invoice by invoice, in the balance, and by the
    /// host's own audit.
    pub(crate) async fn check_books(&self, invoices: &[Issued]) -> Done {
        let addresses = invoices.iter().map(|invoice| invoice.address).collect();
        let paid = books::paid_on(&self.shop.chain, self.world.ground.usdt, &addresses, self.from).await?;
        let mut credited: Vec<Paid> = Vec::new();
        for invoice in invoices {
            credited.extend(books::credited_to(&self.shop.client, &invoice.id).await?);
        }
        Difference::between(&paid, &credited).nothing()?;
        let balance = crate::world::units(&self.shop.balance("USDT").await?)?;
        assert_eq!(balance, books::sum(&paid, "USDT")?, "the balance is the sum of what was paid");
        let audit = self.world.host.command(&["audit", "--json"]).await?;
        let found = String::from_utf8_lossy(&audit.stdout);
        if audit.status.success() { Ok(()) } else { Err(format!("the audit: {}: {found}", audit.status).into()) }
    }
}

/// No payment of an invoice is credited that the chain itself does not call final. The chain is asked after the host.
pub(crate) fn not_premature(invoice: &Value, finalized: BlockNumber) -> Done {
    for payment in invoice["payments"].as_array().into_iter().flatten() {
        let block = payment["block_number"].as_u64().unwrap_or(u64::MAX);
        if payment["status"] == "final" && block > finalized.0 {
            return Err(format!("credited in block {block} with {finalized} final: {invoice}").into());
        }
    }
    Ok(())
}
