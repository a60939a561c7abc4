//! One file's bytes: what is durable, what readers see, and what lies between the two.

use super::Random;
use std::io;

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

#[derive(Default)]
pub(super) struct Inode {
    durable: Vec<u8>,
    seen: Vec<u8>,
    pending: Vec<Pending>,
}

enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|start| self.seen.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        put(&mut self.seen, bytes, offset);
        self.pending.push(Pending::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.seen.resize(len as usize, 0);
        self.pending.push(Pending::SetLen(len));
    }

    pub(super) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Write { offset, bytes } => put(&mut self.durable, &bytes, offset),
                Pending::SetLen(len) => self.durable.resize(len as usize, 0),
            }
        }
    }

    /// Makes a seeded part of what is pending durable and forgets the rest, which readers still see.
    pub(super) fn lose(&mut self, random: &mut Random) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Write { offset, bytes } => tear(&mut self.durable, &bytes, offset, random),
                Pending::SetLen(len) if random.chance(50) => self.durable.resize(len as usize, 0),
                Pending::SetLen(_) => {}
            }
        }
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        self.lose(random);
        self.seen.clone_from(&self.durable);
    }

    pub(super) fn flip(&mut self, offset: u64, bit: u8) -> io::Result<()> {
        for bytes in [&mut self.durable, &mut self.seen] {
            *bytes.get_mut(offset as usize).ok_or(io::ErrorKind::UnexpectedEof)? ^= 1 << (bit % 8);
        }
        Ok(())
    }
}

fn put(target: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let start = offset as usize;
    let end = start + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[start..end].copy_from_slice(bytes);
}

/// Puts a seeded choice of the write's sectors: all, none, those before a point, those after it, or any.
fn tear(target: &mut Vec<u8>, bytes: &[u8], offset: u64, random: &mut Random) {
    let way = random.below(5);
    let sectors = (offset % SECTOR + bytes.len() as u64).div_ceil(SECTOR);
    let point = random.below(sectors + 1);
    let mut start = 0;
    for sector in 0..sectors {
        let end = ((sector + 1) * SECTOR - offset % SECTOR).min(bytes.len() as u64) as usize;
        let kept = match way {
            0 => true,
            1 => false,
            2 => sector < point,
            3 => sector >= point,
            _ => random.chance(50),
        };
        if kept {
            put(target, &bytes[start..end], offset + start as u64);
        }
        start = end;
    }
}
