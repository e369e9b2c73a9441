//! Shared memory: a value behind one lightweight lock, and one that outlives the crash of a process.

use core::ffi::CStr;
use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::DerefMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
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

    /// Makes it, or finds what a server in this data directory has left; from `shmem_startup_hook`. Without memory for it
    /// there is none.
    pub(crate) fn startup(&self) {
        if !self.place.load(Ordering::Relaxed).is_null() {
            return;
        }
        let file = named_memory(size_of::<T>());
        let anonymous = if file.is_none() { libc::MAP_ANONYMOUS } else { 0 };
        // SAFETY: new pages, of zeros or of a file of that size; processes that are forked from here on share them.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | anonymous,
                file.as_ref().map_or(-1, AsRawFd::as_raw_fd),
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

/// Name of the memory of this data directory, which is the working directory of every process.
fn memory_name(size: usize) -> Option<CString> {
    let data = std::fs::metadata(".").ok()?;
    let mut hasher = DefaultHasher::new();
    (data.dev(), data.ino(), size, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    CString::new(format!("/pg_workflow.{:016x}", hasher.finish())).ok()
}

/// Memory of the operating system that outlives the postmaster, too, until a server ends in order or the machine does. Not a
/// file of the data directory: where the disk is full a write to that could fail, and would end the process.
fn named_memory(size: usize) -> Option<OwnedFd> {
    let name = memory_name(size)?;
    // SAFETY: the file is ours from here on.
    let file = unsafe {
        let fd = libc::shm_open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600);
        (fd >= 0).then(|| File::from_raw_fd(fd))?
    };
    let meta = file.metadata().ok()?;
    // SAFETY: asks for our own user; allocates all pages, so that no write to them can fail.
    let allocated = unsafe {
        meta.uid() == libc::geteuid()
            && meta.mode() & 0o77 == 0
            && libc::posix_fallocate(file.as_raw_fd(), 0, size as libc::off_t) == 0
    };
    if !allocated {
        return None;
    }
    extern "C-unwind" fn at_exit(code: i32, name: pg_sys::Datum) {
        if code == 0 {
            // SAFETY: the name below, which stays.
            unsafe { libc::shm_unlink(name.cast_mut_ptr()) };
        }
    }
    // SAFETY: in the postmaster; its children forget what it has registered. The name lives as long as the process.
    unsafe { pg_sys::on_proc_exit(Some(at_exit), pg_sys::Datum::from(name.into_raw())) };
    Some(file.into())
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
