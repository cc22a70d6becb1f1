//! What the packer refuses, and that each refusal says what to do.

use xthonpay_plugin_pack::{PackError, pack};

/// The shortest module: magic number and version.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The shortest component.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A module with a function type and one imported function.
fn module_importing(module: &str, name: &str) -> Vec<u8> {
    let mut import = vec![1, u8::try_from(module.len()).expect("short")];
    import.extend_from_slice(module.as_bytes());
    import.push(u8::try_from(name.len()).expect("short"));
    import.extend_from_slice(name.as_bytes());
    import.extend_from_slice(&[0, 0]);
    let mut bytes = EMPTY_MODULE.to_vec();
    bytes.extend_from_slice(&[1, 4, 1, 0x60, 0, 0]);
    bytes.extend_from_slice(&[2, u8::try_from(import.len()).expect("short")]);
    bytes.extend_from_slice(&import);
    bytes
}

#[test]
fn text_is_not_a_module() {
    assert!(matches!(pack(b"hello"), Err(PackError::NotWasm(_))));
}

#[test]
fn an_empty_file_is_not_a_module() {
    assert!(pack(b"").is_err());
}

#[test]
fn a_module_cut_short_is_not_a_module() {
    let whole = module_importing("env", "f");
    assert!(matches!(pack(&whole[..whole.len() - 3]), Err(PackError::NotWasm(_))));
}

#[test]
fn a_component_needs_no_packing() {
    assert!(matches!(pack(EMPTY_COMPONENT), Err(PackError::AlreadyComponent)));
}

#[test]
fn a_module_without_a_world_is_told_to_register() {
    let error = pack(EMPTY_MODULE).expect_err("it has no world");
    assert!(matches!(error, PackError::WorldMissing));
    assert!(error.to_string().contains("register!"), "{error}");
}

#[test]
fn wasi_imports_are_named() {
    for module in ["wasi_snapshot_preview1", "wasi:cli/environment@0.2.0"] {
        let error = pack(&module_importing(module, "environ_get")).expect_err("it imports WASI");
        assert!(error.to_string().contains(&format!("{module}::environ_get")), "{error}");
    }
}
