//! The two ways to write the name of a kernel setting (sysctl(8)): `net.ipv4.conf.eth0/1.rp_filter`
//! and, as its file is called, `net/ipv4/conf/eth0.1/rp_filter`. The first of the separators tells
//! which one it is.

/// With dots.
pub fn dotted(name: &str) -> String {
    if is_path(name) { swapped(name) } else { name.to_owned() }
}

/// With slashes: below `/proc/sys`, once it is known to be a plain path.
pub fn slashed(name: &str) -> String {
    if is_path(name) { name.to_owned() } else { swapped(name) }
}

fn is_path(name: &str) -> bool {
    name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/'))
}

fn swapped(name: &str) -> String {
    let other = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    name.chars().map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (dots, path) in [
            ("net.ipv4.tcp_rmem", "net/ipv4/tcp_rmem"),
            ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ] {
            for name in [dots, path] {
                assert_eq!((dotted(name).as_str(), slashed(name).as_str()), (dots, path));
            }
        }
    }
}
