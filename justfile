# The verbs of this repository. `just` lists them.

xtask := "cargo run --quiet --package icecore-xtask --"
target := env_var_or_default("CARGO_TARGET_DIR", "target") / "release"
peers := absolute_path(env_var_or_default("CARGO_TARGET_DIR", "target") / "peers")

# List the verbs
default:
    @just --list

# Everything that must hold before a commit
check: fmt clippy test doc deny tidy

# Is everything formatted?
fmt:
    cargo fmt --all --check

# Lints, as errors
clippy:
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# All tests
test:
    cargo test --workspace

# Clients against a store that fails, is killed and starts again, with so many seeds; `just simulate 0 7`
# takes seed 7 alone
simulate seeds seed="":
    ICECORE_SIMULATION_SEEDS={{seeds}} ICECORE_SIMULATION_SEED={{seed}} \
    cargo test --package icecore-eventstore --test suite simulation::whatever -- --nocapture

# Look for bytes that harm a reader, so many seconds a target (rustup toolchain install nightly, cargo
# install cargo-fuzz)
fuzz seconds="60" target="":
    #!/usr/bin/env bash
    set -euo pipefail
    targets="{{target}}"
    for target in ${targets:-$(cargo +nightly fuzz list --fuzz-dir tests/fuzz)}; do
        mkdir -p "tests/fuzz/found/$target"
        cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none "$target" \
            "tests/fuzz/found/$target" "tests/fuzz/corpus/$target" -- -max_total_time={{seconds}}
    done

# The documentation, warnings as errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# What the repository promises about its sources and dependencies
tidy:
    {{xtask}} tidy

# Licences, sources and doubled versions of dependencies, with cargo-deny (cargo install cargo-deny)
deny:
    cargo deny check bans licenses sources

# The binary as it is shipped, and the chores that try it out
release:
    cargo build --release --package icecore-cli --package icecore-xtask

# Put an event log through the release binary, stop and kill it meanwhile, compare every event
real-log file: release
    {{target}}/icecore-xtask real-log --binary {{target}}/icecore {{file}}

# Kill the release binary under load, so often, and compare every event; then a crowd that is too large
torture kills="1000" seed="1": release
    {{target}}/icecore-xtask torture --binary {{target}}/icecore --kills {{kills}} --seed {{seed}}

# Cut the engine's power at random moments of recordings, each trial twice; `--help` lists what can be set
power-cut *options: disk-trials
    {{target}}/icecore-disk-trials power-cut {{options}}

# Let each system call of a small workload fail in turn
faults *options: disk-trials
    {{target}}/icecore-disk-trials faults {{options}}

# Flip single bits in the files of a closed store
flips *options: disk-trials
    {{target}}/icecore-disk-trials flips {{options}}

# The program that tries the engine out on bad disks
disk-trials:
    cargo build --release --package icecore-disk-trials

# Measure the release binary and the criterion benches, half an hour: one table in target/bench, named by
# the commit; `just bench --rows append-64,read` takes some rows, `--growth` ten million events too
bench *options: release
    {{target}}/icecore-xtask bench --binary {{target}}/icecore {{options}}

# The same in turn with UmaDB, whose server comes from PyPI (needs python3); takes the options of `bench`
bench-peers *options: release
    #!/usr/bin/env bash
    set -euo pipefail
    python3 -m venv "{{peers}}/venv"
    # grpcio-tools has the protoc that builds UmaDB's client.
    "{{peers}}/venv/bin/pip" install --quiet --disable-pip-version-check umadb==0.7.8 grpcio-tools
    PROTOC="{{peers}}/venv/bin/python-grpc-tools-protoc" cargo build --release --locked \
        --manifest-path tests/peers/Cargo.toml --target-dir "{{peers}}"
    {{target}}/icecore-xtask bench --binary {{target}}/icecore --peers "{{peers}}" {{options}}

# KurrentDB's own clients, from their registries, against the release binary (needs python3, npm and cargo)
compat *suites: release
    tests/compat/run {{suites}}

# The relays against real brokers (needs Debian's nats-server and rabbitmq-server, not running)
brokers:
    {{xtask}} suite brokers

# The README's commands with the release binary
readme: release
    {{target}}/icecore-xtask readme --binary {{target}}/icecore

# All of it, as CI does it
ci:
    .ci/run
