//! Memory of a process that lives long and does little.
#![allow(unsafe_code)] // madvise on our own program has no safe wrapper.

use std::io;

/// Gives the resident pages of the program file back: code that has run once (argument parsing,
/// mounting, forking) and the read-only data beside it. They are clean, so the kernel drops them
/// without writing, and reads what is needed again from its page cache.
pub fn release_program() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let program = std::fs::read_link("/proc/self/exe")?;
    let clean = maps.lines().filter_map(|line| read_only_of(line, program.to_str()?));
    for (start, end) in clean.collect::<Vec<_>>() {
        // SAFETY: the range is one mapping of our program file, private and never writable, so its
        // pages hold what the file holds: dropped ones come back the same at the next access.
        let done = unsafe { libc::madvise(start as *mut _, end - start, libc::MADV_DONTNEED) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The range of a line of `/proc/self/maps` that maps `program` and cannot be written.
fn read_only_of(line: &str, program: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    let rights = rest.get(..4)?;
    let path = rest.get(rest.find('/')?..)?;
    // A file that was replaced or removed is still the one that is mapped.
    let same = path.trim_end_matches(" (deleted)") == program.trim_end_matches(" (deleted)");
    if !same || rights.contains('w') || !rights.ends_with('p') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_read_only_mappings_of_the_program() {
        let table = [
            ("00400000-00410000 r--p 00000000 fe:00 12 /bin/onggi", Some((0x40_0000, 0x41_0000))),
            (
                "00410000-00420000 r-xp 00010000 fe:00 12 /bin/onggi (deleted)",
                Some((0x41_0000, 0x42_0000)),
            ),
            ("00420000-00430000 rw-p 00020000 fe:00 12 /bin/onggi", None),
            ("00420000-00430000 r--s 00020000 fe:00 12 /bin/onggi", None),
            ("00430000-00440000 r-xp 00000000 fe:00 12 /bin/other", None),
            ("7ff000000000-7ff000001000 r-xp 00000000 00:00 0 [vdso]", None),
            ("nonsense", None),
        ];
        for (line, expected) in table {
            assert_eq!(read_only_of(line, "/bin/onggi"), expected, "{line}");
        }
    }

    #[test]
    fn goes_on_without_its_pages() {
        release_program().unwrap();
        assert!(format!("{:?}", std::fs::metadata("/proc/self")).contains("Metadata"));
    }
}
