//! Rows of the state store as bytes: key and value, each a CBOR byte string, one row after the other.

use minicbor::{Decoder, Encoder};

use crate::store::Row;

/// Bytes of rows after which the next file begins. A row may be longer.
pub(super) const ROWS_BYTES: usize = 1 << 20;

pub(super) fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let mut encoder = Encoder::new(out);
    let put = encoder.bytes(key).and_then(|encoder| encoder.bytes(value)).map(drop);
    put.expect("writing to memory does not fail");
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let mut decoder = Decoder::new(bytes);
    let mut rows = Vec::new();
    while decoder.position() < bytes.len() {
        if decoder.position() >= ROWS_BYTES {
            return Err("it has more rows than a file of state".to_owned());
        }
        let mut part = || decoder.bytes().map(<[u8]>::to_vec).map_err(|error| error.to_string());
        rows.push((part()?, part()?));
    }
    Ok(rows)
}
