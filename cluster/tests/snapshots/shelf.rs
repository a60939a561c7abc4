//! The states of shards as the runtime keeps them, as plain as can be: one file a shard, on a disk that loses its power.

use bytes::Bytes;
use runtime::files::{Files, sim::Sim};
use runtime::replica::{Origin, Replicas, Saved, Staged};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

const FOLDER: &str = "states";
const MARK: &[u8] = b"a state";
/// The longest state that anybody is sent here.
const STATE_MAX: u64 = 4 << 20;

/// What a shard's state is: the payloads of its entries, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) applied: u64,
    pub(crate) payloads: Vec<Bytes>,
}

/// The states of a node.
pub(crate) struct Shelf {
    disk: Sim,
    drafts: AtomicU64,
    /// How often a state was packed.
    pub(crate) packed: AtomicU64,
    /// How many that were staged and not discarded are there.
    pub(crate) staged: Arc<AtomicU64>,
    /// Whoever packs says so and waits here, in the middle of the state.
    pause: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

impl Shelf {
    pub(crate) fn new(disk: &Sim) -> Arc<Self> {
        disk.create_folder(Path::new(FOLDER)).unwrap();
        let disk = disk.clone();
        Arc::new(Self {
            disk,
            drafts: AtomicU64::new(0),
            packed: AtomicU64::new(0),
            staged: Arc::default(),
            pause: Mutex::default(),
        })
    }

    /// From now on the next packing stops in the middle: the first hears of it, and dropping the second lets it go on.
    pub(crate) fn pause(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((arrived, arrival), (go, goes)) = (mpsc::channel(), mpsc::channel());
        *self.pause.lock().unwrap() = Some((arrived, goes));
        (arrival, go)
    }

    /// Writes a checkpoint.
    pub(crate) fn save(&self, shard: u32, state: &State) -> io::Result<()> {
        self.write(&path(shard), state, None)
    }

    pub(crate) fn load(&self, shard: u32) -> State {
        self.read(shard).unwrap().map(|(state, _)| state).unwrap_or_default()
    }

    fn write(&self, path: &Path, state: &State, origin: Option<&Origin>) -> io::Result<()> {
        let mut bytes = encode(state);
        if let Some(Origin { term, membership }) = origin {
            bytes.extend(term.to_le_bytes());
            bytes.extend(membership);
        }
        let draft = self.draft();
        let file = self.disk.create(&draft)?;
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        self.disk.rename(&draft, path)?;
        self.disk.sync_folder(Path::new(FOLDER))
    }

    fn draft(&self) -> PathBuf {
        Path::new(FOLDER).join(format!("draft-{}", self.drafts.fetch_add(1, Ordering::Relaxed)))
    }

    fn read(&self, shard: u32) -> io::Result<Option<(State, Option<Origin>)>> {
        let file = match self.disk.open(&path(shard)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; file.len()? as usize];
        file.read_at(&mut bytes, 0)?;
        let mut rest = &bytes[..];
        let state = decode(&mut rest).map_err(io::Error::other)?;
        let origin = rest.split_first_chunk().map(|(term, membership)| Origin {
            term: u64::from_le_bytes(*term),
            membership: membership.to_vec(),
        });
        Ok(Some((state, origin)))
    }
}

impl Replicas for Shelf {
    fn saved(&self, shard: u32) -> Result<Option<Saved>, String> {
        let read = self.read(shard).map_err(text)?;
        Ok(read.map(|(state, origin)| Saved { applied: state.applied, origin }))
    }

    fn pack(&self, shard: u32, out: &mut dyn Write) -> Result<u64, String> {
        self.packed.fetch_add(1, Ordering::Relaxed);
        let (state, _) = self.read(shard).map_err(text)?.ok_or("there is no state")?;
        let bytes = encode(&state);
        let half = bytes.len() / 2;
        for (at, piece) in bytes.chunks(1000).enumerate() {
            if (at * 1000..(at + 1) * 1000).contains(&half)
                && let Some((arrived, goes)) = self.pause.lock().unwrap().take()
            {
                out.flush().map_err(text)?;
                arrived.send(()).unwrap_or_default();
                goes.recv().unwrap_or_default();
            }
            out.write_all(piece).map_err(text)?;
        }
        Ok(state.applied)
    }

    fn stage(&self, shard: u32, from: &mut dyn Read) -> Result<Box<dyn Staged>, String> {
        let mut bytes = Vec::new();
        from.take(STATE_MAX + 1).read_to_end(&mut bytes).map_err(text)?;
        if bytes.len() as u64 > STATE_MAX {
            return Err("the state has no end".to_owned());
        }
        let mut rest = &bytes[..];
        let state = decode(&mut rest)?;
        if !rest.is_empty() {
            return Err("more follows the state".to_owned());
        }
        let draft = self.draft();
        let file = self.disk.create(&draft).map_err(text)?;
        file.write_at(&bytes, 0).and_then(|()| file.sync_data()).map_err(text)?;
        self.staged.fetch_add(1, Ordering::Relaxed);
        let shelf = Self {
            disk: self.disk.clone(),
            drafts: AtomicU64::new(self.drafts.fetch_add(1, Ordering::Relaxed)),
            packed: AtomicU64::new(0),
            staged: self.staged.clone(),
            pause: Mutex::default(),
        };
        Ok(Box::new(Beside { shelf, shard, state, draft }))
    }

    fn forget(&self, shard: u32) -> Result<(), String> {
        match self.disk.remove(&path(shard)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(text(error)),
            _ => self.disk.sync_folder(Path::new(FOLDER)).map_err(text),
        }
    }
}

/// A state beside a shard's own.
struct Beside {
    shelf: Shelf,
    shard: u32,
    state: State,
    draft: PathBuf,
}

impl Staged for Beside {
    fn install(self: Box<Self>, applied: u64, origin: Origin) -> Result<(), String> {
        if applied != self.state.applied {
            return Err(format!("the state contains {} and not {applied}", self.state.applied));
        }
        self.shelf.write(&path(self.shard), &self.state, Some(&origin)).map_err(text)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.shelf.disk.remove(&self.draft));
        self.shelf.staged.fetch_sub(1, Ordering::Relaxed);
    }
}

fn path(shard: u32) -> PathBuf {
    Path::new(FOLDER).join(format!("shard-{shard}"))
}

/// A mark, the index, how many payloads there are, and each with its length before it.
fn encode(state: &State) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.extend(state.applied.to_le_bytes());
    bytes.extend((state.payloads.len() as u64).to_le_bytes());
    for payload in &state.payloads {
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(payload);
    }
    bytes
}

fn decode(bytes: &mut &[u8]) -> Result<State, String> {
    *bytes = bytes.strip_prefix(MARK).ok_or("this is no state")?;
    let applied = number(bytes)?;
    let count = number(bytes)?;
    let mut payloads = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(number(bytes)?).map_err(text)?;
        let (payload, rest) = bytes.split_at_checked(length).ok_or("a payload is cut off")?;
        payloads.push(Bytes::copy_from_slice(payload));
        *bytes = rest;
    }
    Ok(State { applied, payloads })
}

fn number(bytes: &mut &[u8]) -> Result<u64, String> {
    let (number, rest) = bytes.split_first_chunk().ok_or("a number is cut off")?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*number))
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
