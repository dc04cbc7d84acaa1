//! Named points at which a debug build stops, dies or fails when `RECADO_FAILPOINT=name:what` says so. Release
//! builds hold nothing of it.

/// `die` aborts the process, `hang` never returns (the thread is parked).
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    use std::sync::LazyLock;
    static SET: LazyLock<Option<(String, String, u32)>> = LazyLock::new(|| {
        let text = std::env::var("RECADO_FAILPOINT").ok()?;
        let mut parts = text.splitn(3, ':');
        let (name, what) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some((name, what, parts.next().and_then(|n| n.parse().ok()).unwrap_or(1)))
    });
    static SEEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    if let Some((wanted, what, nth)) = &*SET
        && wanted == name
        && SEEN.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 >= *nth
    {
        match what.as_str() {
            "die" => std::process::abort(),
            "hang" => loop {
                std::thread::park();
            },
            _ => {}
        }
    }
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_name: &str) {}
