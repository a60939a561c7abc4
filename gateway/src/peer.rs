//! The other end of a TCP connection: it may vanish without a word, and nobody would notice.
//!
//! MQTT's keep-alive finds that out, but a client of 3.1.1 may ask for none. So the system looks after each connection
//! as well: it asks a silent peer for a sign of life, and gives up one that gives none, or that does not confirm what
//! was sent to it.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How often a silent peer is asked before it is given up.
const PROBES: u32 = 4;

/// Has the system end the connection when its peer gave no sign of life for `vanished`: half of the time it may be
/// silent, in the other half it is asked. What is sent is sent at once.
pub(crate) fn look_after(stream: &TcpStream, vanished: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let (silent, between) = (vanished / 2, vanished / (2 * PROBES));
    // The system counts in whole seconds, and refuses 0.
    let seconds = |time: Duration| Duration::from_secs(time.as_secs().max(1));
    let probes = TcpKeepalive::new().with_time(seconds(silent)).with_interval(seconds(between));
    socket.set_tcp_keepalive(&probes.with_retries(PROBES))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(vanished))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_system_looks_after_each_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.unwrap();

        look_after(&stream, Duration::from_secs(600)).unwrap();

        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(300));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(75));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(600)));
    }
}
