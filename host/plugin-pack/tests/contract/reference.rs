//! `wit/REFERENCE.md`: every hook, capability and type of the contract with its description, made of the contract itself.
//!
//! The test compares; `XTHONPAY_WRITE_CONTRACT=1 cargo test -p xthonpay-plugin-pack` writes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use wit_parser::{Docs, Function, FunctionKind, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId};

const HEAD: &str = "# Reference of the contract\n\nMade of the files beside it by the test \
    `the_reference_is_that_of_the_contract` in `host/plugin-pack`; what the host makes of answers stands in\n\
    [hooks.md](../host/plugin-runtime/docs/hooks.md), what an operator grants in\n\
    [grants.md](../host/plugin-runtime/docs/grants.md).\n";

/// Where a file of the contract is.
pub(crate) fn beside_contract(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit").join(file)
}

/// The whole page.
pub(crate) fn page(resolve: &Resolve) -> String {
    let mut page = HEAD.to_owned();
    for (title, package) in [("Hooks", "xthonpay:hooks"), ("Capabilities", "xthonpay:host")] {
        let _ = write!(page, "\n## {title}\n");
        let mut interfaces: Vec<_> = resolve
            .interfaces
            .iter()
            .filter_map(|(id, interface)| {
                let name = &resolve.packages[interface.package?].name;
                let is_of = format!("{}:{}", name.namespace, name.name) == package;
                is_of.then(|| (interface.name.clone().unwrap_or_default(), id))
            })
            .collect();
        interfaces.sort();
        for (name, id) in interfaces {
            section(&mut page, resolve, &name, id);
        }
    }
    page
}

fn section(page: &mut String, resolve: &Resolve, name: &str, id: InterfaceId) {
    let interface = &resolve.interfaces[id];
    let _ = write!(page, "\n### {name}\n\n{}", prose(&interface.docs));
    for function in interface.functions.values().filter(|function| matches!(function.kind, FunctionKind::Freestanding))
    {
        entry(page, resolve, function, &function.name);
    }
    for (name, of) in &interface.types {
        type_entry(page, resolve, id, name, *of);
    }
}

fn type_entry(page: &mut String, resolve: &Resolve, owner: InterfaceId, name: &str, id: TypeId) {
    let def = &resolve.types[id];
    let (what, rows): (&str, Vec<(String, String)>) = match &def.kind {
        TypeDefKind::Record(record) => {
            let row = |field: &wit_parser::Field| {
                (format!("`{}: {}`", field.name, of(resolve, &field.ty)), cell(&field.docs))
            };
            ("record", record.fields.iter().map(row).collect())
        }
        TypeDefKind::Variant(variant) => {
            let row = |case: &wit_parser::Case| {
                let payload = case.ty.as_ref().map_or_else(String::new, |ty| format!("({})", of(resolve, ty)));
                (format!("`{}{payload}`", case.name), cell(&case.docs))
            };
            ("variant", variant.cases.iter().map(row).collect())
        }
        TypeDefKind::Enum(words) => {
            let row = |case: &wit_parser::EnumCase| (format!("`{}`", case.name), cell(&case.docs));
            ("enum", words.cases.iter().map(row).collect())
        }
        TypeDefKind::Resource => ("resource", Vec::new()),
        // What is taken over from another interface is described there.
        TypeDefKind::Type(Type::Id(origin)) if resolve.types[*origin].owner != def.owner => return,
        TypeDefKind::Type(ty) => {
            let _ = write!(page, "\n#### type `{name}` = `{}`\n\n{}", of(resolve, ty), prose(&def.docs));
            return;
        }
        _ => {
            let _ = write!(page, "\n#### type `{name}` = `{}`\n\n{}", shape(resolve, id), prose(&def.docs));
            return;
        }
    };
    let _ = write!(page, "\n#### {what} `{name}`\n\n{}", prose(&def.docs));
    if !rows.is_empty() {
        page.push_str("\n| | |\n|---|---|\n");
    }
    for (left, right) in rows {
        let _ = writeln!(page, "| {left} | {right} |");
    }
    for function in resolve.interfaces[owner].functions.values() {
        if function.kind.resource() == Some(id) {
            entry(page, resolve, function, function.item_name());
        }
    }
}

fn entry(page: &mut String, resolve: &Resolve, function: &Function, name: &str) {
    let is_method = matches!(function.kind, FunctionKind::Method(_));
    let params = function.params.iter().skip(usize::from(is_method));
    let params: Vec<_> = params.map(|param| format!("{}: {}", param.name, of(resolve, &param.ty))).collect();
    let result = function.result.as_ref().map_or_else(String::new, |ty| format!(" -> {}", of(resolve, ty)));
    let _ = write!(page, "\n**`{name}({}){result}`**\n\n{}", params.join(", "), prose(&function.docs));
}

/// A description as a paragraph.
fn prose(docs: &Docs) -> String {
    docs.contents.as_deref().map_or_else(String::new, |text| format!("{}\n", text.trim()))
}

/// A description as a cell of a table.
fn cell(docs: &Docs) -> String {
    let text = docs.contents.as_deref().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A type as it is written.
fn of(resolve: &Resolve, ty: &Type) -> String {
    match ty {
        Type::Id(id) => resolve.types[*id].name.clone().unwrap_or_else(|| shape(resolve, *id)),
        Type::Bool => "bool".to_owned(),
        Type::String => "string".to_owned(),
        Type::Char => "char".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A type without a name.
fn shape(resolve: &Resolve, id: TypeId) -> String {
    let side = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| of(resolve, ty));
    match &resolve.types[id].kind {
        TypeDefKind::Option(ty) => format!("option<{}>", of(resolve, ty)),
        TypeDefKind::List(ty) => format!("list<{}>", of(resolve, ty)),
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (ok, None) => format!("result<{}>", side(ok)),
            (ok, err) => format!("result<{}, {}>", side(ok), side(err)),
        },
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(|ty| of(resolve, ty)).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => {
            resolve.types[*id].name.clone().unwrap_or_default()
        }
        other => other.as_str().to_owned(),
    }
}
