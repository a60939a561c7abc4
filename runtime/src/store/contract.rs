//! What every state store keeps. Each claim runs against both, in a shard of its own and with neighbours.
