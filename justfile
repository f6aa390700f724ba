# What is done often. `just` lists it.

default:
    @just --list

# The main job: embedded store, example rules.
serve *ARGS:
    cargo run --release -- serve {{ARGS}}

# Everything that `cargo` alone can check.
test:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# What a merge has to pass.
ci:
    .ci/run

# More seeds of the simulation than the suite runs.
simulate FROM TO:
    BUSBAR_SEEDS={{FROM}}..{{TO}} cargo test --release -p server --test simulation every

# The figures of docs/benchmarks.md.
bench *ARGS:
    cargo run --release -- bench {{ARGS}}
