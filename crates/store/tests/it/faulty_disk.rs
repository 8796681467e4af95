//! A disk in memory, as a SQLite VFS, that fails as disks do.
//!
//! Writes are seen at once but durable only after a sync of their file. When the power is cut,
//! of the writes not yet synced a random part stays, in 512-byte pieces and in any order; the
//! rest is gone. The disk can also be full, fail to sync, or lie about syncs.
//!
//! SAFETY, for the whole module: SQLite calls these functions with pointers as its VFS contract
//! says: a `sqlite3_vfs` registered here, whose `pAppData` is a leaked `FaultyDisk`; files opened
//! here, `szOsFile` bytes large, hence a `Handle`, used by one thread at a time; buffers and names
//! as long as said.

use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char, c_int, c_void},
    mem::size_of,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use rusqlite::ffi;

use crate::support::Rng;

const SECTOR: usize = 512;

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, data) => {
            let end = at + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(data);
        }
        Change::Truncate(length) => content.truncate(*length),
    }
}

#[derive(Debug, Default)]
struct File {
    /// What reads see.
    seen: Vec<u8>,
    /// What was synced; `None` if nothing ever was, not even the name.
    durable: Option<Vec<u8>>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
struct State {
    files: HashMap<String, File>,
    /// Files removed, whose removal may not have reached the disk.
    removed: HashMap<String, Vec<u8>>,
    rng: Rng,
    power: bool,
    /// Changes and syncs until the power is cut.
    left: Option<u64>,
    faults: Faults,
    syncs: u64,
}

/// What goes wrong, beside power cuts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Bytes that fit on the disk.
    pub(crate) space: Option<usize>,
    /// Syncs fail, and drop what they should have synced.
    pub(crate) sync_fails: bool,
    /// Writes fail.
    pub(crate) write_fails: bool,
    /// Syncs say that they were done and were not.
    pub(crate) sync_lies: bool,
}

/// See the module. Never freed: SQLite keeps a pointer to it.
#[derive(Debug)]
pub(crate) struct FaultyDisk {
    name: CString,
    state: Mutex<State>,
}

impl FaultyDisk {
    pub(crate) fn new(seed: u64) -> &'static Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("faulty-disk-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let disk: &'static Self = Box::leak(Box::new(Self {
            name: CString::new(name).unwrap(),
            state: Mutex::new(State {
                files: HashMap::new(),
                removed: HashMap::new(),
                rng: Rng::new(seed),
                power: true,
                left: None,
                faults: Faults::default(),
                syncs: 0,
            }),
        }));
        // SAFETY: see the module; the default VFS lends what has nothing to do with files.
        let code = unsafe {
            let usual = &*ffi::sqlite3_vfs_find(ptr::null());
            let vfs = ffi::sqlite3_vfs {
                iVersion: 1,
                szOsFile: size_of::<Handle>() as c_int,
                mxPathname: 1024,
                pNext: ptr::null_mut(),
                zName: disk.name.as_ptr(),
                pAppData: ptr::from_ref(disk).cast_mut().cast(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                xFullPathname: Some(full_pathname),
                xRandomness: usual.xRandomness,
                xSleep: usual.xSleep,
                xCurrentTime: usual.xCurrentTime,
                ..std::mem::zeroed()
            };
            ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0)
        };
        assert_eq!(code, ffi::SQLITE_OK);
        disk
    }

    pub(crate) fn vfs(&self) -> Option<String> {
        Some(self.name.to_str().unwrap().to_owned())
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    pub(crate) fn used(&self) -> usize {
        self.state.lock().used()
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Cuts the power after so many changes and syncs.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        self.state.lock().left = Some(operations);
    }

    /// Cuts it now, if it is still there, and gives it back: what was not synced is a matter of
    /// luck. Call it when nothing has the disk open.
    pub(crate) fn power_cycle(&self) {
        let State { files, removed, rng, power, left, .. } = &mut *self.state.lock();
        (*power, *left) = (true, None);
        for (name, content) in removed.drain() {
            let gone = files.get(&name).is_none_or(|f| f.durable.is_none());
            if gone && rng.below(2) == 0 {
                files.insert(name, File { durable: Some(content), ..File::default() });
            }
        }
        files.retain(|_, file| file.durable.is_some() || rng.below(2) == 0);
        for file in files.values_mut() {
            let mut content = file.durable.take().unwrap_or_default();
            let mut changes: Vec<_> = file.unsynced.drain(..).collect();
            if rng.below(2) == 0 {
                for i in (1..changes.len()).rev() {
                    changes.swap(i, rng.below(i as u64 + 1) as usize);
                }
            }
            // From nothing to everything.
            let kept = rng.below(5);
            for change in changes {
                match change {
                    Change::Truncate(_) if rng.below(4) < kept => apply(&mut content, &change),
                    Change::Truncate(_) => {}
                    Change::Write(at, data) => {
                        let mut from = 0;
                        while from < data.len() {
                            let to = data.len().min(((at + from) / SECTOR + 1) * SECTOR - at);
                            if rng.below(4) < kept {
                                apply(
                                    &mut content,
                                    &Change::Write(at + from, data[from..to].into()),
                                );
                            }
                            from = to;
                        }
                    }
                }
            }
            file.seen.clone_from(&content);
            file.durable = Some(content);
        }
    }
}

impl State {
    fn used(&self) -> usize {
        self.files.values().map(|f| f.seen.len()).sum()
    }

    /// Counts one operation that changes the disk. Answers whether the power is still there
    /// after it; this one may have reached the disk, in part, all the same.
    fn tick(&mut self) -> bool {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            self.power &= *left > 0;
        }
        self.power
    }

    fn change(&mut self, name: &str, change: Change) -> c_int {
        if !self.power {
            return ffi::SQLITE_IOERR;
        }
        if self.faults.write_fails {
            return ffi::SQLITE_IOERR_WRITE;
        }
        let used = self.used();
        let Some(file) = self.files.get_mut(name) else { return ffi::SQLITE_IOERR };
        if let (Change::Write(at, data), Some(space)) = (&change, self.faults.space)
            && used + (at + data.len()).saturating_sub(file.seen.len()) > space
        {
            return ffi::SQLITE_FULL;
        }
        apply(&mut file.seen, &change);
        file.unsynced.push(change);
        if self.tick() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_WRITE }
    }

    fn sync(&mut self, name: &str) -> c_int {
        if !self.power || !self.tick() {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        self.syncs += 1;
        let Some(file) = self.files.get_mut(name) else { return ffi::SQLITE_IOERR_FSYNC };
        if self.faults.sync_fails {
            // As Linux does: the pages count as written, and stay readable for a while.
            file.unsynced.clear();
            return ffi::SQLITE_IOERR_FSYNC;
        }
        if self.faults.sync_lies {
            return ffi::SQLITE_OK;
        }
        let durable = file.durable.get_or_insert_default();
        file.unsynced.drain(..).for_each(|change| apply(durable, &change));
        self.removed.remove(name);
        ffi::SQLITE_OK
    }
}

/// An open file. SQLite sees the first field alone.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    disk: &'static FaultyDisk,
    name: *mut String,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// The disk and the name of an open file.
unsafe fn at<'a>(file: *mut ffi::sqlite3_file) -> (&'static FaultyDisk, &'a str) {
    let handle = unsafe { &*file.cast::<Handle>() };
    (handle.disk, unsafe { &*handle.name })
}

unsafe fn disk_of(vfs: *mut ffi::sqlite3_vfs) -> &'static FaultyDisk {
    unsafe { &*(*vfs).pAppData.cast::<FaultyDisk>() }
}

unsafe fn name_of(name: *const c_char) -> String {
    unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default().to_owned()
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe { (*file).pMethods = ptr::null() };
    if name.is_null() {
        return ffi::SQLITE_CANTOPEN; // A temporary file: those belong in memory.
    }
    let (disk, name) = unsafe { (disk_of(vfs), name_of(name)) };
    let mut state = disk.state.lock();
    if !state.power {
        return ffi::SQLITE_CANTOPEN;
    }
    state.files.entry(name.clone()).or_default();
    let base = ffi::sqlite3_file { pMethods: &raw const METHODS };
    let name = Box::into_raw(Box::new(name));
    unsafe { file.cast::<Handle>().write(Handle { base, disk, name }) };
    if !out_flags.is_null() {
        unsafe { *out_flags = flags };
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    drop(unsafe { Box::from_raw((*file.cast::<Handle>()).name) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (disk, name) = unsafe { at(file) };
    let state = disk.state.lock();
    let Some(content) = state.files.get(name).filter(|_| state.power).map(|f| &f.seen) else {
        return ffi::SQLITE_IOERR_READ;
    };
    let amount = amount as usize;
    let from = (offset as usize).min(content.len());
    let part = &content[from..content.len().min(from + amount)];
    unsafe {
        ptr::write_bytes(buffer.cast::<u8>(), 0, amount);
        ptr::copy_nonoverlapping(part.as_ptr(), buffer.cast(), part.len());
    }
    if part.len() == amount { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (disk, name) = unsafe { at(file) };
    let data = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), amount as usize) };
    disk.state.lock().change(name, Change::Write(offset as usize, data.to_vec()))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let (disk, name) = unsafe { at(file) };
    disk.state.lock().change(name, Change::Truncate(size as usize))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    let (disk, name) = unsafe { at(file) };
    disk.state.lock().sync(name)
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    let (disk, name) = unsafe { at(file) };
    let length = disk.state.lock().files.get(name).map_or(0, |f| f.seen.len());
    unsafe { *size = length as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(_file: *mut ffi::sqlite3_file, _level: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(
    _file: *mut ffi::sqlite3_file,
    _op: c_int,
    _argument: *mut c_void,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    SECTOR as c_int
}

/// What SQLite takes for granted of every disk on Unix.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_dir: c_int,
) -> c_int {
    let (disk, name) = unsafe { (disk_of(vfs), name_of(name)) };
    let mut state = disk.state.lock();
    if !state.power || !state.tick() {
        return ffi::SQLITE_IOERR_DELETE;
    }
    match state.files.remove(&name) {
        None => ffi::SQLITE_IOERR_DELETE_NOENT,
        Some(file) => {
            if let Some(content) = file.durable.filter(|_| sync_dir == 0) {
                state.removed.insert(name, content);
            }
            ffi::SQLITE_OK
        }
    }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    let (disk, name) = unsafe { (disk_of(vfs), name_of(name)) };
    let exists = disk.state.lock().files.contains_key(&name);
    unsafe { *out = c_int::from(exists) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    space: c_int,
    out: *mut c_char,
) -> c_int {
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if name.len() > space as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    unsafe { ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len()) };
    ffi::SQLITE_OK
}
