//! Loads a plugin anew when its files change, where its table says `watch = true`.
//!
//! The same exchange as `plugins reload` without `--accept`: a version that does not load, or that asks for more, changes nothing
//! and is told once. A file has to stay as it is for a while before it is read, so that a copy under way is not loaded.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xthonpay_plugin_runtime::{PluginConfig, manifest_path, signature_path};

use crate::admin::plugin::PluginDoor;

/// How often the files are looked at: a few system calls a plugin.
const EVERY: Duration = Duration::from_secs(2);

/// What changes when a file does: its time and its size.
type Stamp = Option<(SystemTime, u64)>;

/// The stamps of a component, its manifest and its signature.
type Stamps = [Stamp; 3];

/// One watched plugin.
struct Watched {
    config: PluginConfig,
    /// As they were when it was loaded, or refused.
    settled: Stamps,
    /// As they were at the last look.
    seen: Stamps,
}

/// Watches the files of plugins.
pub(crate) struct PluginWatch {
    door: PluginDoor,
    watched: BTreeMap<String, Watched>,
}

impl PluginWatch {
    /// Of the plugins whose table asks for it. What changes from now on is loaded.
    pub(crate) fn new(door: PluginDoor, plugins: &BTreeMap<String, PluginConfig>) -> Self {
        let asked = plugins.iter().filter(|(_, config)| config.watch);
        let watched = asked.map(|(name, config)| {
            let now = stamps(&config.file);
            (name.clone(), Watched { config: config.clone(), settled: now, seen: now })
        });
        Self { door, watched: watched.collect() }
    }

    /// Works until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        if self.watched.is_empty() {
            stop.cancelled().await;
            return;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => {}
            }
            for name in self.changed().await {
                // The load may be given up at any time; then nothing is exchanged.
                tokio::select! {
                    () = stop.cancelled() => return,
                    exchanged = self.door.exchange(&name, false) => match exchanged {
                        Ok(_) => info!(plugin = name, "its files changed: loaded anew"),
                        Err(error) => warn!(plugin = name, %error, "its files changed and the new version is not taken"),
                    },
                }
            }
        }
    }

    /// The plugins whose files differ from those that were loaded, and did not change since the last look.
    async fn changed(&mut self) -> Vec<String> {
        let files: Vec<_> = self.watched.values().map(|watched| watched.config.file.clone()).collect();
        let looked = spawn_blocking(move || files.iter().map(|file| stamps(file)).collect::<Vec<_>>()).await;
        let Ok(looked) = looked else { return Vec::new() };
        let mut changed = Vec::new();
        for ((name, watched), now) in self.watched.iter_mut().zip(looked) {
            let rests = now == watched.seen;
            watched.seen = now;
            if rests && now != watched.settled {
                watched.settled = now;
                changed.push(name.clone());
            }
        }
        changed
    }
}

fn stamps(component: &Path) -> Stamps {
    [component, &manifest_path(component), &signature_path(component)].map(stamp)
}

fn stamp(path: &Path) -> Stamp {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
