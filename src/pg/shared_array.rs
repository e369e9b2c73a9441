//! An array in shared memory behind one lightweight lock, of a length that is known when the server starts.

use core::ffi::CStr;
use std::cell::Cell;

use pgrx::pg_sys;

/// Places of `T` that all processes of the server share. `T` must be plain data (`Copy`, no pointers into a process). There
/// are some only if the library was preloaded; without it every access is skipped.
pub(crate) struct SharedArray<T> {
    name: &'static CStr,
    first: Cell<*mut T>,
    length: Cell<usize>,
    lock: Cell<*mut pg_sys::LWLock>,
}

// SAFETY: the cells are set before fork (or never) and the places are reached through the lock only.
unsafe impl<T> Sync for SharedArray<T> {}

/// Releases the lock however the access ends.
struct Held(*mut pg_sys::LWLock);

impl Held {
    /// # Safety
    /// A lock of the server's.
    unsafe fn take(lock: *mut pg_sys::LWLock) -> Self {
        // SAFETY: the same contract.
        unsafe { pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE) };
        Self(lock)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: taken in `take`.
        unsafe { pg_sys::LWLockRelease(self.0) };
    }
}

impl<T: Copy + 'static> SharedArray<T> {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            first: Cell::new(std::ptr::null_mut()),
            length: Cell::new(0),
            lock: Cell::new(std::ptr::null_mut()),
        }
    }

    /// Asks for the memory of `length` places; from `shmem_request_hook`.
    pub(crate) fn request(&'static self, length: usize) {
        self.length.set(length);
        // SAFETY: called from the hook.
        unsafe {
            pg_sys::RequestAddinShmemSpace(size_of::<T>() * length);
            pg_sys::RequestNamedLWLockTranche(self.name.as_ptr(), 1);
        }
    }

    /// Creates or attaches; from `shmem_startup_hook`. After a crash restart the postmaster calls this again.
    pub(crate) fn startup(&'static self, initial: &T) {
        /// `AddinShmemInitLock` of `storage/lwlocknames.h`.
        const INIT_LOCK: usize = 21;
        // SAFETY: called from the hook; T is plain data.
        unsafe {
            let _held = Held::take(&raw mut (*pg_sys::MainLWLockArray.add(INIT_LOCK)).lock);
            let mut found = false;
            let size = size_of::<T>() * self.length.get();
            let first = pg_sys::ShmemInitStruct(self.name.as_ptr(), size, &mut found).cast::<T>();
            assert!(first.is_aligned(), "shared memory is not aligned");
            if !found {
                for index in 0..self.length.get() {
                    std::ptr::copy_nonoverlapping(initial, first.add(index), 1);
                }
            }
            self.lock
                .set(&raw mut (*pg_sys::GetNamedLWLockTranche(self.name.as_ptr())).lock);
            self.first.set(first);
        }
    }

    /// Number of places; 0 without shared memory.
    pub(crate) fn len(&self) -> usize {
        if self.first.get().is_null() {
            0
        } else {
            self.length.get()
        }
    }

    /// Runs `f` with all places locked. `None` if there is no shared memory. `f` must be short and must not fail.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut [T]) -> R) -> Option<R> {
        if self.first.get().is_null() {
            return None;
        }
        // SAFETY: set up at startup; the lock makes this the one access.
        unsafe {
            let _held = Held::take(self.lock.get());
            Some(f(std::slice::from_raw_parts_mut(self.first.get(), self.length.get())))
        }
    }
}
