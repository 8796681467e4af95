//! The default profile: what ordinary programs need, and nothing that reaches out of a container.
//!
//! A call that we know and do not allow fails with `EPERM`; one that we do not know fails with
//! `ENOSYS`, so that a newer C library takes the older way. `clone3` hides its flags behind a
//! pointer that a filter cannot follow: it fails with `ENOSYS` too, and `clone` is used.

use super::names;
use super::profile::{Action, Arg, Op, Profile, Rule};
use crate::caps::CapabilitySet;

/// Allowed to every container.
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod
    chown chroot clock_adjtime clock_getres clock_gettime clock_nanosleep close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat
    fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr
    fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake
    futimesat getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit
    getrusage getsid getsockname getsockopt get_robust_list get_thread_area gettid gettimeofday
    getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    io_cancel io_destroy io_getevents io_setup io_submit ioctl ioprio_get ioprio_set kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat
    listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr
    lsm_get_self_attr lsm_list_modules lsm_set_self_attr lstat madvise map_shadow_stack membarrier
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall
    modify_ldt mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink
    mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at
    nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
    pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64
    process_mrelease process_vm_readv process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2
    read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr
    removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg
    sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid
    setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid
    setsockopt setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 socketpair splice stat statfs statmount statx symlink symlinkat sync
    sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate
    umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid write writev";

/// Allowed to whoever holds the capability.
const WITH_CAPABILITY: &[(CapabilitySet, &str)] = &[
    (
        CapabilitySet::SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount
         mount_setattr move_mount open_tree open_tree_attr perf_event_open pivot_root quotactl
         quotactl_fd setdomainname sethostname setns swapoff swapon syslog umount2 unshare",
    ),
    (CapabilitySet::DAC_READ_SEARCH, "open_by_handle_at"),
    (CapabilitySet::SYS_BOOT, "reboot kexec_load kexec_file_load"),
    (CapabilitySet::SYS_MODULE, "delete_module init_module finit_module"),
    (CapabilitySet::SYS_PACCT, "acct"),
    (CapabilitySet::SYS_PTRACE, "kcmp pidfd_getfd process_madvise"),
    (CapabilitySet::SYS_RAWIO, "iopl ioperm"),
    (CapabilitySet::SYS_TIME, "settimeofday clock_settime"),
    (CapabilitySet::SYS_TTY_CONFIG, "vhangup"),
    (
        CapabilitySet::SYS_NICE,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages",
    ),
    (CapabilitySet::SYSLOG, "syslog"),
    (CapabilitySet::BPF, "bpf"),
    (CapabilitySet::PERFMON, "perf_event_open"),
];

/// Flags of `clone` that make namespaces.
const NAMESPACE_FLAGS: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

/// Values of `personality` that change nothing that matters: Linux, 32-bit `uname`, and "tell".
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x20000, 0x20008, 0xffff_ffff];

/// The profile of a container with these capabilities.
pub fn default_profile(caps: CapabilitySet) -> Profile {
    let mut allowed: Vec<&str> = ALLOWED.split_whitespace().collect();
    for (capability, names) in WITH_CAPABILITY {
        if caps.contains(*capability) {
            allowed.extend(names.split_whitespace());
        }
    }
    let conditional = ["clone", "clone3", "personality", "socket"];
    let denied = names::all()
        .map(|(name, _)| name)
        .filter(|name| !allowed.contains(name) && !conditional.contains(name))
        .map(str::to_owned)
        .collect();
    let mut rules = vec![Rule::new(Action::Errno, denied).errno(libc::EPERM)];
    if !allowed.contains(&"clone") {
        let plain = Arg { index: 0, op: Op::MaskedEq, value: NAMESPACE_FLAGS, value_two: 0 };
        rules.push(Rule::new(Action::Allow, vec!["clone".into()]).arg(plain));
        let mut flags = NAMESPACE_FLAGS;
        while flags != 0 {
            let flag = 1 << flags.trailing_zeros();
            flags &= !flag;
            let set = Arg { index: 0, op: Op::MaskedEq, value: flag, value_two: flag };
            rules.push(Rule::new(Action::Errno, vec!["clone".into()]).errno(libc::EPERM).arg(set));
        }
    }
    let mut strange = Rule::new(Action::Errno, vec!["personality".into()]).errno(libc::EPERM);
    for value in PERSONALITIES {
        let is = Arg { index: 0, op: Op::Eq, value, value_two: 0 };
        rules.push(Rule::new(Action::Allow, vec!["personality".into()]).arg(is));
        strange = strange.arg(Arg { op: Op::Ne, ..is });
    }
    rules.push(strange);
    // A socket to the hypervisor leaves the container whatever its network namespace.
    let vsock = Arg { index: 0, op: Op::Eq, value: libc::AF_VSOCK as u64, value_two: 0 };
    rules.push(Rule::new(Action::Errno, vec!["socket".into()]).errno(libc::EPERM).arg(vsock));
    rules.push(Rule::new(Action::Allow, vec!["socket".into()]).arg(Arg { op: Op::Ne, ..vsock }));
    rules.push(Rule::new(Action::Allow, allowed.into_iter().map(str::to_owned).collect()));
    Profile { default_action: Action::Errno, default_errno: Some(libc::ENOSYS), rules }
}
