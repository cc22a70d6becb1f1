//! A package to hand on: component, manifest and README in one file, with the digest that operators pin.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::fault::ToolError;
use crate::project::Project;

/// Readable by everybody, writable by its owner.
const MODE: u32 = 0o644;

/// A package that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Packed {
    /// The package.
    pub package: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of the component in it, what `sha256` in its table pins.
    pub sha256: String,
    /// The table for an operator's config.
    pub table: String,
}

/// Packs what is built. Equal files give equal packages: no time and no owner goes in.
///
/// # Errors
/// [`ToolError`].
pub fn pack(project: &Project) -> Result<Packed, ToolError> {
    let component = project.component();
    if !component.is_file() {
        return Err(ToolError::NotBuilt(component));
    }
    let (id, version) = (&project.id, &project.version);
    let package = project.folder.join("dist").join(format!("{id}-{version}.tar.gz"));
    let read = |path: &Path| fs::read(path).map_err(|source| ToolError::Io { path: path.to_owned(), source });
    let wasm = read(&component)?;
    let manifest = read(&project.folder.join("plugin.toml"))?;
    let readme = fs::read(project.folder.join("README.md")).unwrap_or_default();
    let io = |source| ToolError::Io { path: package.clone(), source };
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (name, contents) in
        [(format!("{id}.wasm"), &wasm), (format!("{id}.toml"), &manifest), ("README.md".to_owned(), &readme)]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(contents.len()).unwrap_or(u64::MAX));
        header.set_mode(MODE);
        header.set_mtime(0);
        archive.append_data(&mut header, format!("{id}-{version}/{name}"), contents.as_slice()).map_err(io)?;
    }
    let bytes = archive.into_inner().and_then(GzEncoder::finish).map_err(io)?;
    fs::File::create(&package).and_then(|mut file| file.write_all(&bytes)).map_err(io)?;
    let sha256 = hex::encode(Sha256::digest(&wasm));
    let table = format!("[plugins.{id}]\nfile = \"plugins/{id}.wasm\"\nsha256 = \"{sha256}\"");
    Ok(Packed { package, bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX), sha256, table })
}
