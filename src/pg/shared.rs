//! Shared memory: a value behind one lightweight lock, and one that outlives the crash of a process.

use core::ffi::CStr;
use std::cell::Cell;
use std::ops::DerefMut;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::shmem::AssertPGRXSharedMemory;
use pgrx::{PgLwLock, PgSharedMemoryInitialization, pg_sys};

/// A `T` that all processes of the server share. `T` must be plain data (`Copy`, no pointers into a process).
/// There is one only if the library was preloaded; without it every access is skipped.
pub(crate) struct Shared<T> {
    lock: PgLwLock<AssertPGRXSharedMemory<T>>,
    ready: Cell<bool>,
}

// SAFETY: the flag is set before fork (or never) and the value is reached through the lock only.
unsafe impl<T> Sync for Shared<T> {}

impl<T: Copy + 'static> Shared<T> {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        // SAFETY: the name carries the extension's.
        let lock = unsafe { PgLwLock::new(name) };
        let ready = Cell::new(false);
        Self { lock, ready }
    }

    /// Asks for the memory; from `shmem_request_hook`.
    pub(crate) fn request(&'static self) {
        // SAFETY: called from the hook.
        unsafe { self.lock.on_shmem_request() };
    }

    /// Creates or attaches; from `shmem_startup_hook`. After a crash restart the postmaster calls this again.
    pub(crate) fn startup(&'static self, initial: T) {
        // SAFETY: called from the hook; T is plain data.
        unsafe { self.lock.on_shmem_startup(AssertPGRXSharedMemory::new(initial)) };
        self.ready.set(true);
    }

    pub(crate) fn available(&self) -> bool {
        self.ready.get()
    }

    /// Runs `f` with the value locked. `None` if there is no shared memory. `f` must be short and must not fail.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if !self.available() {
            return None;
        }
        let mut guard = self.lock.exclusive();
        Some(f(guard.deref_mut().deref_mut()))
    }
}

/// A `T` that all processes share, and that stays as it was when one of them crashes, or all of them: Postgres then makes its own
/// shared memory anew. `T` must consist of atomics, with zeros as its first value, and any bytes as a possible one. There is no lock.
pub(crate) struct Lasting<T: 'static> {
    place: AtomicPtr<T>,
}

impl<T: Sync> Lasting<T> {
    pub(crate) const fn new() -> Self {
        Self {
            place: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Makes it, once in the life of the postmaster; from `shmem_startup_hook`. Without memory for it there is none.
    pub(crate) fn startup(&self) {
        if !self.place.load(Ordering::Relaxed).is_null() {
            return;
        }
        // SAFETY: new pages of zeros; processes that are forked from here on share them.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if pages != libc::MAP_FAILED {
            self.place.store(pages.cast(), Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or pages that are never given back; page borders fit every alignment.
        unsafe { self.place.load(Ordering::Relaxed).as_ref() }
    }
}

/// Registers hooks that reserve and set up shared memory. From `_PG_init` while preloading.
pub(crate) fn on_startup(request: fn(), startup: fn()) {
    use std::sync::OnceLock;
    type Hook = Option<unsafe extern "C-unwind" fn()>;
    static REQUEST: OnceLock<(fn(), Hook)> = OnceLock::new();
    static STARTUP: OnceLock<(fn(), Hook)> = OnceLock::new();

    unsafe extern "C-unwind" fn on_request() {
        if let Some((ours, previous)) = REQUEST.get() {
            if let Some(previous) = previous {
                // SAFETY: the hook that was there before.
                unsafe { previous() };
            }
            super::guard::entry(|| {
                ours();
                Ok(())
            });
        }
    }
    unsafe extern "C-unwind" fn on_startup() {
        if let Some((ours, previous)) = STARTUP.get() {
            if let Some(previous) = previous {
                // SAFETY: the hook that was there before.
                unsafe { previous() };
            }
            super::guard::entry(|| {
                ours();
                Ok(())
            });
        }
    }
    // SAFETY: in the postmaster, before any child exists.
    unsafe {
        #[cfg(not(feature = "pg14"))]
        {
            REQUEST.get_or_init(|| (request, pg_sys::shmem_request_hook));
            pg_sys::shmem_request_hook = Some(on_request);
        }
        #[cfg(feature = "pg14")]
        {
            let _ = REQUEST.get_or_init(|| (request, None));
            on_request();
        }
        STARTUP.get_or_init(|| (startup, pg_sys::shmem_startup_hook));
        pg_sys::shmem_startup_hook = Some(on_startup);
    }
}
