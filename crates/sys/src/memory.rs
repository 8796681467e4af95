//! Memory of a process that lives long and does little.
#![allow(unsafe_code)] // madvise on our own program has no safe wrapper.

use std::io;

/// Gives the resident pages of the program file back: code that has run once (argument parsing,
/// mounting, forking) and the read-only data beside it. They are clean, so the kernel drops them
/// without writing, and reads what is needed again from its page cache.
pub fn release_program() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    let program = std::fs::read_link("/proc/self/exe")?;
    for (start, end) in clean(&maps, &program.to_string_lossy()) {
        // SAFETY: the range is one mapping of our program file, private, not writable, and without
        // a page of its own, so every page in it is what the file holds: dropped ones come back
        // the same at the next access.
        let done = unsafe { libc::madvise(start as *mut _, end - start, libc::MADV_DONTNEED) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The ranges of `/proc/PID/smaps` that map `program` and hold nothing but what is in the file.
/// What cannot be written now may have been at the start (relocations): such mappings have
/// anonymous pages.
fn clean(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in maps.lines() {
        match line.strip_prefix("Anonymous:") {
            Some(size) if size.trim() == "0 kB" => found.extend(current.take()),
            Some(_) => current = None,
            None => current = read_only_of(line, program).or(current),
        }
    }
    found
}

/// The range of the first line of a mapping, where it maps `program` and cannot be written.
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
    fn leaves_alone_what_was_written_once() {
        let mapping = |range: &str, rights: &str, path: &str, anonymous: u32| {
            format!(
                "{range} {rights} 00000000 fe:00 12 {path}\nSize: 64 kB\nRss: 64 kB\n\
                 Anonymous: {anonymous} kB\nVmFlags: rd mr\n"
            )
        };
        let maps = [
            mapping("1000-2000", "r--p", "/bin/onggi", 0),
            mapping("2000-3000", "r-xp", "/bin/onggi", 0),
            mapping("3000-4000", "r--p", "/bin/onggi", 4),
            mapping("4000-5000", "rw-p", "/bin/onggi", 0),
            mapping("5000-6000", "r-xp", "/bin/other", 0),
        ];
        let expected = [(0x1000, 0x2000), (0x2000, 0x3000)];
        assert_eq!(clean(&maps.concat(), "/bin/onggi"), expected);
    }

    #[test]
    fn goes_on_without_its_pages() {
        release_program().unwrap();
        assert!(format!("{:?}", std::fs::metadata("/proc/self")).contains("Metadata"));
    }
}
