//! `up`, `down`, and what must not be there after it.

use crate::network::get;
use crate::rig::Cluster;

#[test]
fn up_is_idempotent_and_down_leaves_nothing() {
    let Some(cluster) = Cluster::up() else { return };
    assert!(cluster.ok(&["up"]).contains("runs already"));
    let instance = std::fs::read_dir("/run/onggi").unwrap().count();
    assert!(instance > 0);
    cluster.ok(&["down"]);
    assert!(cluster.data().join("VERSION").exists(), "the data stays");
    let links = cluster.inside(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    assert_eq!(links.lines().count(), 3, "only lo is left: {links}");
    let routes = cluster.inside(|| std::fs::read_to_string("/proc/thread-self/net/route").unwrap());
    assert_eq!(routes.lines().count(), 1, "no route is left: {routes}");
    assert!(cluster.ok(&["down"]).contains("did not run"));
    cluster.ok(&["up"]);
}

#[test]
fn two_clusters_side_by_side() {
    let (Some(one), Some(two)) = (Cluster::up(), Cluster::up()) else { return };
    assert_ne!(one.ok(&["kubeconfig"]), two.ok(&["kubeconfig"]));
}

#[test]
fn a_second_one_in_the_same_network_is_refused_by_name() {
    let Some(cluster) = Cluster::up() else { return };
    let other = cluster.data().with_file_name("other");
    let said = cluster.onggi(&["up", "--data-dir", &other.display().to_string()]);
    assert!(!said.ok);
    assert!(said.err.contains("127.0.0.1:6443"), "{}", said.err);
    assert!(said.err.contains("10.244.0.0/16 is taken"), "{}", said.err);
    cluster.ok(&["down", "--data-dir", &other.display().to_string(), "--purge"]);
}

#[test]
fn the_demonstration_is_open_on_a_port_of_its_own() {
    let Some(cluster) = Cluster::new() else { return };
    let taken = cluster.inside(|| std::net::TcpListener::bind("0.0.0.0:30080").unwrap());
    let said = cluster.onggi(&["demo"]);
    assert!(!said.ok && said.err.contains("port 30080"), "{}", said.err);
    drop(taken);
    let said = cluster.ok(&["demo"]);
    assert!(said.contains("The shop is open"), "{said}");
    let answer = get(&cluster, "127.0.0.1:30080", "/product-composite/1").unwrap();
    assert!(answer.contains("Kimchi jar"), "{answer}");
    let again = cluster.ok(&["demo"]);
    assert!(again.contains("deployment.apps/product unchanged"), "{again}");
}
