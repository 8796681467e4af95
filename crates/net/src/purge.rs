//! Removing an instance from the kernel.

use onggi_sys::netlink::route::{Changes, RouteSocket};
use onggi_sys::nft::{Batch, Nft};

use crate::instance::ROUTE_PROTOCOL;
use crate::{Error, Instance};

/// Removes everything of the instance; goes on after a failure and answers the first.
pub(crate) fn purge(instance: &Instance) -> Result<(), Error> {
    let interfaces = purge_interfaces(instance);
    let routes = purge_routes(instance);
    let rules = purge_rules(instance);
    interfaces.and(routes).and(rules)
}

fn purge_interfaces(instance: &Instance) -> Result<(), Error> {
    let mut socket = RouteSocket::open()?;
    let links = socket.links()?;
    let names: Vec<_> = links
        .into_iter()
        .map(|link| link.name)
        .filter(|name| instance.owns_interface(name))
        .collect();
    Ok(socket.delete_links(&names, instance.metric())?)
}

fn purge_routes(instance: &Instance) -> Result<(), Error> {
    let mut socket = RouteSocket::open()?;
    let mut changes = Changes::default();
    let mut routes = socket.routes()?;
    // Those that prefer a local address as source go before that address.
    routes.sort_by_key(|route| std::cmp::Reverse(route.source));
    for route in routes {
        if route.protocol == ROUTE_PROTOCOL && route.metric == instance.metric() {
            changes.delete_route(&route);
        }
    }
    Ok(socket.commit(changes)?)
}

fn purge_rules(instance: &Instance) -> Result<(), Error> {
    let mut nft = Nft::open()?;
    if nft.tables()?.contains(&instance.table()) {
        let mut batch = Batch::new(&instance.table());
        batch.delete_table();
        nft.commit(batch)?;
    }
    Ok(())
}
