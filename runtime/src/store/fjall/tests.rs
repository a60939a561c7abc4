//! What only the store on disk can show.
