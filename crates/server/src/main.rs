//! The binary. All of it is in [`server::cli`].

/// Why this one: docs/decisions/0006-the-allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    server::cli::main()
}
