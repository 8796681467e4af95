//! Controllers by `--controllers`.

use std::sync::Arc;

use onggi_base::{Shutdown, SystemClock};
use onggi_controllers::{Chosen, Controllers, Options};

use crate::world::World;

/// Whoever runs them takes an early end for a failure.
#[tokio::test]
async fn none_at_all_last_until_the_shutdown() {
    let world = World::without_kubelet().await;
    let options = Options { chosen: Chosen::parse(&["-*".into()]).unwrap(), ..Options::default() };
    let shutdown = Shutdown::new();
    let controllers = Controllers::new(options, world.informers.clone(), Arc::new(SystemClock));
    let mut running = controllers.run(shutdown.clone());
    assert!(futures::poll!(&mut running).is_pending());
    shutdown.cancel();
    running.await;
}
