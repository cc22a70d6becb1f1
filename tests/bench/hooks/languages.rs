//! What a call costs in each language and hook: the templates of `xthonpay plugin new`, built and called as their authors do it.

use std::fs;
use std::path::Path;

use xthonpay_plugin_runtime::Hook;
use xthonpay_plugin_tools::{Language, Measured, Project, build, fixtures_of, lay_out, measure};
use xthonpay_tests::BoxError;

use crate::figures::{Aim, Figure, Thousandths};
use crate::parts;
use crate::tell;

/// Calls that are measured of each function.
const CALLS: usize = if cfg!(debug_assertions) { 50 } else { 2_000 };

/// What compilers of all projects of a language share, so that they fetch and build it once.
const SHARED: [&str; 3] = ["target", "node_modules", ".venv"];

/// The aims of the median, and of the 99th of a hundred where there is one, in microseconds.
fn aims(language: Language) -> [Option<u64>; 2] {
    match language {
        Language::Rust => [Some(60), Some(500)],
        Language::Javascript => [Some(500), None],
        Language::Python => [Some(2_500), None],
    }
}

/// Builds and calls the template of each language and hook.
pub(super) async fn run() -> Result<Vec<Figure>, BoxError> {
    let folder = parts::folder()?;
    let mut figures = Vec::new();
    for language in [Language::Rust, Language::Javascript, Language::Python] {
        for hook in Hook::ALL {
            let measured = template(folder.path(), language, hook).await?;
            figures.extend(figures_of(language, hook, &measured));
        }
    }
    Ok(figures)
}

async fn template(folder: &Path, language: Language, hook: Hook) -> Result<Measured, BoxError> {
    tell(&format!("{} in {}: building the template, then {CALLS} calls", hook.name(), language.name()));
    let name = format!("{}-{}", language.name(), hook.name());
    let place = folder.join(&name);
    lay_out(&name, hook.name(), language, &place)?;
    let first = folder.join(format!("{}-{}", language.name(), Hook::ALL[0].name()));
    for shared in SHARED.iter().filter(|shared| first != place && first.join(shared).is_dir()) {
        std::os::unix::fs::symlink(first.join(shared), place.join(shared))?;
    }
    let project = Project::find(&place)?;
    build(&project)?;
    let component = project.component();
    let fixture = fixtures_of(&project.fixtures())?.into_iter().next().ok_or("a template has no fixture")?;
    let measured = measure(&component, &fixture, CALLS).await?;
    // Eighteen MiB each, in Python.
    fs::remove_file(component)?;
    Ok(measured)
}

fn figures_of(language: Language, hook: Hook, measured: &Measured) -> Vec<Figure> {
    let name = |what: &str| format!("{}_{}_{what}", language.name(), hook.name().replace('-', "_"));
    let micros = |of: [u64; 2]| of.map(Thousandths::whole);
    let [half, most] = micros(measured.total_us);
    let mut whole = [Figure::new(name("p50"), half, "us"), Figure::new(name("p99"), most, "us")];
    for (figure, aim) in whole.iter_mut().zip(aims(language)) {
        figure.aim = aim.map(|aim| Aim::ValueAtMost(Thousandths::whole(aim)));
    }
    let [instance, _] = micros(measured.instantiate_us);
    whole
        .into_iter()
        .chain([
            Figure::new(name("instance_p50"), instance, "us"),
            Figure::new(name("memory"), Thousandths::whole(measured.memory_kib), "KiB"),
            Figure::new(name("load"), Thousandths::whole(measured.load_ms), "ms"),
            Figure::new(name("load_from_cache"), Thousandths::whole(measured.load_again_ms), "ms"),
        ])
        .collect()
}
