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

# The files that the matching benchmarks read, 1.4 GB and two minutes; the manifests say whether they are the same bytes as everywhere.
bench-data:
    #!/usr/bin/env bash
    set -euo pipefail
    folder="${BUSBAR_BENCH_DATA:-target/bench-data}"
    for kind in hard lots bus; do
        python3 benches/data/gen.py "$kind" "$folder"
        cmp "$folder/manifest-$kind.json" "benches/data/manifest-$kind.json"
    done

# What matching costs: rows by name, all when none is given (`-- --list` prints them).
bench-matching *ROWS:
    cargo bench -p rule-engine --bench matching -- {{ROWS}}

# Our matcher and its peers in turn, and the table of docs/benchmarks.md. Wants Maven, Java 17 and Go; who is missing has no column.
bench-peers *ARGS:
    python3 benches/peers/run.py {{ARGS}}

# The JSON Schemas of operator documents, as `busbar jsonschema` prints them.
schemas:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build -p server
    busbar="${CARGO_TARGET_DIR:-target}/debug/busbar"
    for kind in $("$busbar" --json jsonschema | python3 -c 'import json, sys; print(*json.load(sys.stdin))'); do
        "$busbar" jsonschema "$kind" > "docs/schemas/$kind.json"
    done
