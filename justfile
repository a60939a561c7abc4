# The project's errands. `just` lists them.

_list:
    @just --list --unsorted

# What a change must pass. Writes nothing but the build folder.
verify:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
    cargo check --package twins --no-default-features --locked
    cargo clippy --package twinfold --all-targets --features otlp --locked -- -D warnings
    cargo test --workspace --locked
    cargo test --features otlp --test otlp --locked

# Formats, and applies what clippy can correct by itself.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# All tests, or those whose names contain a word: `just test passivat`.
test *words:
    cargo test --workspace --locked {{ words }}

# Licences, bans and sources as in CI, and the advisories, whose database is fetched.
audit:
    cargo deny check

# One node on loopback, with simulated devices: `just dev --devices 10`.
dev *arguments:
    cargo run --release -- dev {{ arguments }}

# Everything that CI does, in the same order; installs what is missing.
ci:
    .ci/run
