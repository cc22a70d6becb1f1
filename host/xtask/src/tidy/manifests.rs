//! Rules for the crates: which of them may name which, who may name a heavy dependency, and what every manifest has.
//!
//! The arrows are those of `host/ARCHITECTURE.md`: `app` knows the adapters, adapters know `payments` and `domain` and never
//! each other, `payments` knows `domain`, `domain` knows nothing of ours, and plugins know the SDK alone.

use super::finding::Finding;
use super::tree::Tree;
use crate::workspace::{Dependency, Package};

/// Dependencies that one crate wraps for all others. A name that ends in `*` stands for all that begin so.
const HEAVY: [(&str, &[&str]); 12] = [
    ("surrealdb*", &["xthonpay-store-surreal"]),
    ("wasmtime*", &["xthonpay-plugin-runtime"]),
    ("alloy-*", &["xthonpay-chain-evm", "xthonpay-tests"]),
    ("argon2", &["xthonpay-signer-local"]),
    ("aes-gcm", &["xthonpay-signer-local"]),
    ("coins-*", &["xthonpay-signer-local"]),
    ("grammers-*", &["xthonpay-chat-telegram"]),
    ("axum", &["xthonpay-http-api", "xthonpay-app", "xthonpay-tests"]),
    ("http", &["xthonpay-http-api"]),
    // In the tests: the bare server that the benchmark of REST is held beside.
    ("hyper*", &["xthonpay-http-api", "xthonpay-tests"]),
    ("reqwest", &["xthonpay-app", "xthonpay-chain-evm", "xthonpay-egress", "xthonpay-tests"]),
    ("wit-bindgen", &["xthonpay-sdk"]),
];

/// What the domain must not know: tasks, encodings, clocks and randomness.
const NOT_IN_DOMAIN: [&str; 9] =
    ["tokio", "futures", "async-trait", "serde", "serde_json", "rand", "getrandom", "jiff", "chrono"];

const DOMAIN: &str = "xthonpay-domain";
const PAYMENTS: &str = "xthonpay-payments";
const GUEST_COMPILER: &str = "xthonpay-guest-compiler";
const SDK: &str = "xthonpay-sdk";
/// What tests build on; tests of any crate may use it.
const TESTS: &str = "xthonpay-tests";
/// The simulation, on top of the tests' doubles and the store.
const CHAOS: &str = "xthonpay-chaos";

/// What a crate may name among our own.
enum Arrows {
    /// These alone.
    Only(&'static [&'static str]),
    /// Whatever it wants: it stands at the top.
    Any,
}

/// Checks all packages of the workspace.
pub(super) fn check(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let path = package.manifest.display().to_string();
        let text = tree.text(&path).unwrap_or_default();
        let mut complain = |line, what: String| findings.push(Finding::new(&path, line, what));
        for dependency in &package.dependencies {
            let line = line_naming(text, &dependency.name);
            for what in [arrow(package, dependency, &ours), heavy(package, dependency), impure(package, dependency)] {
                what.into_iter().for_each(|what| complain(line, what));
            }
        }
        if package.description.trim().is_empty() {
            complain(
                line_naming(text, "description"),
                "has no description: say in a line what the crate is for".to_owned(),
            );
        }
        if !text.contains("[lints]\nworkspace = true") {
            complain(1, "does not take the lints of the workspace: add `[lints]` with `workspace = true`".to_owned());
        }
    }
    findings
}

/// The arrows that a package may have.
fn arrows(package: &Package) -> Arrows {
    let folder = package.folder();
    if folder.starts_with("plugins") || folder.starts_with("examples") {
        return Arrows::Only(&[SDK]);
    }
    match package.name.as_str() {
        "xthonpay-app" | TESTS | CHAOS => Arrows::Any,
        PAYMENTS => Arrows::Only(&[DOMAIN]),
        DOMAIN | SDK | "xthonpay-plugin-pack" | GUEST_COMPILER => Arrows::Only(&[]),
        "xtask" => Arrows::Only(&[GUEST_COMPILER]),
        // Tools for authors: the host's own runtime, so that a plugin meets the same limits and checks.
        "xthonpay-plugin-tools" => Arrows::Only(&[GUEST_COMPILER, "xthonpay-plugin-pack", "xthonpay-plugin-runtime"]),
        // A new crate of the host is an adapter until a rule here says more.
        _ => Arrows::Only(&[DOMAIN, PAYMENTS]),
    }
}

fn arrow(package: &Package, dependency: &Dependency, ours: &[&str]) -> Option<String> {
    let to = dependency.name.as_str();
    if !ours.contains(&to) || (dependency.for_tests && to == TESTS) {
        return None;
    }
    match arrows(package) {
        Arrows::Any => None,
        Arrows::Only(allowed) if allowed.contains(&to) => None,
        Arrows::Only([]) => {
            Some(format!("names {to}, but {} depends on no crate of ours: move the code", package.name))
        }
        Arrows::Only(allowed) => Some(format!(
            "names {to}, but {} may depend on {} only: reach it through a port, and join them in host/app",
            package.name,
            allowed.join(" and ")
        )),
    }
}

fn heavy(package: &Package, dependency: &Dependency) -> Option<String> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => dependency.name.starts_with(start),
        None => dependency.name == pattern,
    };
    let (_, owners) = HEAVY.iter().find(|(pattern, _)| matches(pattern))?;
    let owned = owners.contains(&package.name.as_str());
    (!owned)
        .then(|| format!("names {}, which belongs to {} alone: use that crate", dependency.name, owners.join(" and ")))
}

fn impure(package: &Package, dependency: &Dependency) -> Option<String> {
    let impure = package.name == DOMAIN && !dependency.for_tests && NOT_IN_DOMAIN.contains(&dependency.name.as_str());
    impure.then(|| {
        format!("names {}, but the domain is pure: no tasks, encodings, clocks or randomness", dependency.name)
    })
}

/// The first line that begins with the name; 1 when there is none, as for what a table header names.
fn line_naming(text: &str, name: &str) -> usize {
    let names = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']));
    text.lines().position(names).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\ndescription = \"\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n";

    /// A described package that names others; `dev:` before a name is for tests only.
    fn package(name: &str, folder: &str, dependencies: &[&str]) -> Package {
        let dependency = |text: &&str| match text.strip_prefix("dev:") {
            Some(name) => Dependency { name: name.to_owned(), for_tests: true },
            None => Dependency { name: (*text).to_owned(), for_tests: false },
        };
        Package {
            name: name.to_owned(),
            manifest: format!("{folder}/Cargo.toml").into(),
            description: "Something.".to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
            dynamic_library: None,
        }
    }

    /// What is found in one package that stands among all others.
    fn found(subject: Package) -> Vec<String> {
        let lines: String =
            subject.dependencies.iter().map(|dependency| format!("{}.workspace = true\n", dependency.name)).collect();
        let path = subject.manifest.display().to_string();
        let tree = Tree::of(&[(path.as_str(), &format!("{MANIFEST}{lines}"))]);
        let others = ["xthonpay-domain", "xthonpay-payments", "xthonpay-egress", "xthonpay-sdk", "xthonpay-tests"];
        let ours: Vec<&str> = others.into_iter().chain([subject.name.as_str()]).collect();
        subject
            .dependencies
            .iter()
            .flat_map(|dependency| {
                let line = line_naming(tree.text(&path).unwrap_or_default(), &dependency.name);
                [arrow(&subject, dependency, &ours), heavy(&subject, dependency), impure(&subject, dependency)]
                    .into_iter()
                    .flatten()
                    .map(move |what| format!("{line}: {what}"))
            })
            .collect()
    }

    #[test]
    fn arrows_that_point_down_are_fine() {
        for (name, folder, dependencies) in [
            ("xthonpay-payments", "host/payments", &["xthonpay-domain", "tokio"][..]),
            (
                "xthonpay-http-api",
                "host/http-api",
                &["xthonpay-domain", "xthonpay-payments", "axum", "dev:xthonpay-tests"],
            ),
            ("xthonpay-app", "host/app", &["xthonpay-payments", "xthonpay-egress", "axum"]),
            ("default-rules", "plugins/default-rules", &["xthonpay-sdk"]),
            ("xthonpay-tests", "tests", &["xthonpay-domain", "xthonpay-egress", "alloy-primitives"]),
        ] {
            assert_eq!(found(package(name, folder, dependencies)), [""; 0], "{name}");
        }
    }

    #[test]
    fn arrows_that_point_up_or_sideways_are_found_with_their_line() {
        for (name, folder, dependency) in [
            ("xthonpay-domain", "host/domain", "xthonpay-payments"),
            ("xthonpay-payments", "host/payments", "xthonpay-egress"),
            ("xthonpay-http-api", "host/http-api", "xthonpay-egress"),
            ("xthonpay-sdk", "sdk/rust", "xthonpay-domain"),
            ("shop", "examples/plugins/shop", "xthonpay-payments"),
            ("xthonpay-chat-telegram", "host/chat-telegram", "dev:xthonpay-egress"),
        ] {
            let found = found(package(name, folder, &[dependency]));
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(found[0].starts_with("8: names xthonpay-"), "{found:?}");
        }
    }

    #[test]
    fn a_heavy_dependency_belongs_to_one_crate() {
        for (dependency, owner) in
            [("surrealdb", "store-surreal"), ("alloy-primitives", "chain-evm"), ("argon2", "signer-local")]
        {
            let owner = format!("xthonpay-{owner}");
            assert_eq!(found(package(&owner, "host/owner", &[dependency])), [""; 0]);
            let found = found(package("xthonpay-egress", "host/egress", &[dependency]));
            assert!(found[0].contains(&owner), "{found:?}");
        }
    }

    #[test]
    fn the_domain_stays_pure_but_its_tests_may_read_json() {
        assert_eq!(found(package("xthonpay-domain", "host/domain", &["serde"])).len(), 1);
        assert_eq!(found(package("xthonpay-domain", "host/domain", &["dev:serde_json"])), [""; 0]);
    }

    #[test]
    fn every_manifest_has_a_description_and_the_lints() {
        let bare = Package { description: " ".to_owned(), ..package("a", "host/a", &[]) };
        let tree = Tree::of(&[("host/a/Cargo.toml", "[package]\nname = \"a\"\ndescription = \" \"\n")]);
        let found: Vec<String> = check(&tree, &[bare]).iter().map(Finding::to_string).collect();
        assert!(found[0].starts_with("host/a/Cargo.toml:3: has no description"), "{found:?}");
        assert!(found[1].starts_with("host/a/Cargo.toml:1: does not take the lints"), "{found:?}");
    }
}
