//! The paths between the nodes of a cluster: each node is reached by the others through a forwarder of datagrams, which
//! can be cut. A node sends from the address at which it listens, so that a forwarder knows who speaks.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Nobody is cut off.
const NOBODY: usize = usize::MAX;
/// The largest datagram.
const DATAGRAM: usize = 65_536;

/// The paths of three nodes.
pub struct Paths {
    /// Where each node listens.
    pub nodes: [SocketAddr; 3],
    /// Where the others reach it.
    pub fronts: [SocketAddr; 3],
    cut: Arc<AtomicUsize>,
}

impl Paths {
    pub fn new() -> Self {
        let free = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports"));
        let nodes = free.map(|socket| socket.local_addr().expect("it is bound"));
        let cut = Arc::new(AtomicUsize::new(NOBODY));
        let fronts = [0, 1, 2].map(|node| forward(node, nodes, cut.clone()));
        Self { nodes, fronts, cut }
    }

    /// From now on nothing gets from or to this node.
    pub fn cut(&self, node: usize) {
        self.cut.store(node, Ordering::Relaxed);
    }

    pub fn heal(&self) {
        self.cut.store(NOBODY, Ordering::Relaxed);
    }
}

/// Forwards what comes for a node, and what it answers; ends with the process.
fn forward(node: usize, nodes: [SocketAddr; 3], cut: Arc<AtomicUsize>) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports"));
    let address = front.local_addr().expect("it is bound");
    let backs: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>> = Mutex::default();
    std::thread::spawn(move || {
        let mut datagram = vec![0; DATAGRAM];
        loop {
            let Ok((length, from)) = front.recv_from(&mut datagram) else { continue };
            let mut backs = backs.lock().expect("nobody panics with it");
            let back = backs.entry(from).or_insert_with(|| {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports"));
                back.connect(nodes[node]).expect("an address of loopback");
                let speaker = nodes.iter().position(|node| *node == from);
                answer(back.clone(), front.clone(), from, cut.clone(), [Some(node), speaker]);
                back
            });
            let speaker = nodes.iter().position(|node| *node == from);
            if !is_cut(&cut, [Some(node), speaker]) {
                // Whoever does not listen now is a lost datagram.
                drop(back.send(&datagram[..length]));
            }
        }
    });
    address
}

fn answer(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    to: SocketAddr,
    cut: Arc<AtomicUsize>,
    ends: [Option<usize>; 2],
) {
    std::thread::spawn(move || {
        let mut datagram = vec![0; DATAGRAM];
        loop {
            match back.recv(&mut datagram) {
                Ok(length) if !is_cut(&cut, ends) => drop(front.send_to(&datagram[..length], to)),
                Ok(_) => {}
                // The node is not there: the system says so once for each datagram.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    });
}

fn is_cut(cut: &AtomicUsize, ends: [Option<usize>; 2]) -> bool {
    ends.contains(&Some(cut.load(Ordering::Relaxed)))
}
