//! Vault files as operators and attackers meet them.

use std::fs;
use std::sync::Barrier;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use xthonpay_payments::port::signer::AddressSource;
use xthonpay_payments::port::vault::{Purpose, Vault};

use super::*;
use crate::recovery_words;
use crate::test_support::{PASSPHRASE, VaultDir, secret};

fn fault(dir: &VaultDir, passphrase: &str) -> VaultFault {
    let error = dir.open_with(passphrase).map(|(_, opened)| opened).expect_err("the vault must not open");
    assert!(error.to_string().contains("vault.json"), "{error}");
    assert!(!error.is_transient(), "{error}");
    error.fault
}

/// Applies `change` to the JSON of the vault and writes it back.
fn tamper(dir: &VaultDir, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(dir.path()).expect("readable")).expect("JSON");
    change(&mut json);
    fs::write(dir.path(), serde_json::to_vec(&json).expect("JSON")).expect("written");
}

#[test]
fn opens_the_vault_it_created() {
    let dir = VaultDir::new();
    let (created, how) = dir.open_with(PASSPHRASE).expect("created");
    assert_eq!(how, Opened::Created);
    let sealed = created.seal(Purpose::ApiSecret, "key_1", b"secret");

    let (opened, how) = dir.open_with(PASSPHRASE).expect("opened");
    assert_eq!(how, Opened::Existing);
    assert_eq!(opened.derive(3, 14), created.derive(3, 14));
    let secret = opened.open(Purpose::ApiSecret, "key_1", &sealed).map(|secret| secret.expose().to_vec());
    assert_eq!(secret, Ok(b"secret".to_vec()));
}

#[test]
fn draws_another_seed_for_every_vault() {
    assert_ne!(VaultDir::new().signer().derive(0, 0), VaultDir::new().signer().derive(0, 0));
}

#[test]
fn opening_never_creates() {
    let dir = VaultDir::new();
    let opened =
        LocalSigner::open(&dir.path(), secret(PASSPHRASE), KdfParams::insecure_for_tests(), Arc::new(crate::OsRandom));
    assert!(matches!(opened.map(|_| ()).map_err(|error| error.fault), Err(VaultFault::Missing)));
    assert!(!dir.path().exists());
}

#[test]
fn refuses_a_wrong_passphrase_and_leaves_the_vault_alone() {
    let dir = VaultDir::new();
    dir.signer();
    let before = fs::read(dir.path()).expect("readable");
    for wrong in ["correct horse battery stapl", "Correct horse battery staple", "x"] {
        assert!(matches!(fault(&dir, wrong), VaultFault::DoesNotOpen));
    }
    assert!(matches!(fault(&dir, ""), VaultFault::EmptyPassphrase));
    assert_eq!(fs::read(dir.path()).expect("readable"), before);
    assert!(dir.open_with(PASSPHRASE).is_ok());
}

#[test]
fn refuses_to_create_without_a_passphrase() {
    let dir = VaultDir::new();
    assert!(matches!(fault(&dir, ""), VaultFault::EmptyPassphrase));
    assert!(!dir.path().exists());
}

#[test]
fn a_wrong_passphrase_and_a_changed_file_cannot_be_told_apart() {
    let dir = VaultDir::new();
    dir.signer();
    let wrong = fault(&dir, "wrong").to_string();
    tamper(&dir, |vault| vault["kdf"]["passes"] = json!(2));
    assert_eq!(fault(&dir, PASSPHRASE).to_string(), wrong);
}

#[test]
fn refuses_every_change_of_the_header() {
    let changes: [(&str, Value); 8] = [
        ("/kdf/memory_kib", json!(32)),
        ("/kdf/memory_kib", json!(128)),
        ("/kdf/passes", json!(2)),
        ("/kdf/lanes", json!(2)),
        ("/kdf/algorithm", json!("argon2d-v1.3")),
        ("/kdf/salt", json!(BASE64.encode([0; 16]))),
        ("/kdf/salt", json!("AAAA")),
        ("/check_address", json!("0x70997970c51812dc3a010c7d01b50e0d17dc79c8")),
    ];
    for (pointer, value) in changes {
        let dir = VaultDir::new();
        dir.signer();
        tamper(&dir, |vault| *vault.pointer_mut(pointer).expect("the field exists") = value);
        let fault = fault(&dir, PASSPHRASE);
        assert!(matches!(fault, VaultFault::DoesNotOpen | VaultFault::Damaged { .. }), "{pointer}: {fault}");
    }
}

#[test]
fn refuses_a_key_derivation_below_the_floor_before_trying_the_passphrase() {
    let dir = VaultDir::new();
    dir.signer();
    for (memory_kib, passes) in [(8, 3), (65_536, 1), (0, 0)] {
        tamper(&dir, |vault| {
            vault["kdf"]["memory_kib"] = json!(memory_kib);
            vault["kdf"]["passes"] = json!(passes);
        });
        let kdf = KdfParams::production();
        let opened = LocalSigner::open_or_create(&dir.path(), secret(PASSPHRASE), kdf, Arc::new(crate::OsRandom));
        let error = opened.map(|(_, how)| how).expect_err("below the floor");
        assert!(matches!(error.fault, VaultFault::Kdf(_)), "{error}");
    }
}

#[test]
fn refuses_a_key_derivation_that_would_exhaust_the_machine() {
    let dir = VaultDir::new();
    dir.signer();
    tamper(&dir, |vault| vault["kdf"]["memory_kib"] = json!(u32::MAX));
    assert!(matches!(fault(&dir, PASSPHRASE), VaultFault::Kdf(_)));
}

#[test]
fn refuses_swapped_and_changed_keys() {
    for (one, other) in [("seed", "api-secret"), ("api-secret", "webhook-secret"), ("seed", "webhook-secret")] {
        let dir = VaultDir::new();
        dir.signer();
        tamper(&dir, |vault| {
            let (a, b) = (vault["data_keys"][one].clone(), vault["data_keys"][other].clone());
            vault["data_keys"][one] = b;
            vault["data_keys"][other] = a;
        });
        assert!(matches!(fault(&dir, PASSPHRASE), VaultFault::DoesNotOpen), "{one} and {other}");
    }
    for pointer in ["/seed", "/data_keys/seed", "/data_keys/api-secret", "/data_keys/webhook-secret"] {
        let dir = VaultDir::new();
        dir.signer();
        tamper(&dir, |vault| {
            let value = vault.pointer_mut(pointer).expect("the field exists");
            let mut bytes = BASE64.decode(value.as_str().expect("text")).expect("base64");
            *bytes.last_mut().expect("not empty") ^= 1;
            *value = json!(BASE64.encode(bytes));
        });
        assert!(matches!(fault(&dir, PASSPHRASE), VaultFault::DoesNotOpen), "{pointer}");
    }
}

#[test]
fn refuses_the_keys_of_another_vault_with_the_same_passphrase() {
    let (dir, other) = (VaultDir::new(), VaultDir::new());
    dir.signer();
    other.signer();
    let foreign: Value = serde_json::from_slice(&fs::read(other.path()).expect("readable")).expect("JSON");
    tamper(&dir, |vault| {
        vault["seed"] = foreign["seed"].clone();
        vault["data_keys"] = foreign["data_keys"].clone();
    });
    assert!(matches!(fault(&dir, PASSPHRASE), VaultFault::DoesNotOpen));
}

#[test]
fn never_replaces_a_damaged_vault() {
    let dir = VaultDir::new();
    dir.signer();
    let whole = fs::read(dir.path()).expect("readable");
    let cuts = (0..whole.len() - 1).step_by(37).map(|end| whole[..end].to_vec());
    let garbage = [b"{}".to_vec(), b"null".to_vec(), vec![0; 600], b"\xff\xfe".to_vec(), [&whole[..], b"{}"].concat()];
    for damaged in cuts.chain(garbage) {
        fs::write(dir.path(), &damaged).expect("written");
        let fault = fault(&dir, PASSPHRASE);
        assert!(matches!(fault, VaultFault::Damaged { .. }), "{fault}");
        assert!(fault.to_string().contains("restore it from a backup"), "{fault}");
        assert_eq!(fs::read(dir.path()).expect("readable"), damaged);
    }
}

#[test]
fn refuses_unknown_fields_and_other_versions() {
    let dir = VaultDir::new();
    dir.signer();
    let whole = fs::read(dir.path()).expect("readable");
    tamper(&dir, |vault| vault["note"] = json!("x"));
    assert!(matches!(fault(&dir, PASSPHRASE), VaultFault::Damaged { .. }));
    fs::write(dir.path(), &whole).expect("written");
    tamper(&dir, |vault| vault["version"] = json!(2));
    assert!(matches!(fault(&dir, PASSPHRASE), VaultFault::Newer { version: 2 }));
    fs::write(dir.path(), &whole).expect("written");
    tamper(&dir, |vault| vault["version"] = json!(0));
    assert!(matches!(fault(&dir, PASSPHRASE), VaultFault::Damaged { .. }));
    fs::write(dir.path(), &whole).expect("written");
    assert!(dir.open_with(PASSPHRASE).is_ok());
}

#[test]
fn of_racing_runs_one_creates_and_all_share_the_seed() {
    for _ in 0..10 {
        let dir = VaultDir::new();
        let barrier = Barrier::new(8);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let (signer, how) = dir.open_with(PASSPHRASE).expect("opens");
                        (signer.derive(0, 0).expect("a usable path"), how)
                    })
                })
                .collect();
            runs.into_iter().map(|run| run.join().expect("no panic")).collect()
        });
        assert_eq!(opened.iter().filter(|(_, how)| *how == Opened::Created).count(), 1);
        assert!(opened.iter().all(|(address, _)| *address == opened[0].0));
        let names = fs::read_dir(dir.path().parent().expect("a parent")).expect("readable").count();
        assert_eq!(names, 1, "no leftover");
    }
}

#[test]
fn ignores_what_a_killed_run_left_behind() {
    let reference = VaultDir::new();
    reference.signer();
    let whole = fs::read(reference.path()).expect("readable");
    for written in [0, 1, whole.len() / 2, whole.len()] {
        let dir = VaultDir::new();
        let leftover = dir.path().with_file_name(".vault.json.0123456789abcdef.tmp");
        fs::write(&leftover, &whole[..written]).expect("written");
        let (signer, how) = dir.open_with(PASSPHRASE).expect("created");
        assert_eq!(how, Opened::Created);
        assert_ne!(signer.derive(0, 0), reference.signer().derive(0, 0));
        assert_eq!(dir.open_with(PASSPHRASE).map(|(_, how)| how).ok(), Some(Opened::Existing));
    }
}

#[test]
fn keeps_everything_secret_out_of_the_file() {
    let dir = VaultDir::new();
    let signer = dir.signer();
    let words = recovery_words(&dir.path(), secret(PASSPHRASE), KdfParams::insecure_for_tests()).expect("opens");
    let entropy = unlock(&dir.path(), &secret(PASSPHRASE), KdfParams::insecure_for_tests()).expect("opens").entropy;
    let file = fs::read(dir.path()).expect("readable");
    let text = String::from_utf8(file.clone()).expect("JSON is text");

    assert!(!file.windows(8).any(|window| entropy.expose().windows(8).any(|secret| secret == window)));
    assert!(!text.contains(&BASE64.encode(entropy.expose())[..8]));
    assert!(!text.contains(&hex::encode(entropy.expose())[..16]));
    assert!(!text.contains(PASSPHRASE));
    let pairs: Vec<&str> = words.expose().split(' ').collect();
    assert!(!pairs.windows(2).any(|pair| text.contains(&pair.join(" "))));
    assert!(text.contains(&signer.derive(0, 0).expect("usable").to_lower_hex()), "the check address is public");
}

#[test]
fn gives_24_words_that_lead_to_the_same_addresses() {
    let dir = VaultDir::new();
    let signer = dir.signer();
    let words = recovery_words(&dir.path(), secret(PASSPHRASE), KdfParams::insecure_for_tests()).expect("opens");
    assert_eq!(words.expose().split(' ').count(), 24);
    let mnemonic: coins_bip39::Mnemonic<coins_bip39::English> = words.expose().parse().expect("valid words");
    let tree = AddressTree::from_entropy(mnemonic.entropy().as_bytes()).expect("usable");
    assert_eq!(tree.derive(2, 7), signer.derive(2, 7));
    assert!(recovery_words(&dir.path(), secret("wrong"), KdfParams::insecure_for_tests()).is_err());
}

/// Does not compile if a type that holds secrets gains `Debug`: the call would be ambiguous.
#[test]
fn secrets_have_no_debug() {
    trait AmbiguousIfDebug<Marker> {
        fn check() {}
    }
    struct HasDebug;
    impl<T> AmbiguousIfDebug<()> for T {}
    impl<T: std::fmt::Debug> AmbiguousIfDebug<HasDebug> for T {}

    <LocalSigner as AmbiguousIfDebug<_>>::check();
    <crate::RecoveryWords as AmbiguousIfDebug<_>>::check();
    <crate::sealing_key::SealingKey as AmbiguousIfDebug<_>>::check();
    <crate::seed_file::SeedFile as AmbiguousIfDebug<_>>::check();
    <Secret as AmbiguousIfDebug<_>>::check();
}

#[test]
fn opens_a_vault_of_production_strength() {
    let dir = VaultDir::new();
    let open = || {
        let random = Arc::new(crate::OsRandom);
        LocalSigner::open_or_create(&dir.path(), secret(PASSPHRASE), KdfParams::production(), random).expect("opens")
    };
    let (created, _) = open();
    let (opened, how) = open();
    assert_eq!(how, Opened::Existing);
    assert_eq!(opened.derive(0, 0), created.derive(0, 0));
}
