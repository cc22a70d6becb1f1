//! What the scanner says about itself: never better than it is.

use std::time::Duration;

use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::scanning::status::{CatchUpProgress, ChainStatus, Stall};
use xthonpay_tests::scripted_chain::{BLOCK_TIME, Question, no_answer};

use crate::world::{World, chain_name};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn lag_is_told_in_blocks_and_in_time() {
    let (mut world, _) = World::started().await;
    world.chain.mine_empty(40);
    world.clock.set(world.chain.tip().time.after(Duration::from_secs(3)));
    world.restart();
    world.chain.fail_when(|question| (question == Question::Transfers(BlockNumber(11))).then(no_answer));
    assert!(world.try_scan().await.is_err());
    let status = world.status();
    assert_eq!((status.head, status.lag_blocks()), (Some(BlockNumber(40)), Some(30)));
    assert_eq!(status.lag_time(world.clock.now()), Some(Duration::from_secs(3) + BLOCK_TIME * 30));
    assert_eq!(status.block_interval, Some(BLOCK_TIME));
    world.chain.recover();
    world.scan().await;
    assert_eq!(world.status().lag_blocks(), Some(0));
}

#[tokio::test]
async fn a_chain_without_new_blocks_is_stalled_and_recovers_by_itself() {
    let (mut world, _) = World::started().await;
    world.chain.mine_empty(10);
    world.finalise().await;
    assert_eq!(world.status().stall(world.clock.now()), None);
    world.clock.advance(MINUTE);
    world.scan().await;
    assert_eq!(world.status().stall(world.clock.now()), None, "a minute is not too long yet");
    world.clock.advance(Duration::from_secs(1));
    world.scan().await;
    let stalled = world.status().stall(world.clock.now());
    assert_eq!(stalled, Some(Stall::NoNewBlock(MINUTE + Duration::from_secs(1))));
    world.chain.mine_empty(1);
    world.finalise().await;
    assert_eq!(world.status().stall(world.clock.now()), None);
}

#[tokio::test]
async fn finality_that_stands_still_is_a_stall_although_blocks_come() {
    let (mut world, _) = World::started().await;
    world.chain.mine_empty(10);
    world.finalise().await;
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(30));
        world.chain.mine_empty(1);
        world.scan().await;
    }
    let stalled = world.status().stall(world.clock.now());
    assert_eq!(stalled, Some(Stall::NoNewFinality(Duration::from_secs(90))));
}

#[test]
fn slow_chains_are_given_their_own_time() {
    let secs = Timestamp::from_secs;
    let status = ChainStatus {
        block_interval: Some(Duration::from_secs(12)),
        tip_at: Some(secs(1_000)),
        finalized_at: Some(secs(1_000)),
        ..ChainStatus::new(chain_name())
    };
    assert_eq!(status.stall(secs(1_240)), None);
    assert_eq!(status.stall(secs(1_241)), Some(Stall::NoNewBlock(Duration::from_secs(241))));
    // Epochs of 32 blocks.
    let between_epochs = ChainStatus { tip_at: Some(secs(2_190)), ..status };
    assert_eq!(between_epochs.stall(secs(2_200)), None);
    assert_eq!(between_epochs.stall(secs(2_201)), Some(Stall::NoNewFinality(Duration::from_secs(1_201))));
    assert_eq!(ChainStatus::new(chain_name()).stall(secs(9_999)), None, "nothing has begun");
}

#[test]
fn progress_is_told_in_whole_numbers() {
    let progress = |done, took| CatchUpProgress {
        from: BlockNumber(1_000),
        target: BlockNumber(5_000),
        done,
        took: Duration::from_millis(took),
    };
    let told = |it: CatchUpProgress| (it.total(), it.blocks_per_second(), it.remaining());
    assert_eq!(told(progress(0, 0)), (4_000, 0, None));
    assert_eq!(told(progress(1_000, 500)), (4_000, 2_000, Some(Duration::from_millis(1_500))));
    assert_eq!(told(progress(4_000, 3_000)), (4_000, 1_333, Some(Duration::ZERO)));
    assert_eq!(told(progress(1, 60_000)), (4_000, 0, Some(Duration::from_secs(60 * 3_999))));
}
