//! TCP_NODELAY for the connections to PostgreSQL, which sqlx 0.9 leaves off: without it each statement longer than a
//! packet waits 40 ms for the other side's delayed acknowledgement.

/// Sets it on every TCP connection this process has opened. sqlx gives no way to its sockets, but a duplicate of a
/// descriptor shares the socket's options, and the kernel hands one out by number.
#[cfg(target_os = "linux")]
pub(super) fn set() {
    use rustix::net::sockopt::set_tcp_nodelay;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let Ok(me) = pidfd_open(getpid(), PidfdFlags::empty()) else { return };
    let Ok(numbers) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = numbers.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for number in numbers {
        if let Ok(copy) = pidfd_getfd(&me, number, PidfdGetfdFlags::empty()) {
            // Fails on what is no TCP socket, which is most of them.
            let _ = set_tcp_nodelay(&copy, true);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn set() {}
