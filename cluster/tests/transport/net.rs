//! A network in memory, which can be cut, and which can lose, repeat and reorder what is sent.

use cluster::transport::Datagrams;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Datagrams that a port holds at most, as the system's buffers would.
const HELD_MAX: usize = 1_024;

#[derive(Debug, Clone, Default)]
pub struct Net(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    ports: BTreeMap<SocketAddr, Arrived>,
    cut: BTreeSet<(SocketAddr, SocketAddr)>,
    /// The state of its dice, where it is a bad one.
    dice: Option<u64>,
}

#[derive(Debug, Default)]
struct Arrived {
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
}

impl Net {
    pub fn port(&self, n: u16) -> Arc<dyn Datagrams> {
        let address = SocketAddr::from(([10, 0, 0, 1], n));
        self.0.lock().unwrap().ports.insert(address, Arrived::default());
        Arc::new(Port { net: self.clone(), address })
    }

    pub fn cut(&self, one: SocketAddr, other: SocketAddr) {
        self.0.lock().unwrap().cut.extend([(one, other), (other, one)]);
    }

    /// From now on a tenth of all datagrams is lost, a tenth comes twice, and a tenth before others.
    pub fn worsen(&self, seed: u64) {
        self.0.lock().unwrap().dice = Some(seed | 1);
    }

    pub fn heal(&self) {
        self.0.lock().unwrap().cut.clear();
    }
}

impl Inner {
    /// 0 to 9; a good network throws a nine.
    fn throw(&mut self) -> u64 {
        let Some(dice) = &mut self.dice else { return 9 };
        // xorshift64
        *dice ^= *dice << 13;
        *dice ^= *dice >> 7;
        *dice ^= *dice << 17;
        *dice % 10
    }
}

#[derive(Debug)]
struct Port {
    net: Net,
    address: SocketAddr,
}

impl Datagrams for Port {
    fn try_send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let mut net = self.net.0.lock().unwrap();
        if net.cut.contains(&(self.address, to)) {
            return Ok(());
        }
        let thrown = net.throw();
        let Some(arrived) = net.ports.get_mut(&to) else { return Ok(()) };
        let sent = (self.address, datagram.to_vec());
        match thrown {
            0 => {}
            _ if arrived.datagrams.len() >= HELD_MAX => {}
            1 => arrived.datagrams.extend([sent.clone(), sent]),
            2 => arrived.datagrams.push_front(sent),
            _ => arrived.datagrams.push_back(sent),
        }
        if let Some(waker) = arrived.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut net = self.net.0.lock().unwrap();
        let arrived = net.ports.get_mut(&self.address).expect("the port is there as long as the net");
        match arrived.datagrams.pop_front() {
            Some((from, datagram)) => {
                let length = datagram.len().min(buffer.len());
                buffer[..length].copy_from_slice(&datagram[..length]);
                Poll::Ready(Ok((length, from)))
            }
            None => {
                arrived.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn local(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
