//! The binary.
use server::config::Config;
use server::serve::Server;
fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let server = Server::start(Config::default()).await.expect("start");
        println!("{}", server.api);
        let _ = tokio::signal::ctrl_c().await;
        std::process::exit(server.stop().await);
    });
}
