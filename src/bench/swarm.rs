//! Many connections on one thread: epoll, one read buffer for all, whole buffers in and out. Who speaks over one is a
//! [`Speaks`] without a socket, and may be given another connection when the one before has ended.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::client::{Client, Counts};
use super::credentials::Shown;
use super::way::Way;

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// How many events are taken at once.
const EVENTS: usize = 256;
/// How many connections one source address makes: fewer than it has ports that the system gives out.
const PER_SOURCE: usize = 20_000;
/// What a connection that reads slowly asks for as its receive buffer.
const SMALL_BUFFER: usize = 4 << 10;
/// The longest wait for events, so that what is asked of a swarm is seen.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Who speaks over a connection of a swarm, without its socket. Times are the swarm's.
pub(super) trait Speaks {
    fn is_open(&self) -> bool;
    fn is_closed(&self) -> bool;
    /// Makes what is to be sent by now.
    fn fill(&mut self, now: u64);
    /// What is to be sent.
    fn out(&self) -> &[u8];
    /// So many bytes of it were.
    fn was_sent(&mut self, bytes: usize);
    /// Takes what was read.
    fn take(&mut self, bytes: &[u8], now: u64, counts: &mut Counts);
    /// The connection has ended.
    fn close(&mut self, why: &str, counts: &mut Counts);
}

/// Connections with their clients. Times are nanoseconds since it was made.
pub(super) struct Swarm<C = Client> {
    epoll: OwnedFd,
    begin: Instant,
    members: Vec<Member<C>>,
    scratch: Vec<u8>,
    /// How many connections have ended, and which since that was asked.
    gone: usize,
    ended: Vec<usize>,
    /// How many clients were ever let in, and how many connections were ever there.
    let_in: usize,
    reached: usize,
    pub(super) counts: Counts,
}

struct Member<C> {
    way: Way,
    /// None says nothing at all.
    client: Option<C>,
    reads: bool,
    /// It waits until the socket takes more.
    is_blocked: bool,
    is_reached: bool,
    is_gone: bool,
}

/// How a connection behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Reads what comes.
    Reads,
    /// Never reads, and has little room for what it does not read.
    NeverReads,
}

impl<C: Speaks> Swarm<C> {
    pub(super) fn new(begin: Instant) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            begin,
            members: Vec::new(),
            scratch: vec![0; READ_BYTES],
            gone: 0,
            ended: Vec::new(),
            let_in: 0,
            reached: 0,
            counts: Counts::new(),
        })
    }

    pub(super) fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
    }

    /// Begins to connect, with TLS where a certificate is shown. What a client says at first is sent when the connection is
    /// there.
    pub(super) fn connect(
        &mut self,
        target: SocketAddr,
        shown: &Shown,
        client: Option<C>,
        manner: Manner,
    ) -> io::Result<()> {
        let number = self.members.len();
        let member = Member {
            way: Way::new(socket(target, source(target, number), manner)?, shown.config())?,
            client,
            reads: manner == Manner::Reads,
            is_blocked: true,
            is_reached: false,
            is_gone: false,
        };
        let events = EventFlags::OUT | member.hears();
        epoll::add(&self.epoll, &member.way, EventData::new_u64(number as u64), events)?;
        self.members.push(member);
        Ok(())
    }

    /// Begins to connect a client whose connection has ended, perhaps to another target.
    pub(super) fn connect_again(
        &mut self,
        number: usize,
        target: SocketAddr,
        shown: &Shown,
    ) -> io::Result<()> {
        let member = &mut self.members[number];
        debug_assert!(member.is_gone, "one connection at a time");
        let way = Way::new(socket(target, source(target, number), Manner::Reads)?, shown.config())?;
        let events = EventFlags::OUT | EventFlags::IN;
        epoll::add(&self.epoll, &way, EventData::new_u64(number as u64), events)?;
        let client = member.client.take();
        *member = Member { way, client, reads: true, is_blocked: true, is_reached: false, is_gone: false };
        self.gone -= 1;
        Ok(())
    }

    /// Ends a connection.
    pub(super) fn hang_up(&mut self, number: usize, why: &str) {
        self.end(number, why);
    }

    /// The connections that have ended since this was asked last.
    pub(super) fn ended(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.ended)
    }

    /// A client, by the number of its connection.
    pub(super) fn client(&mut self, number: usize) -> Option<&mut C> {
        self.members.get_mut(number)?.client.as_mut()
    }

    /// The clients, in the order in which they were made.
    pub(super) fn clients(&mut self) -> impl Iterator<Item = &mut C> {
        self.members.iter_mut().filter_map(|member| member.client.as_mut())
    }

    /// How many clients are let in; how many connections have ended.
    pub(super) fn open_and_gone(&self) -> (usize, usize) {
        let is_open = |member: &&Member<C>| member.client.as_ref().is_some_and(C::is_open);
        (self.members.iter().filter(is_open).count(), self.gone)
    }

    /// How many clients were let in, those included that have ended since.
    pub(super) fn let_in(&self) -> usize {
        self.let_in
    }

    /// How many connections have ended.
    pub(super) fn gone(&self) -> usize {
        self.gone
    }

    /// How many connections were there, those included that have ended since.
    pub(super) fn reached(&self) -> usize {
        self.reached
    }

    /// Turns until all clients are let in or have failed, or until a time; whether they are all in.
    pub(super) fn open_all(&mut self, until: u64) -> bool {
        while self.now() < until {
            if self.let_in + self.gone >= self.members.len() {
                return self.gone == 0;
            }
            self.turn(until);
        }
        false
    }

    /// Lets a client say what is due.
    pub(super) fn speak(&mut self, number: usize) {
        let now = self.now();
        let member = &mut self.members[number];
        if let Some(client) = &mut member.client {
            client.fill(now);
        }
        self.flush(number);
    }

    /// Waits for events until a time at most, and lets each client that has one do what it does.
    pub(super) fn turn(&mut self, until: u64) {
        let wait = Duration::from_nanos(until.saturating_sub(self.now())).min(WAIT_MAX);
        let wait = Timespec { tv_sec: wait.as_secs() as _, tv_nsec: wait.subsec_nanos().into() };
        let mut space = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        // Interrupted by a signal, it is waited again in the next turn.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut space, Some(&wait)) else { return };
        for &mut Event { flags, data } in events {
            let number = data.u64() as usize;
            let readable = EventFlags::IN | EventFlags::ERR | EventFlags::HUP;
            if flags.intersects(readable) && self.members[number].reads {
                self.read(number);
            } else if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                self.end(number, "the connection ended");
            }
            if flags.contains(EventFlags::OUT) {
                self.unblock(number);
            }
            self.speak(number);
        }
    }

    fn read(&mut self, number: usize) {
        let member = &mut self.members[number];
        if member.is_gone {
            return;
        }
        match member.way.read(&mut self.scratch) {
            Ok(0) => self.end(number, "the target closed the connection"),
            Ok(length) => {
                let now = self.begin.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
                let Some(client) = &mut member.client else { return };
                let was_open = client.is_open();
                client.take(&self.scratch[..length], now, &mut self.counts);
                self.let_in += usize::from(client.is_open() && !was_open);
                if client.is_closed() {
                    self.end(number, "");
                }
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => self.end(number, &error.to_string()),
        }
    }

    fn flush(&mut self, number: usize) {
        let member = &mut self.members[number];
        let Some(client) = &mut member.client else { return };
        if member.is_blocked || member.is_gone || (client.out().is_empty() && !member.way.owes()) {
            return;
        }
        match member.way.write(client.out()) {
            Ok(length) => {
                client.was_sent(length);
                if !client.out().is_empty() || member.way.owes() {
                    self.block(number, true);
                }
            }
            Err(error) if is_passing(&error) => {
                let waits_for_room = member.way.waits_for_room();
                self.block(number, waits_for_room);
            }
            Err(error) => self.end(number, &error.to_string()),
        }
    }

    /// The socket takes more again; at first, it is connected.
    fn unblock(&mut self, number: usize) {
        let member = &mut self.members[number];
        if !member.is_blocked || member.is_gone {
            return;
        }
        self.reached += usize::from(!std::mem::replace(&mut member.is_reached, true));
        self.block(number, false);
    }

    fn block(&mut self, number: usize, is_blocked: bool) {
        let member = &mut self.members[number];
        member.is_blocked = is_blocked;
        let events = if is_blocked { EventFlags::OUT | member.hears() } else { member.hears() };
        // It is registered; what fails here is said by the next read or write.
        let _failed = epoll::modify(&self.epoll, &member.way, EventData::new_u64(number as u64), events);
    }

    fn end(&mut self, number: usize, why: &str) {
        let member = &mut self.members[number];
        if std::mem::replace(&mut member.is_gone, true) {
            return;
        }
        self.gone += 1;
        self.ended.push(number);
        let _failed = epoll::delete(&self.epoll, &member.way);
        member.way.end();
        if let Some(client) = &mut member.client {
            client.close(why, &mut self.counts);
        }
    }
}

impl<C> Member<C> {
    fn hears(&self) -> EventFlags {
        if self.reads { EventFlags::IN } else { EventFlags::empty() }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected)
}

fn socket(target: SocketAddr, source: Option<SocketAddr>, manner: Manner) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if manner == Manner::NeverReads {
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
    }
    if let Some(source) = source {
        socket.bind(&SockAddr::from(source))?;
    }
    match socket.connect(&SockAddr::from(target)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// The address that connection comes from: on loopback another one for each 20,000, since ports run out.
fn source(target: SocketAddr, number: usize) -> Option<SocketAddr> {
    let IpAddr::V4(ip) = target.ip() else { return None };
    let last = u8::try_from(number / PER_SOURCE + 1).ok()?;
    (ip.is_loopback() && last > 1).then(|| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_an_address_has_ports_come_from_more_addresses() {
        let target = "127.0.0.1:1883".parse().unwrap();
        assert_eq!(source(target, 19_999), None);
        assert_eq!(source(target, 20_000), Some("127.0.0.2:0".parse().unwrap()));
        assert_eq!(source("192.0.2.1:1883".parse().unwrap(), 20_000), None);
    }

    #[test]
    fn who_is_not_there_is_an_error_and_no_wait() {
        let mut swarm = Swarm::new(Instant::now()).unwrap();
        let speech = super::super::client::Speech {
            qos: 1,
            window: 1,
            payload: 100,
            about: super::super::client::About::Reports,
        };
        // Port 1 is of a service that nobody has run for decades.
        let target = "127.0.0.1:1".parse().unwrap();
        swarm.connect(target, &Shown::Nothing, Some(Client::new("d", None, speech)), Manner::Reads).unwrap();

        let is_open = swarm.open_all(10_000_000_000);

        assert!(!is_open && swarm.now() < 5_000_000_000);
        assert!(swarm.counts.why.is_some());
    }
}
