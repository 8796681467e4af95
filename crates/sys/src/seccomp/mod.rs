//! seccomp: profiles in OCI form, compiled by `seccompiler`, kept as bytes, loaded before `execve`.

mod default;
mod names;
mod profile;

pub use default::default_profile;
pub use profile::{Action, Arg, Condition, Op, Profile, Rule};

use seccompiler::{BpfProgram, sock_filter};

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// It cannot be read or compiled.
    #[error("seccomp profile: {0}")]
    Profile(String),
    /// It denies a call that this version does not know, so it would let it through.
    #[error("seccomp profile: unknown system call {0:?} cannot be denied")]
    UnknownCall(String),
    /// The kernel refused it.
    #[error("seccomp filter: {0}")]
    Kernel(#[from] std::io::Error),
}

/// Compiled filters, in the order in which they are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Vec<BpfProgram>);

impl Program {
    /// Number of filters.
    pub fn filters(&self) -> usize {
        self.0.len()
    }

    /// As bytes for a file: for each filter its length, then its instructions.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for filter in &self.0 {
            out.extend((filter.len() as u32).to_le_bytes());
            for step in filter {
                out.extend(step.code.to_le_bytes());
                out.extend([step.jt, step.jf]);
                out.extend(step.k.to_le_bytes());
            }
        }
        out
    }

    /// From the bytes of `to_bytes`.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, SeccompError> {
        let short = || SeccompError::Profile("compiled filter is cut short".into());
        let mut filters = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*head) as usize * 8;
            let (steps, rest) = rest.split_at_checked(length).ok_or_else(short)?;
            let steps = steps.as_chunks::<8>().0;
            filters.push(
                steps
                    .iter()
                    .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| sock_filter {
                        code: u16::from_le_bytes([c0, c1]),
                        jt,
                        jf,
                        k: u32::from_le_bytes([k0, k1, k2, k3]),
                    })
                    .collect(),
            );
            bytes = rest;
        }
        if !bytes.is_empty() {
            return Err(short());
        }
        Ok(Self(filters))
    }

    /// Loads it into the calling thread. Needs `no_new_privs` or `CAP_SYS_ADMIN`; unlike
    /// `seccompiler::apply_filter` it does not set the former, which would take setuid programs
    /// from every container.
    pub fn load(&self) -> Result<(), SeccompError> {
        self.0.iter().try_for_each(|filter| load(filter).map_err(SeccompError::Kernel))
    }
}

#[allow(unsafe_code)]
fn load(filter: &BpfProgram) -> std::io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(std::io::Error::other)?,
        filter: filter.as_ptr() as *mut libc::sock_filter,
    };
    // SAFETY: `program` points to `len` instructions of the kernel's layout (`sock_filter` is
    // repr(C) in both crates) that live until the call returns; the kernel only reads them.
    let done = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::CapabilitySet;

    #[test]
    fn default_profile_compiles_and_survives_bytes() {
        for caps in [CapabilitySet::empty(), CapabilitySet::SYS_ADMIN, CapabilitySet::all()] {
            let program = default_profile(caps).compile(caps).unwrap();
            assert!(program.filters() >= 2);
            assert_eq!(Program::from_bytes(&program.to_bytes()).unwrap(), program);
        }
        assert!(Program::from_bytes(&[1, 0, 0, 0, 5]).is_err());
    }

    #[test]
    fn every_allowed_name_is_known_somewhere() {
        let profile = default_profile(CapabilitySet::all());
        for name in profile.rules.iter().flat_map(|rule| &rule.names) {
            if cfg!(target_arch = "x86_64") {
                assert!(names::number(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn denied_unknown_call_is_refused() {
        let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":
            [{"names":["not_a_call"],"action":"SCMP_ACT_ERRNO"}]}"#;
        let error = Profile::parse(text).unwrap().compile(CapabilitySet::empty()).unwrap_err();
        assert!(matches!(error, SeccompError::UnknownCall(name) if name == "not_a_call"));
    }
}
