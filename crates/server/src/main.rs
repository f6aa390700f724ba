//! The binary. All of it is in [`server::cli`].

fn main() -> std::process::ExitCode {
    server::cli::main()
}
