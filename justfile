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

# One seed of the simulated cluster, with its history: `just sim 7`.
sim seed:
    CARGO_PROFILE_TEST_OPT_LEVEL=1 TWINFOLD_SEED={{ seed }} cargo test --workspace --locked --test simulation -- --nocapture what_is_promised

# Seeds of the simulated cluster that nobody has run yet, until one breaks or this is stopped.
soak:
    CARGO_PROFILE_TEST_OPT_LEVEL=1 TWINFOLD_SEEDS="$(date +%s)000..$(date +%s)999999" cargo test --workspace --locked --test simulation -- --nocapture what_is_promised

# Licences, bans and sources as in CI, and the advisories, whose database is fetched.
audit:
    cargo deny check

# One node on loopback, with simulated devices: `just dev --devices 10`.
dev *arguments:
    cargo run --release -- dev {{ arguments }}

# Everything that CI does, in the same order; installs what is missing.
ci:
    .ci/run
