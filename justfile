# The verbs of this repository. `just` lists them.

xtask := "cargo run --quiet --package icecore-xtask --"
release-xtask := "cargo run --quiet --release --package icecore-xtask --"

# List the verbs
default:
    @just --list

# Everything that must hold before a commit
check: fmt clippy test doc tidy

# Is everything formatted?
fmt:
    cargo fmt --all --check

# Lints, as errors
clippy:
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# All tests
test:
    cargo test --workspace

# The documentation, warnings as errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# What the repository promises about its sources and dependencies
tidy:
    {{xtask}} tidy

# Licences, sources and doubled versions of dependencies, with cargo-deny (cargo install cargo-deny)
deny:
    cargo deny check bans licenses sources

# Put an event log through the release binary, stop and kill it meanwhile, compare every event
real-log file:
    {{release-xtask}} real-log {{file}}

# The README's commands with the release binary
readme:
    {{release-xtask}} readme

# All of it, as CI does it
ci:
    .ci/run
