//! Pods, addresses, restart, purge.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use onggi_net::{NodeNetwork, Problem, check};
use onggi_node_api::PodNetwork;
use onggi_sys::netlink::NetNs;

use crate::lab::{ask, in_namespace, in_node, instance, options, runtime, set_loopback_up, traces};

#[test]
fn pods_and_node_reach_each_other() {
    in_node(|lab| async move {
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        assert_eq!(a.address, Ipv4Addr::new(10, 244, 0, 2));
        b.serve(8080, "b");
        assert_eq!(a.ask("10.244.0.3:8080").unwrap(), "b 10.244.0.2");
        // The node's probes come from its own address.
        assert_eq!(ask("10.244.0.3:8080").unwrap(), "b 10.244.0.1");
        let listener = std::net::TcpListener::bind("10.96.0.1:443").unwrap();
        let served = std::thread::spawn(move || listener.accept().unwrap().1);
        assert_eq!(a.ask("10.96.0.1:443").unwrap(), "");
        assert_eq!(served.join().unwrap().ip(), a.address);
    });
}

#[test]
fn a_dead_pods_address_is_unreachable_at_once() {
    in_node(|lab| async move {
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        b.serve(8080, "b");
        a.ask("10.244.0.3:8080").unwrap();
        lab.network.teardown("b").await.unwrap();
        lab.network.teardown("b").await.unwrap();
        assert_eq!(a.ask("10.244.0.3:8080").unwrap_err().kind(), ErrorKind::HostUnreachable);
        assert_eq!(ask("10.244.0.3:8080").unwrap_err().kind(), ErrorKind::HostUnreachable);
        assert_eq!(ask("10.244.200.3:8080").unwrap_err().kind(), ErrorKind::HostUnreachable);
        lab.network.drained().await;
        assert!(!format!("{:?}", traces()).contains(&b.interface));
        // The freed address comes last.
        assert_eq!(lab.pod("c").await.address, Ipv4Addr::new(10, 244, 0, 4));
    });
}

#[test]
fn setup_is_idempotent_and_survives_a_restart() {
    in_node(|lab| async move {
        let a = lab.pod("a").await;
        a.serve(8080, "a");
        let fd = || a.netns.as_fd().try_clone_to_owned().unwrap();
        let before = traces();
        assert_eq!(lab.network.setup("a", fd()).await.unwrap().ips, [a.address]);
        let again = NodeNetwork::open(options(lab.directory.path())).unwrap();
        assert_eq!(again.leases(), [("a".to_owned(), a.address)]);
        assert_eq!(again.setup("a", fd()).await.unwrap().ips, [a.address]);
        assert_eq!(traces(), before);
        assert_eq!(ask("10.244.0.2:8080").unwrap(), "a 10.244.0.1");
        // The same sandbox in a new namespace: connected anew, with its address.
        let other = NetNs::new().unwrap();
        let status = again.setup("a", other.as_fd().try_clone_to_owned().unwrap()).await.unwrap();
        assert_eq!(status.ips, [a.address]);
        assert_eq!(ask("10.244.0.2:8080").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        again.retain(&[]).await.unwrap();
        again.drained().await;
        assert!(again.leases().is_empty());
    });
}

#[test]
fn a_hundred_pods_come_and_go_and_purge_leaves_nothing() {
    in_namespace(|| {
        set_loopback_up();
        let before = traces();
        let directory = tempfile::tempdir().unwrap();
        let mut pods = Vec::new();
        runtime().block_on(async {
            let network = NodeNetwork::open(options(directory.path())).unwrap();
            let start = std::time::Instant::now();
            for index in 0..100 {
                let netns = NetNs::new().unwrap();
                let fd = netns.as_fd().try_clone_to_owned().unwrap();
                network.setup(&format!("pod-{index}"), fd).await.unwrap();
                pods.push(netns);
            }
            println!("a pod connected in {:?}", start.elapsed() / 100);
            let start = std::time::Instant::now();
            for index in 0..50 {
                network.teardown(&format!("pod-{index}")).await.unwrap();
            }
            println!("a pod disconnected in {:?}", start.elapsed() / 50);
            network.drained().await;
            println!("50 interfaces deleted after {:?}", start.elapsed());
            assert_eq!(network.leases().len(), 50);
        });
        assert_ne!(traces(), before);
        let start = std::time::Instant::now();
        NodeNetwork::purge(&instance()).unwrap();
        println!("purged in {:?}", start.elapsed());
        assert_eq!(traces(), before);
        NodeNetwork::purge(&instance()).unwrap();
    });
}

#[test]
fn what_is_taken_is_named() {
    in_node(|lab| async move {
        let mine = options(lab.directory.path());
        assert_eq!(check(&mine), []);
        let mut other = mine.clone();
        other.instance = onggi_net::Instance::new("other").unwrap();
        let problems = check(&other);
        let other = |problem: &Problem| matches!(problem, Problem::OtherInstance { instance, .. } if instance == "lab00001");
        assert!(problems.len() == 2 && problems.iter().all(other), "{problems:?}");
    });
}

#[test]
fn no_address_is_left() {
    in_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut options = options(directory.path());
        options.node_cidr = "10.244.0.0/29".parse().unwrap();
        runtime().block_on(async {
            let network = NodeNetwork::open(options).unwrap();
            let pods: Vec<_> = (0..6).map(|_| NetNs::new().unwrap()).collect();
            let mut errors = Vec::new();
            for (index, pod) in pods.iter().enumerate() {
                let fd = pod.as_fd().try_clone_to_owned().unwrap();
                errors.extend(network.setup(&index.to_string(), fd).await.err());
            }
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, ["no free address in 10.244.0.0/29: 5 pods use all of them"]);
        });
    });
}
