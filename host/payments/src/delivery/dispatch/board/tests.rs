//! The way through a backlog, against a list of due deliveries as the store gives it.

use super::*;
use crate::port::store::DeliveryState;
use xthonpay_domain::id::EventId;

const SLOW: Duration = Duration::from_secs(15);

fn id<T: core::str::FromStr>(prefix: &str, number: usize) -> T {
    format!("{prefix}{number:032x}").parse().unwrap_or_else(|_| unreachable!("well formed"))
}

fn delivery(number: usize, server: &str, invoice: usize, sequence: u64, due_at_s: u64) -> Delivery {
    Delivery {
        id: id("dlv_", number),
        event: EventId::from_random([1; 16]),
        merchant: id("mer_", 1),
        endpoint: None,
        invoice: Some(id("inv_", invoice)),
        sequence,
        url: format!("https://{server}.example/hook").parse().expect("a URL"),
        content_type: "application/json".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        state: DeliveryState::Pending,
        attempts: 0,
        attempts_on_schedule: 0,
        log: Vec::new(),
        next_at: Timestamp::from_secs(due_at_s),
        last_status: None,
        last_error: None,
        created_at: Timestamp::EPOCH,
        revision: 1,
    }
}

/// Due deliveries and a board that looks at them.
struct Scene {
    due: Vec<Delivery>,
    board: Board,
    now: Timestamp,
}

impl Scene {
    fn new(due: Vec<Delivery>) -> Self {
        Self { due, board: Board::default(), now: Timestamp::from_secs(1_000) }
    }

    fn page(&self, after: Option<&Place>) -> Vec<Delivery> {
        let place = |delivery: &Delivery| (delivery.next_at, delivery.id.clone());
        let wanted =
            |delivery: &&Delivery| delivery.next_at <= self.now && after.is_none_or(|after| place(delivery) > *after);
        let mut found: Vec<Delivery> = self.due.iter().filter(wanted).cloned().collect();
        found.sort_by_key(place);
        found.truncate(READ_LIMIT_MAX);
        found
    }

    /// The numbers of what goes out after a look, as ids.
    fn look(&mut self) -> Vec<String> {
        let page = self.page(self.board.resume());
        self.board.take_page(page, self.now);
        self.look_at_recent()
    }

    fn look_at_recent(&mut self) -> Vec<String> {
        if let Some(from) = self.board.recent_from() {
            let page = self.page(Some(&from));
            self.board.take_recent(page, self.now);
        }
        self.admitted()
    }

    fn admitted(&mut self) -> Vec<String> {
        self.board.admit().iter().map(|due| due.delivery.id.to_string()).collect()
    }

    /// The delivery arrives and is due no longer.
    fn arrives(&mut self, number: usize) {
        let place = self.due.iter().position(|delivery| delivery.id == id("dlv_", number)).expect("it was due");
        let due = Due::new(self.due.remove(place));
        self.board.finish(&due, SLOW);
    }
}

fn name(number: usize) -> String {
    id::<DeliveryId>("dlv_", number).to_string()
}

/// Deliveries to a server that hangs, all due for long.
fn hanging(count: usize) -> impl Iterator<Item = Delivery> {
    (0..count).map(|number| delivery(1_000_000 + number, "hangs", 1_000_000 + number, 1, 1))
}

#[test]
fn one_page_is_no_backlog() {
    let mut scene = Scene::new(hanging(READ_LIMIT_MAX - 1).collect());
    assert_eq!(scene.look().len(), 1);
    assert!(!scene.board.has_backlog() && scene.board.recent_from().is_none() && scene.board.resume().is_none());
}

#[test]
fn what_becomes_due_does_not_wait_for_the_sweep() {
    let mut scene = Scene::new(hanging(5_500).collect());
    assert_eq!(scene.look().len(), 1, "the server that hangs has one place");
    for _ in 0..5 {
        assert!(scene.board.has_backlog() && scene.board.recent_from().is_none(), "not gone through yet");
        assert!(scene.look().is_empty());
    }
    for number in 0..20_u64 {
        scene.now = Timestamp::from_secs(1_000 + number);
        scene.due.push(delivery(usize::try_from(number).expect("small"), "shop", 7, number, 1_000 + number));
        let admitted = if number % 3 == 0 { scene.look() } else { scene.look_at_recent() };
        assert_eq!(admitted, [name(usize::try_from(number).expect("small"))], "event {number}");
        scene.arrives(usize::try_from(number).expect("small"));
    }
}

/// A receiver is busy; an event of an invoice is left behind by the sweep, and the next one of the same invoice becomes due.
#[test]
fn an_event_does_not_overtake_an_earlier_one_in_the_backlog() {
    let mut due: Vec<Delivery> = hanging(2_500).collect();
    due.push(delivery(1, "shop", 1, 1, 0));
    due.push(delivery(2, "shop", 7, 1, 2));
    let mut scene = Scene::new(due);
    assert_eq!(scene.look().len(), 2, "the two servers have one place each");
    assert!(scene.look().is_empty() && scene.look().is_empty());
    assert!(scene.board.recent_from().is_some(), "the sweep has come to its end");
    // The sweep begins anew and is far from what it left behind. The next event becomes due, and a place comes free.
    scene.due.push(delivery(3, "shop", 7, 2, 1_000));
    assert!(scene.look().is_empty());
    scene.arrives(1);
    assert!(scene.admitted().is_empty());
    assert!(scene.look().is_empty(), "the second page");
    assert_eq!(scene.look(), [name(2)], "the third page");
    scene.arrives(2);
    assert_eq!(scene.admitted(), [name(3)]);
}

/// The receiver gets room between two pages: the later event on the later page waits for the next sweep.
#[test]
fn an_event_does_not_overtake_an_earlier_one_on_a_page_before() {
    let mut due: Vec<Delivery> = hanging(2_500).collect();
    due.push(delivery(1, "shop", 1, 1, 0));
    due.push(delivery(2, "shop", 7, 1, 0));
    due.push(delivery(3, "shop", 7, 2, 2));
    let mut scene = Scene::new(due);
    assert_eq!(scene.look().len(), 2);
    assert!(scene.look().is_empty());
    scene.arrives(1);
    assert!(scene.look().is_empty(), "the third page holds the second event");
    assert_eq!(scene.look(), [name(2)]);
    scene.arrives(2);
    assert!(scene.look().is_empty());
    assert_eq!(scene.look(), [name(3)]);
}

#[test]
fn a_backlog_that_is_worked_off_is_forgotten() {
    let mut scene = Scene::new(hanging(1_100).collect());
    scene.look();
    scene.look();
    assert!(scene.board.has_backlog());
    scene.due.retain(|delivery| delivery.id.as_str() < name(1_000_500).as_str());
    scene.look();
    assert!(!scene.board.has_backlog());
}

#[test]
fn more_that_becomes_due_than_a_page_holds_is_read_on() {
    let mut scene = Scene::new(hanging(1_500).collect());
    scene.look();
    scene.look();
    let burst = (0..1_800).map(|number| delivery(number, &format!("shop{number}"), number, 1, 1_000));
    scene.due.extend(burst);
    let mut seen = 0;
    for _ in 0..2 {
        let from = scene.board.recent_from().expect("a backlog");
        let page = scene.page(Some(&from));
        seen += page.len();
        let more = scene.board.take_recent(page, scene.now);
        assert_eq!(more, seen == READ_LIMIT_MAX);
    }
    assert_eq!(seen, 1_800);
    assert!(scene.board.waiting.len() <= WAITING_MAX);
}

#[test]
fn receivers_take_turns_and_lanes_keep_their_order() {
    let mut due: Vec<Delivery> = (10..20).map(|number| delivery(number, "busy", number, 1, 1)).collect();
    // Of invoice 5 the second event is due first: the clock jumped between the two.
    due.push(delivery(1, "shop", 5, 2, 2));
    due.push(delivery(2, "shop", 5, 1, 3));
    let mut scene = Scene::new(due);
    assert_eq!(scene.look(), [name(10), name(2)]);
    scene.arrives(2);
    assert_eq!(scene.admitted(), [name(1)]);
}
