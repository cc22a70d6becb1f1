//! `wasi = "minimal"`: as much of WASI 0.2 as ordinary toolchains ask for, and none of it leads out of the call.
//!
//! The environment and the folders are empty, the input is closed, what is printed goes to the plugin's log line by line within its
//! budget, the clocks stand at the time of the call, and random numbers follow from the call's id: the same call gives the same
//! answer, and a number that has to be secret cannot be had. Whatever else of these interfaces is called ends the call.

use sha2::{Digest as _, Sha256};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};

use crate::bindings::base::xthonpay::host::log::{Host as _, Level};
use crate::config::Wasi;
use crate::instance::CallState;
use crate::limits::Limit;

/// The interfaces, without their version.
const INTERFACES: [&str; 20] = [
    "cli/environment",
    "cli/exit",
    "cli/stdin",
    "cli/stdout",
    "cli/stderr",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "cli/terminal-stderr",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
];

/// The version that they have.
const VERSION_TRACK: &str = "0.2.";

/// Bytes that one question for random numbers gets.
const RANDOM_BYTES_MAX: u64 = 64 * 1_024;

/// Bytes that may be printed at once, as WASI has it for writes that block.
const WRITE_BYTES_MAX: u64 = 4_096;

/// What is left over between the calls of these interfaces.
#[derive(Debug, Default)]
pub(crate) struct WasiState {
    /// Lines of the output and of the errors that have no end yet.
    lines: [Vec<u8>; 2],
    /// Random numbers so far.
    drawn: u64,
}

/// Where a guest prints.
#[derive(Clone, Copy, Debug)]
struct Output(Stream);

#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Out,
    Err,
}

/// Things that a guest names and never gets.
struct Input;
struct Descriptor;
struct IoError;
struct Pollable;
struct Terminal;

/// Why a stream takes no more.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// The interface that an import names, if it is one of WASI: `cli/environment`.
fn interface_of(import: &str) -> Option<&str> {
    let (name, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    version.starts_with(VERSION_TRACK).then_some(name)
}

/// Whether an import is one of WASI at all.
pub(crate) fn is_wasi(import: &str) -> bool {
    import.starts_with("wasi:")
}

/// Whether a plugin that may have `wasi` may import this.
///
/// # Errors
/// What to do about it.
pub(crate) fn admit(import: &str, plugin: &str, wasi: Wasi) -> Result<(), String> {
    let known = interface_of(import).is_some_and(|name| INTERFACES.contains(&name));
    match wasi {
        Wasi::Minimal if known => Ok(()),
        Wasi::None if known => Err(format!(
            "the component imports `{import}`, and plugins get no WASI unless manifest and config say so: build it for \
             `wasm32-unknown-unknown` or with `--stub-wasi`, or set wants.wasi = \"minimal\" in its manifest and \
             plugins.{plugin}.wasi = \"minimal\""
        )),
        _ => Err(format!(
            "the component imports `{import}`, which no plugin gets: files, sockets and HTTP of WASI are never linked; use the \
             capabilities of the contract, and build it for `wasm32-unknown-unknown` or with `--stub-wasi`"
        )),
    }
}

/// Links one interface under the name of its import. What it leaves out is linked as traps afterwards.
///
/// # Errors
/// The engine's.
pub(crate) fn link(import: &str, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut place = linker.instance(import)?;
    let interface = interface_of(import).unwrap_or_default();
    for resource in resources_of(interface) {
        link_resource(&mut place, resource)?;
    }
    match interface {
        "cli/environment" => {
            place.func_wrap("get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
            place.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
            place.func_wrap("initial-cwd", |_, ()| Ok((None::<String>,)))?;
        }
        "cli/exit" => {
            place.func_wrap("exit", |_, (_,): (Result<(), ()>,)| {
                Err::<(), _>(wasmtime::Error::msg("it called `exit`, which no answer follows"))
            })?;
        }
        "io/streams" => {
            for name in ["read", "blocking-read"] {
                place.func_wrap(&format!("[method]input-stream.{name}"), |_, (_, _): (Resource<Input>, u64)| {
                    Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
                })?;
            }
            place.func_wrap("[method]output-stream.check-write", |_, (_,): (Resource<Output>,)| {
                Ok((Ok::<_, StreamError>(WRITE_BYTES_MAX),))
            })?;
            for name in ["write", "blocking-write-and-flush"] {
                place.func_wrap(
                    &format!("[method]output-stream.{name}"),
                    |mut context: StoreContextMut<'_, CallState>, (output, bytes): (Resource<Output>, Vec<u8>)| {
                        let stream = context.data().table.get(&output)?.0;
                        context.data_mut().print(stream, &bytes)?;
                        Ok((Ok::<(), StreamError>(()),))
                    },
                )?;
            }
            for name in ["flush", "blocking-flush"] {
                place.func_wrap(&format!("[method]output-stream.{name}"), |_, (_,): (Resource<Output>,)| {
                    Ok((Ok::<(), StreamError>(()),))
                })?;
            }
        }
        "cli/stdin" => place.func_wrap("get-stdin", |_, ()| Ok((Resource::<Input>::new_own(0),)))?,
        "cli/stdout" => place.func_wrap("get-stdout", |context, ()| opened(context, Stream::Out))?,
        "cli/stderr" => place.func_wrap("get-stderr", |context, ()| opened(context, Stream::Err))?,
        "cli/terminal-stdin" => place.func_wrap("get-terminal-stdin", |_, ()| Ok((None::<Resource<Terminal>>,)))?,
        "cli/terminal-stdout" => place.func_wrap("get-terminal-stdout", |_, ()| Ok((None::<Resource<Terminal>>,)))?,
        "cli/terminal-stderr" => place.func_wrap("get-terminal-stderr", |_, ()| Ok((None::<Resource<Terminal>>,)))?,
        "clocks/monotonic-clock" => {
            place.func_wrap("now", |context: StoreContextMut<'_, CallState>, ()| {
                Ok((context.data().call.at.as_millis().saturating_mul(1_000_000),))
            })?;
            place.func_wrap("resolution", |_, ()| Ok((1_000_000_u64,)))?;
        }
        "clocks/wall-clock" => {
            place.func_wrap("now", |context: StoreContextMut<'_, CallState>, ()| {
                let millis = context.data().call.at.as_millis();
                let nanoseconds = u32::try_from(millis % 1_000).unwrap_or(0).saturating_mul(1_000_000);
                Ok((Datetime { seconds: millis / 1_000, nanoseconds },))
            })?;
            place.func_wrap("resolution", |_, ()| Ok((Datetime { seconds: 0, nanoseconds: 1_000_000 },)))?;
        }
        "filesystem/preopens" => {
            place.func_wrap("get-directories", |_, ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),)))?;
        }
        "random/random" => link_random(&mut place, "get-random-bytes", "get-random-u64")?,
        "random/insecure" => link_random(&mut place, "get-insecure-random-bytes", "get-insecure-random-u64")?,
        "random/insecure-seed" => {
            place.func_wrap("insecure-seed", |mut context: StoreContextMut<'_, CallState>, ()| {
                let state = context.data_mut();
                Ok(((state.draw()?, state.draw()?),))
            })?;
        }
        // These have resources alone, or nothing that is of use here.
        _ => {}
    }
    Ok(())
}

/// The resources of an interface, its own and those that it takes over from others.
fn resources_of(interface: &str) -> &'static [&'static str] {
    match interface {
        "io/error" => &["error"],
        "io/poll" | "clocks/monotonic-clock" => &["pollable"],
        "io/streams" => &["error", "pollable", "input-stream", "output-stream"],
        "cli/stdin" => &["input-stream"],
        "cli/stdout" | "cli/stderr" => &["output-stream"],
        "cli/terminal-input" | "cli/terminal-stdin" => &["terminal-input"],
        "cli/terminal-output" | "cli/terminal-stdout" | "cli/terminal-stderr" => &["terminal-output"],
        "filesystem/types" => &["error", "input-stream", "output-stream", "descriptor"],
        "filesystem/preopens" => &["descriptor"],
        _ => &[],
    }
}

fn link_resource(place: &mut LinkerInstance<'_, CallState>, name: &str) -> wasmtime::Result<()> {
    let ty = match name {
        "error" => ResourceType::host::<IoError>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "input-stream" => ResourceType::host::<Input>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        "output-stream" => {
            return place.resource(name, ResourceType::host::<Output>(), |mut context, handle| {
                context.data_mut().table.delete(Resource::<Output>::new_own(handle))?;
                Ok(())
            });
        }
        _ => ResourceType::host::<Terminal>(),
    };
    place.resource(name, ty, |_, _| Ok(()))
}

fn opened(mut context: StoreContextMut<'_, CallState>, stream: Stream) -> wasmtime::Result<(Resource<Output>,)> {
    Ok((context.data_mut().table.push(Output(stream))?,))
}

fn link_random(place: &mut LinkerInstance<'_, CallState>, bytes: &str, number: &str) -> wasmtime::Result<()> {
    place.func_wrap(bytes, |mut context: StoreContextMut<'_, CallState>, (length,): (u64,)| {
        let wanted = usize::try_from(length.min(RANDOM_BYTES_MAX)).unwrap_or(0);
        let mut drawn = Vec::with_capacity(wanted);
        while drawn.len() < wanted {
            drawn.extend(context.data_mut().draw()?.to_le_bytes());
        }
        drawn.truncate(wanted);
        Ok((drawn,))
    })?;
    place.func_wrap(number, |mut context: StoreContextMut<'_, CallState>, ()| Ok((context.data_mut().draw()?,)))
}

impl CallState {
    /// The next number that follows from the call's id.
    pub(super) fn draw(&mut self) -> wasmtime::Result<u64> {
        // One question may take many numbers: it counts once for each kilobyte.
        if self.wasi.drawn.is_multiple_of(128) {
            self.ask_wasi("random")?;
        }
        self.wasi.drawn = self.wasi.drawn.saturating_add(1);
        let digest = Sha256::new().chain_update(self.call.id.as_bytes()).chain_update(self.wasi.drawn.to_le_bytes());
        let digest: [u8; 32] = digest.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// Takes what is printed, a line at a time, to the log.
    pub(super) fn print(&mut self, stream: Stream, bytes: &[u8]) -> wasmtime::Result<()> {
        self.ask_wasi("print")?;
        // A line is cut where the log would cut it.
        let line_bytes_max = usize::try_from(self.profile.limits.get(Limit::LogLineBytes)).unwrap_or(usize::MAX);
        for byte in bytes {
            let line = self.line(stream);
            if *byte == b'\n' {
                let line = core::mem::take(line);
                self.write_line(stream, &line)?;
            } else if line.len() < line_bytes_max {
                line.push(*byte);
            }
        }
        Ok(())
    }

    /// Writes the lines that have no end.
    pub(crate) fn flush_output(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            let line = core::mem::take(self.line(stream));
            if !line.is_empty() {
                // A log that is full drops the line.
                let _ = self.write_line(stream, &line);
            }
        }
    }

    fn line(&mut self, stream: Stream) -> &mut Vec<u8> {
        let [out, err] = &mut self.wasi.lines;
        match stream {
            Stream::Out => out,
            Stream::Err => err,
        }
    }

    fn write_line(&mut self, stream: Stream, line: &[u8]) -> wasmtime::Result<()> {
        let (level, name) = match stream {
            Stream::Out => (Level::Info, "stdout"),
            Stream::Err => (Level::Warn, "stderr"),
        };
        let text = String::from_utf8_lossy(line).into_owned();
        self.write(level, text, vec![("stream".to_owned(), name.to_owned())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimal_has_what_toolchains_ask_for_and_nothing_that_leads_out() {
        for name in INTERFACES {
            let import = format!("wasi:{name}@0.2.12");
            assert_eq!(admit(&import, "mine", Wasi::Minimal), Ok(()), "{import}");
            let refusal = admit(&import, "mine", Wasi::None).expect_err("none by default");
            assert!(refusal.contains("plugins.mine.wasi"), "{refusal}");
        }
        for import in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:cli/run@0.2.0",
            "wasi:cli/environment@0.3.0",
            "wasi:cli/environment",
            "wasi:keyvalue/store@0.2.0",
        ] {
            for wasi in [Wasi::None, Wasi::Minimal] {
                let refusal = admit(import, "mine", wasi).expect_err("never");
                assert!(refusal.contains(import) && refusal.contains("no plugin gets"), "{refusal}");
            }
        }
    }
}
