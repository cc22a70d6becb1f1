//! The contract in `wit/` keeps its own rules: it resolves, everything is documented, errors are typed, records
//! can grow, nothing is asynchronous, and each world imports what its kind may need and no more.

#[path = "contract/lock.rs"]
mod lock;
#[path = "contract/reference.rs"]
mod reference;

use std::collections::BTreeSet;
use std::path::Path;

use wit_parser::{Docs, Function, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldItem};

/// The worlds, what each may import beside the shared types, and what each must export.
const WORLDS: [(&str, &[&str], &str); 4] = [
    ("invoice-rules-plugin", &["log", "clock", "config", "rates", "storage", "http", "chain"], "invoice-rules"),
    ("webhook-format-plugin", &["log", "config", "signing"], "webhook-format"),
    ("bot-flow-plugin", &["log", "clock", "config", "rates", "storage", "http", "chain", "signing"], "bot-flow"),
    ("withdrawal-policy-plugin", &["log", "clock", "config", "storage", "chain"], "withdrawal-policy"),
];

fn contract() -> Resolve {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut resolve = Resolve::default();
    resolve.push_dir(folder).expect("the contract parses and resolves");
    resolve
}

/// `xthonpay:host/log@0.1.0` of the item of a world.
fn interface_name(resolve: &Resolve, item: &WorldItem) -> String {
    match item {
        WorldItem::Interface { id, .. } => resolve.id_of(*id).expect("interfaces of a world have names"),
        other => unreachable!("worlds hold interfaces only, found {other:?}"),
    }
}

fn functions(resolve: &Resolve) -> Vec<(String, &Function)> {
    let mut found = Vec::new();
    for (id, interface) in resolve.interfaces.iter() {
        for function in interface.functions.values() {
            found.push((format!("{}#{}", resolve.id_of(id).unwrap_or_default(), function.name), function));
        }
    }
    found
}

/// Types by the name they have in the contract. Those taken over by `use` are left out: they are documented at
/// their origin.
fn own_types(resolve: &Resolve) -> Vec<(String, TypeId)> {
    let mut found = Vec::new();
    for (id, def) in resolve.types.iter() {
        let (Some(name), TypeOwner::Interface(owner)) = (&def.name, def.owner) else { continue };
        let taken_over = matches!(def.kind, TypeDefKind::Type(Type::Id(origin))
            if resolve.types[origin].name.is_some() && resolve.types[origin].owner != def.owner);
        if !taken_over {
            found.push((format!("{}#{name}", resolve.id_of(owner).unwrap_or_default()), id));
        }
    }
    found
}

#[test]
fn every_world_imports_what_its_kind_may_need_and_exports_its_hook() {
    let resolve = contract();
    assert_eq!(resolve.worlds.len(), WORLDS.len(), "a world is missing in this test's table");
    for (name, capabilities, hook) in WORLDS {
        let (_, world) = resolve.worlds.iter().find(|(_, world)| world.name == name).expect(name);
        let imports: BTreeSet<_> = world.imports.values().map(|item| interface_name(&resolve, item)).collect();
        let expected: BTreeSet<_> = capabilities
            .iter()
            .chain(&["types"])
            .map(|capability| format!("xthonpay:host/{capability}@0.1.0"))
            .collect();
        assert_eq!(imports, expected, "imports of {name}");
        let exports: BTreeSet<_> = world.exports.values().map(|item| interface_name(&resolve, item)).collect();
        let expected = ["plugin", hook].map(|interface| format!("xthonpay:hooks/{interface}@0.1.0"));
        assert_eq!(exports, BTreeSet::from(expected), "exports of {name}");
    }
}

/// Set to write what is compared in place of comparing it.
const WRITE: &str = "XTHONPAY_WRITE_CONTRACT";

#[test]
fn the_reference_is_that_of_the_contract() {
    let (path, page) = (reference::beside_contract("REFERENCE.md"), reference::page(&contract()));
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &page).expect("writes");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "wit/REFERENCE.md is not of this contract: run with {WRITE}=1 to write it anew");
}

#[test]
fn the_contract_changes_on_purpose_only() {
    let (resolve, path) = (contract(), reference::beside_contract("contract.lock"));
    let (version, digest) = (lock::version(&resolve), lock::digest(&resolve));
    let mut locked = lock::read(&path);
    if std::env::var_os(WRITE).is_some() && !(lock::is_frozen(&version) && locked.contains_key(&version)) {
        locked.insert(version.clone(), digest.clone());
        let lines: String = locked.iter().map(|(version, digest)| format!("{version} {digest}\n")).collect();
        let head = "# The contract of each version: SHA-256 without descriptions. See README.md, \"Versions\".\n";
        std::fs::write(&path, format!("{head}{lines}")).expect("writes");
    }
    let word = lock::changelog_word(&digest);
    assert!(
        locked.get(&version) == Some(&digest),
        "the contract {version} is not the one in wit/contract.lock: undo the change, or (before 1.0.0) say in CHANGELOG.md what \
         changed beside `{word}` and run with {WRITE}=1"
    );
    let changelog = std::fs::read_to_string(reference::beside_contract("../CHANGELOG.md")).expect("a changelog");
    assert!(changelog.contains(word), "CHANGELOG.md does not name the contract `{word}` and what changed in it");
    for (version, digest) in locked.iter().filter(|(version, _)| lock::is_frozen(version)) {
        let mut frozen = Resolve::default();
        frozen.push_dir(reference::beside_contract("frozen").join(version)).expect("a released contract stays");
        assert_eq!(lock::digest(&frozen), *digest, "the released contract {version} was changed");
    }
}

#[test]
fn every_item_is_documented() {
    let resolve = contract();
    let mut silent = Vec::new();
    let mut note = |name: String, docs: &Docs| {
        if docs.contents.as_deref().is_none_or(|text| text.trim().is_empty()) {
            silent.push(name);
        }
    };
    for (_, package) in resolve.packages.iter() {
        note(package.name.to_string(), &package.docs);
    }
    for (_, world) in resolve.worlds.iter() {
        note(world.name.clone(), &world.docs);
    }
    for (id, interface) in resolve.interfaces.iter() {
        note(resolve.id_of(id).unwrap_or_default(), &interface.docs);
    }
    for (name, function) in functions(&resolve) {
        note(name, &function.docs);
    }
    for (name, id) in own_types(&resolve) {
        let def = &resolve.types[id];
        note(name.clone(), &def.docs);
        match &def.kind {
            TypeDefKind::Record(record) => {
                record.fields.iter().for_each(|field| note(format!("{name}.{}", field.name), &field.docs));
            }
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().for_each(|case| note(format!("{name}.{}", case.name), &case.docs));
            }
            TypeDefKind::Enum(cases) => {
                cases.cases.iter().for_each(|case| note(format!("{name}.{}", case.name), &case.docs));
            }
            _ => {}
        }
    }
    assert!(silent.is_empty(), "without documentation: {silent:#?}");
}

#[test]
fn records_have_room_to_grow_and_errors_have_an_other_case() {
    let resolve = contract();
    let mut rigid = Vec::new();
    for (name, id) in own_types(&resolve) {
        match &resolve.types[id].kind {
            TypeDefKind::Record(record) if !record.fields.iter().any(|field| field.name == "attrs") => {
                rigid.push(name);
            }
            TypeDefKind::Variant(variant)
                if name.ends_with("-error") && !variant.cases.iter().any(|case| case.name == "other") =>
            {
                rigid.push(name);
            }
            _ => {}
        }
    }
    assert!(rigid.is_empty(), "cannot grow: {rigid:#?}");
}

#[test]
fn no_error_is_a_bare_string() {
    let resolve = contract();
    let bare = resolve.types.iter().filter(
        |(_, def)| matches!(&def.kind, TypeDefKind::Result(result) if matches!(result.err, Some(Type::String))),
    );
    assert_eq!(bare.count(), 0);
}

#[test]
fn nothing_is_asynchronous_and_nothing_is_a_float() {
    let resolve = contract();
    for (name, function) in functions(&resolve) {
        assert!(!function.kind.is_async(), "{name} is async");
    }
    let of_another_kind = |kind: &TypeDefKind| match kind {
        TypeDefKind::Future(_) | TypeDefKind::Stream(_) => true,
        TypeDefKind::Record(record) => record.fields.iter().any(|field| matches!(field.ty, Type::F32 | Type::F64)),
        _ => false,
    };
    assert!(resolve.types.iter().all(|(_, def)| !of_another_kind(&def.kind)));
}
