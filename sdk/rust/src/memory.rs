//! Where a plugin's memory comes from: a first piece that every instance has from its beginning, and growth beyond it.
//!
//! A call has an instance of its own. Where it grows its memory, the kernel changes the protection of pages, and once more before
//! the place is given to the next call, and each time other threads of the host wait. Most calls need less than the first piece,
//! and grow nothing. The allocator of the standard library takes nothing but growth.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use core::alloc::Layout;
use core::arch::wasm32::memory_grow;
use core::mem::{MaybeUninit, replace};
use core::ptr::with_exposed_provenance_mut;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

/// Bytes of the first piece: an invoice or event of the usual size, what is made of it, and a few answers of capabilities. What a
/// call does not touch costs nothing.
const FIRST_BYTES: usize = 128 * 1_024;

/// Bytes of a page of WebAssembly, as the core specification has it.
const PAGE_BYTES: usize = 64 * 1_024;

/// What the allocator needs of a piece beside what it hands out; it takes a few words.
const BOOKKEEPING_BYTES: usize = 1_024;

static mut FIRST: [MaybeUninit<u8>; FIRST_BYTES] = [const { MaybeUninit::uninit() }; FIRST_BYTES];

#[global_allocator]
static MEMORY: TalcSyncCell<FirstThenGrown, WasmBinning> =
    TalcSyncCell::new_wasm(FirstThenGrown { first_is_taken: false });

/// The first piece, and then pages that are new.
#[derive(Debug)]
struct FirstThenGrown {
    first_is_taken: bool,
}

// SAFETY: `acquire` speaks to the allocator through its argument alone, and allocates nothing.
unsafe impl Source for FirstThenGrown {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if !replace(&mut talc.source.first_is_taken, true) {
            // SAFETY: nothing else refers to `FIRST`, and it is handed over once.
            return unsafe { talc.claim((&raw mut FIRST).cast(), FIRST_BYTES) }.map(drop).ok_or(());
        }
        let needed = layout.size().checked_add(layout.align()).and_then(|bytes| bytes.checked_add(BOOKKEEPING_BYTES));
        let pages = needed.ok_or(())?.div_ceil(PAGE_BYTES);
        let before = memory_grow::<0>(pages);
        if before == usize::MAX {
            return Err(());
        }
        // SAFETY: the pages are new, so nothing else refers to them.
        unsafe { talc.claim(with_exposed_provenance_mut(before * PAGE_BYTES), pages * PAGE_BYTES) }.map(drop).ok_or(())
    }
}
