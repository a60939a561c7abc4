//! How what has no form of its own is written, and how much of it is read: whoever claims more is refused.

use std::sync::Arc;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// How many things one list may have.
pub(crate) const LIST_MAX: usize = 8_192;

/// A list of known length.
pub(super) mod list {
    use super::*;

    pub(in super::super) fn encode<C, T: Encode<C>, W: Write>(
        list: &[T],
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        list.encode(e, context)
    }

    pub(in super::super) fn decode<'b, C, T: Decode<'b, C>>(
        d: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Vec<T>, DecodeError> {
        (0..length(d)?).map(|_| T::decode(d, context)).collect()
    }
}

/// A list of what is shared.
pub(super) mod shared {
    use super::*;

    pub(in super::super) fn encode<C, T: Encode<C>, W: Write>(
        list: &[Arc<T>],
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(list.len() as u64)?;
        list.iter().try_for_each(|one| one.as_ref().encode(e, context))
    }

    pub(in super::super) fn decode<'b, C, T: Decode<'b, C>>(
        d: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Vec<Arc<T>>, DecodeError> {
        (0..length(d)?).map(|_| T::decode(d, context).map(Arc::new)).collect()
    }
}

/// What may be there and is shared.
pub(super) mod found {
    use super::*;

    pub(in super::super) fn encode<C, T: Encode<C>, W: Write>(
        found: &Option<Arc<T>>,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        found.as_deref().encode(e, context)
    }

    pub(in super::super) fn decode<'b, C, T: Decode<'b, C>>(
        d: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Option<Arc<T>>, DecodeError> {
        Option::<T>::decode(d, context).map(|found| found.map(Arc::new))
    }
}

/// Bytes that mean nothing here.
pub(super) mod octets {
    use bytes::Bytes;

    use super::*;

    pub(in super::super) fn encode<C, W: Write>(
        bytes: &Bytes,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(bytes)?.ok()
    }

    pub(in super::super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Bytes, DecodeError> {
        d.bytes().map(Bytes::copy_from_slice)
    }
}

fn length(d: &mut Decoder<'_>) -> Result<usize, DecodeError> {
    let at = d.position();
    match d.array()? {
        Some(length) if length <= LIST_MAX as u64 => Ok(length as usize),
        Some(length) => Err(DecodeError::message(format!("a list of {length}, more than {LIST_MAX}")).at(at)),
        None => Err(DecodeError::message("a list without its length").at(at)),
    }
}
