//! What can be wrong with a node, one name each.

use core::time::Duration;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::BlockNumber;

/// Something that is wrong with a node. Faults of different kinds may be set together; of two that answer the same question,
/// the first counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every connection is closed without an answer, as by a node that is down.
    Refusing,
    /// Questions are taken and never answered.
    Hanging,
    /// The answer comes one byte at a time, with this pause between two.
    Dripping(Duration),
    /// This HTTP status without a JSON-RPC body: 429, 500, 503.
    Status(u16),
    /// Status 200 with a page for people.
    Html,
    /// The first half of the answer, and then the end.
    Truncated,
    /// The connection breaks in the middle of the answer.
    Broken,
    /// An answer that goes on for half a gigabyte.
    Huge,
    /// The same, compressed to less than a megabyte.
    GzipBomb,

    /// Every question is refused with the code -32005.
    RateLimited,
    /// One answer of a batch is missing; a single question is answered by an empty list.
    MissingItem,
    /// One answer has an id that was not asked.
    WrongId,
    /// One answer of a batch comes twice, in place of another; that to a single question comes as a list of two.
    RepeatedId,
    /// The answers of a batch come in another order, which JSON-RPC allows.
    Shuffled,
    /// The node does not offer this method.
    Without(&'static str),

    /// The node is this many blocks behind, in everything that it answers over HTTP. Ranges beyond its head are cut short
    /// without saying so.
    Lagging(u64),
    /// Receipts and logs of a block are an empty list until the block is this old for the proxy.
    EmptyAtFirst(Duration),
    /// One random log is missing from every list of logs and from the receipts of every block.
    DroppingLogs,
    /// The tag `finalized` stays at this block.
    FinalizedStaysAt(BlockNumber),
    /// The tag `finalized` is an unknown block.
    WithoutFinalized,
    /// The node says that it serves another chain.
    OtherChain(u64),
    /// Transfers that never happened are shown in blocks that exist, in receipts and logs, with counts and gas that add up.
    Inventing(Invention),
    /// The branch that was saved, as if the chain had never gone on.
    SavedBranch,

    /// Every announcement comes twice.
    HeadsTwice,
    /// Two announcements change places.
    HeadsReordered,
    /// Announcements get lost.
    HeadsMissed,
    /// Announced blocks are a million blocks ahead.
    HeadsAhead,
    /// Announcements are no JSON.
    HeadsGarbled,
    /// WebSockets are cut when they are so old.
    SocketsCut(Duration),
    /// WebSockets are refused, and open ones are cut.
    SocketsRefused,
}

/// What a lying node shows in every block: one transaction with transfers that never happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invention {
    /// The contract whose event it shows.
    pub token: Address,
    /// Who is said to have received it.
    pub to: Address,
    /// How much each time, in base units.
    pub amount: Amount,
    /// How many transfers the transaction holds.
    pub times: u64,
}
