//! Whoever hangs, and however many: the next one finds a place.

use super::*;
use crate::port::store::DeliveryState;
use xthonpay_domain::id::EventId;
use xthonpay_domain::time::Timestamp;

const SLOW: Duration = Duration::from_secs(15);
const QUICK: Duration = Duration::from_millis(20);

fn id<T: core::str::FromStr>(prefix: &str, number: usize) -> T {
    format!("{prefix}{number:032x}").parse().unwrap_or_else(|_| unreachable!("well formed"))
}

/// The `number`th delivery to the `receiver`th callback server of the `merchant`th merchant.
fn due(merchant: usize, receiver: usize, number: usize) -> Due {
    let number = merchant * 1_000_000 + receiver * 1_000 + number;
    Due::new(Delivery {
        id: id("dlv_", number),
        event: EventId::from_random([1; 16]),
        merchant: id("mer_", merchant),
        endpoint: None,
        invoice: Some(id("inv_", number)),
        sequence: 1,
        url: format!("https://shop{receiver}.example/hook").parse().expect("a URL"),
        content_type: "application/json".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        state: DeliveryState::Pending,
        attempts: 0,
        attempts_on_schedule: 0,
        log: Vec::new(),
        next_at: Timestamp::EPOCH,
        last_status: None,
        last_error: None,
        created_at: Timestamp::EPOCH,
        revision: 1,
    })
}

/// Begins as many deliveries to a receiver as it may have, up to `count`; returns how many that were.
fn fill(in_flight: &mut InFlight, merchant: usize, receiver: usize, count: usize) -> usize {
    let begun = (0..count).map(|number| due(merchant, receiver, number)).take_while(|due| {
        let room = in_flight.has_room(&due.receiver);
        if room {
            in_flight.begin(due);
        }
        room
    });
    begun.count()
}

fn answer_once(in_flight: &mut InFlight, merchant: usize, receiver: usize, took: Duration) {
    let due = due(merchant, receiver, 999);
    in_flight.begin(&due);
    in_flight.finish(&due, took);
}

#[test]
fn a_receiver_earns_its_places_and_loses_them() {
    let mut in_flight = InFlight::default();
    for (took, places) in [(QUICK, 2), (PROMPT, 4), (QUICK, 8), (QUICK, 8), (SLOW, 1), (QUICK, 2)] {
        answer_once(&mut in_flight, 1, 1, took);
        let begun: Vec<Due> = (0..9).map(|number| due(1, 1, number)).collect();
        assert_eq!(fill(&mut in_flight, 1, 1, 9), places, "after {took:?}");
        // What ends here must not count as an answer.
        let earned = in_flight.earned.clone();
        begun.iter().take(places).for_each(|due| in_flight.finish(due, SLOW));
        in_flight.earned = earned;
    }
}

#[test]
fn nobody_is_known_by_name_in_two_ways() {
    let of = |url: &str| {
        let mut delivery = due(1, 1, 1).delivery;
        delivery.url = url.parse().expect("a URL");
        Receiver::of(&delivery)
    };
    assert_eq!(of("https://Shop.example/a?b"), of("https://shop.EXAMPLE#c"));
    assert_eq!(of("https://shop.example?x=/y"), of("https://shop.example/"));
    assert_ne!(of("https://shop.example/"), of("https://shop.example:8443/"));
    assert_ne!(of("https://shop.example/"), of("http://shop.example/"));
}

/// The servers were healthy until now, so each may have eight; all begin to hang at the same moment.
#[test]
fn fifty_receivers_that_begin_to_hang_leave_a_place_for_the_next() {
    for (what, merchants, receivers) in [("of one merchant", 1, 50), ("of fifty merchants", 50, 1), ("of five", 5, 10)]
    {
        let mut in_flight = InFlight::default();
        let each = || (0..merchants).flat_map(|merchant| (0..receivers).map(move |receiver| (merchant, receiver)));
        for (merchant, receiver) in each() {
            (0..3).for_each(|_| answer_once(&mut in_flight, merchant, receiver, QUICK));
        }
        for (merchant, receiver) in each() {
            assert!(fill(&mut in_flight, merchant, receiver, 100) >= 1, "{what}: {merchant}/{receiver}");
        }
        assert_eq!(fill(&mut in_flight, 0, 900, 1), 1, "{what}: another receiver of the same merchant");
        assert_eq!(fill(&mut in_flight, 900, 1, 1), 1, "{what}: another merchant");
        assert!(in_flight.deliveries.len() <= IN_FLIGHT_MAX);
    }
}

/// Merchants with more hanging servers than there are places: each takes at most half of what the ones before left.
#[test]
fn merchants_that_take_all_they_can_leave_places_for_others() {
    let mut in_flight = InFlight::default();
    let taken: Vec<usize> =
        (0..7).map(|merchant| (0..1_000).map(|receiver| fill(&mut in_flight, merchant, receiver, 100)).sum()).collect();
    assert_eq!(taken, [128, 64, 32, 16, 8, 4, 2]);
    assert_eq!(fill(&mut in_flight, 900, 1, 100), 1);
}

#[test]
fn what_has_ended_is_forgotten() {
    let mut in_flight = InFlight::default();
    let all: Vec<Due> = (0..100).map(|number| due(number % 7, number % 11, number)).collect();
    all.iter().for_each(|due| in_flight.begin(due));
    all.iter().for_each(|due| in_flight.finish(due, SLOW));
    assert!(in_flight.deliveries.is_empty() && in_flight.lanes.is_empty() && in_flight.earned.is_empty());
    assert!(in_flight.per_merchant.is_empty() && in_flight.per_receiver.is_empty());
    for receiver in 0..EARNED_MAX + 10 {
        answer_once(&mut in_flight, 1, receiver, QUICK);
    }
    assert!(in_flight.earned.len() <= EARNED_MAX);
}
