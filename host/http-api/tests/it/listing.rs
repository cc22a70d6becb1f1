//! Lists: pages without gaps or repetitions, filters, and what is refused.

use std::collections::BTreeSet;

use xthonpay_domain::access::Scope;

use crate::world::{Reply, TestKey, World};

const BOTH: [Scope; 2] = [Scope::Read, Scope::Write];

fn ids(reply: &Reply) -> Vec<String> {
    let entries = reply.body["data"].as_array().expect("a list");
    entries.iter().map(|entry| entry["invoice_id"].as_str().expect("an id").to_owned()).collect()
}

/// Makes `count` invoices, two in every millisecond, and returns their ids in the order in which they are made.
async fn make(world: &World, key: &TestKey, count: usize) -> Vec<String> {
    let mut made = Vec::new();
    for number in 0..count {
        let body = format!(r#"{{"amount": "{}", "external_id": "order-{number}"}}"#, number + 1);
        let reply = world.post(key, "/v1/invoices", &body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        made.push(reply.data("invoice_id").to_owned());
        world.advance_millis(u64::from(number % 2 == 1));
    }
    made
}

/// The same ids as lists show them: the newest first, and the two of a millisecond by their ids.
fn newest_first(made: &[String]) -> Vec<String> {
    let mut pairs: Vec<Vec<String>> = made.chunks(2).map(<[String]>::to_vec).collect();
    pairs.iter_mut().for_each(|pair| pair.sort());
    pairs.concat().into_iter().rev().collect()
}

/// Every page from the first to the last.
async fn walk(world: &World, key: &TestKey, query: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let cursor_part = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = world.get(key, &format!("/v1/invoices?{query}{cursor_part}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        pages.push(ids(&page));
        cursor = page.body["next_cursor"].as_str().map(str::to_owned);
        assert_eq!(page.body["has_more"], cursor.is_some());
        if cursor.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let made = newest_first(&make(&world, &key, 23).await);
    for limit in [1, 2, 7, 22, 23, 24, 100] {
        let pages = walk(&world, &key, &format!("limit={limit}")).await;
        assert_eq!(pages.concat(), made, "limit {limit}");
        assert_eq!(pages.len(), made.len().div_ceil(limit), "limit {limit}: no empty last page");
    }
    let default = world.get(&key, "/v1/invoices").await;
    assert_eq!(ids(&default), made, "25 at most, and these are fewer");
}

#[tokio::test]
async fn invoices_made_in_between_do_not_shift_the_pages() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let made = newest_first(&make(&world, &key, 6).await);
    let first = world.get(&key, "/v1/invoices?limit=3").await;
    let cursor = first.body["next_cursor"].as_str().expect("a second page").to_owned();
    world.advance_millis(5);
    for number in 0..4 {
        world.post(&key, "/v1/invoices", &format!(r#"{{"amount": "{}", "customer": "new"}}"#, number + 50)).await;
    }
    let second = world.get(&key, &format!("/v1/invoices?limit=3&cursor={cursor}")).await;
    assert_eq!([ids(&first), ids(&second)].concat(), made);
}

#[tokio::test]
async fn filters_narrow_and_combine() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let made = make(&world, &key, 6).await;
    // Two invoices in each of the milliseconds .500, .501 and .502.
    let at = |millis: u32| format!("2023-11-14T22:13:20.{millis}Z");
    for (query, expected) in [
        ("external_id=order-3".to_owned(), &made[3..4]),
        ("external_id=order%2D3&status=pending".to_owned(), &made[3..4]),
        ("external_id=order-3&status=paid".to_owned(), &made[..0]),
        ("external_id=none".to_owned(), &made[..0]),
        ("status=pending".to_owned(), &made[..]),
        ("status=expired".to_owned(), &made[..0]),
        (format!("created_gte={}", at(501)), &made[2..]),
        (format!("created_lte={}", at(501)), &made[..4]),
        (format!("created_gte={0}&created_lte={0}", at(501)), &made[2..4]),
        ("created_gte=2023-11-15T00:13:20.502%2B02:00".to_owned(), &made[4..]),
        ("created_gte=2023-11-14T22:13:21Z".to_owned(), &made[..0]),
        (format!("created_gte={}&created_lte={}", at(502), at(501)), &made[..0]),
    ] {
        let pages = walk(&world, &key, &format!("limit=2&{query}")).await;
        let found: BTreeSet<_> = pages.concat().into_iter().collect();
        assert_eq!(found, expected.iter().cloned().collect(), "{query}");
    }
}

#[tokio::test]
async fn a_listed_invoice_looks_as_it_does_alone() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    make(&world, &key, 3).await;
    let list = world.get(&key, "/v1/invoices").await;
    for entry in list.body["data"].as_array().expect("a list") {
        let id = entry["invoice_id"].as_str().expect("an id");
        assert_eq!(&world.get(&key, &format!("/v1/invoices/{id}")).await.body["data"], entry);
    }
}
