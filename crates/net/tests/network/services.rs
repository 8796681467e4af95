//! Services: translation, refusal, node ports, updates.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use onggi_base::Shutdown;
use onggi_client::SharedInformers;
use onggi_client::testing::FakeApi;
use onggi_net::Proxy;
use onggi_net::proxy::Protocol::{Tcp, Udp};
use onggi_net::proxy::slots::Slots;
use onggi_node_api::PodNetwork;
use onggi_sys::nft::{Batch, Nft};
use serde_json::json;

use crate::lab::{ask, ask_udp, desired, in_node, udp_client};

const VIP: Option<&str> = Some("10.96.0.7");

#[test]
fn a_cluster_address_reaches_its_endpoints() {
    in_node(|lab| async move {
        let (a, b, c) = (lab.pod("a").await, lab.pod("b").await, lab.pod("c").await);
        b.serve(8080, "b");
        c.serve(8080, "c");
        let proxy = Proxy::new(lab.network.clone());
        let revision = proxy.applied();
        let both = vec![b.endpoint(8080), c.endpoint(8080)];
        let services = desired(&[("s", VIP, Tcp, 80, Slots::Random(2), both)]);
        proxy.apply(&services, 7).await.unwrap();
        assert_eq!(*revision.borrow(), 7);
        let answers: Vec<_> = (0..40).map(|_| a.ask("10.96.0.7:80").unwrap()).collect();
        for expected in ["b 10.244.0.2", "c 10.244.0.2"] {
            assert!(answers.iter().any(|answer| answer == expected), "{answers:?}");
        }
        assert!(ask("10.96.0.7:80").unwrap().ends_with(" 10.244.0.1"));

        let one = vec![c.endpoint(8080)];
        let services = desired(&[("s", VIP, Tcp, 80, Slots::Random(1), one)]);
        proxy.apply(&services, 8).await.unwrap();
        let answers: Vec<_> = (0..20).map(|_| a.ask("10.96.0.7:80").unwrap()).collect();
        assert!(answers.iter().all(|answer| answer == "c 10.244.0.2"), "{answers:?}");
    });
}

#[test]
fn without_endpoints_it_is_refused_at_once() {
    in_node(|lab| async move {
        let a = lab.pod("a").await;
        let proxy = Proxy::new(lab.network.clone());
        proxy.apply(&desired(&[]), 1).await.unwrap();
        for address in ["10.96.0.7:80", "10.96.200.200:1"] {
            assert_eq!(a.ask(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert_eq!(ask(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        let error = a.netns.run(|| {
            let socket = udp_client();
            socket.connect("10.96.0.7:53").unwrap();
            socket.send(b"?").unwrap();
            socket.recv(&mut [0; 8]).unwrap_err()
        });
        assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_pod_reaches_itself() {
    in_node(|lab| async move {
        let a = lab.pod("a").await;
        a.serve(8080, "a");
        let proxy = Proxy::new(lab.network.clone());
        let own = vec![a.endpoint(8080)];
        let services = desired(&[("s", VIP, Tcp, 80, Slots::Random(1), own)]);
        proxy.apply(&services, 1).await.unwrap();
        assert_eq!(a.ask("10.96.0.7:80").unwrap(), "a 10.244.0.1");
    });
}

#[test]
fn a_node_port_answers_everywhere() {
    in_node(|lab| async move {
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        b.serve(8080, "b");
        b.serve_udp(5353, "b");
        let proxy = Proxy::new(lab.network.clone());
        let services = desired(&[
            ("s", None, Tcp, 30080, Slots::Random(1), vec![b.endpoint(8080)]),
            ("u", None, Udp, 30053, Slots::Random(1), vec![b.endpoint(5353)]),
        ]);
        assert!(proxy.apply(&services, 1).await.unwrap().conflicts.is_empty());
        assert_eq!(a.ask("10.244.0.1:30080").unwrap(), "b 10.244.0.2");
        assert_eq!(ask("127.0.0.1:30080").unwrap(), "b 10.244.0.1");
        assert_eq!(ask("[::1]:30080").unwrap(), "b 10.244.0.1");
        assert_eq!(ask_udp(&udp_client(), "127.0.0.1:30053").unwrap(), "b");
        proxy.apply(&desired(&[]), 2).await.unwrap();
        // The listener's task ends with its token; the port is free when it has.
        while TcpListener::bind("127.0.0.1:30080").is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask("127.0.0.1:30080").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(a.ask("10.244.0.1:30080").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_world_sees_the_node_and_pods_see_the_world() {
    in_node(|lab| async move {
        let outside = lab.outside();
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        outside.serve(80, "world");
        b.serve(8080, "b");
        // A pod goes out with the node's address there.
        assert_eq!(a.ask("192.0.2.2:80").unwrap(), "world 192.0.2.1");
        let proxy = Proxy::new(lab.network.clone());
        let services = desired(&[
            ("s", None, Tcp, 30080, Slots::Random(1), vec![b.endpoint(8080)]),
            ("w", None, Tcp, 30081, Slots::Random(1), vec![outside.endpoint(80)]),
            ("v", VIP, Tcp, 80, Slots::Random(1), vec![outside.endpoint(80)]),
        ]);
        proxy.apply(&services, 1).await.unwrap();
        // A pod of this node sees who asks.
        assert_eq!(outside.ask("192.0.2.1:30080").unwrap(), "b 192.0.2.2");
        // Elsewhere the answer must come back this way.
        assert_eq!(outside.ask("192.0.2.1:30081").unwrap(), "world 192.0.2.1");
        assert_eq!(a.ask("10.96.0.7:80").unwrap(), "world 192.0.2.1");
        assert_eq!(ask("10.96.0.7:80").unwrap(), "world 192.0.2.1");
    });
}

#[test]
fn a_taken_node_port_is_named_and_tried_again() {
    in_node(|lab| async move {
        let b = lab.pod("b").await;
        b.serve(8080, "b");
        let holder = TcpListener::bind("127.0.0.1:30081").unwrap();
        let proxy = Proxy::new(lab.network.clone());
        let services =
            desired(&[("s", None, Tcp, 30081, Slots::Random(1), vec![b.endpoint(8080)])]);
        let conflicts = proxy.apply(&services, 1).await.unwrap().conflicts;
        assert!(conflicts[0].starts_with("node port 30081/TCP on 127.0.0.1: "), "{conflicts:?}");
        drop(holder);
        assert!(proxy.apply(&services, 1).await.unwrap().conflicts.is_empty());
        assert_eq!(ask("127.0.0.1:30081").unwrap(), "b 10.244.0.1");
    });
}

#[test]
fn affinity_keeps_a_client_and_many_endpoints_are_all_reached() {
    in_node(|lab| async move {
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        let ports: Vec<u16> = (9000..9020).collect();
        for port in &ports {
            b.serve(*port, Box::leak(format!("{port}").into_boxed_str()));
        }
        let many: Vec<_> = ports.iter().map(|port| b.endpoint(*port)).collect();
        let proxy = Proxy::new(lab.network.clone());
        let random = Slots::for_endpoints(many.len(), false);
        let sticky = Slots::for_endpoints(many.len(), true);
        let services = desired(&[
            ("many", VIP, Tcp, 80, random, many.clone()),
            ("same", VIP, Tcp, 81, sticky, many.clone()),
        ]);
        proxy.apply(&services, 1).await.unwrap();
        let distinct = |address: &str, count: usize| {
            (0..count)
                .map(|_| a.ask(address).unwrap())
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        };
        // Missing one of 20 in 400 has a chance of about 1 in 10 million.
        assert_eq!(distinct("10.96.0.7:80", 400), 20);
        assert_eq!(distinct("10.96.0.7:81", 20), 1);
    });
}

#[test]
fn a_dead_pods_connections_are_reset_at_the_next_packet() {
    in_node(|lab| async move {
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        let listener = b.netns.run(|| TcpListener::bind("0.0.0.0:8080")).unwrap().unwrap();
        let proxy = Proxy::new(lab.network.clone());
        let own = vec![b.endpoint(8080)];
        let services = desired(&[("s", VIP, Tcp, 80, Slots::Random(1), own)]);
        proxy.apply(&services, 1).await.unwrap();
        let mut client = a.netns.run(|| TcpStream::connect("10.96.0.7:80")).unwrap().unwrap();
        let _server = listener.accept().unwrap();
        proxy.apply(&desired(&[]), 2).await.unwrap();
        // Withdrawn, the connection goes on; with the pod's end it ends.
        client.write_all(b"?").unwrap();
        lab.network.teardown("b").await.unwrap();
        lab.network.drained().await;
        client.write_all(b"?").unwrap();
        let error = client.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn udp_clients_move_to_the_endpoint_that_is_left() {
    in_node(|lab| async move {
        let (a, b, c) = (lab.pod("a").await, lab.pod("b").await, lab.pod("c").await);
        b.serve_udp(53, "b");
        c.serve_udp(53, "c");
        let proxy = Proxy::new(lab.network.clone());
        let to = |pod: &crate::lab::Pod| {
            desired(&[("s", VIP, Udp, 53, Slots::Random(1), vec![pod.endpoint(53)])])
        };
        proxy.apply(&to(&b), 1).await.unwrap();
        let client = a.netns.run(udp_client).unwrap();
        assert_eq!(ask_udp(&client, "10.96.0.7:53").unwrap(), "b");
        proxy.apply(&to(&c), 2).await.unwrap();
        assert_eq!(ask_udp(&client, "10.96.0.7:53").unwrap(), "c");
    });
}

#[test]
fn flushed_rules_and_an_earlier_process_are_taken_up() {
    in_node(|lab| async move {
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        b.serve(8080, "b");
        a.serve(8080, "a");
        let own = vec![b.endpoint(8080)];
        let services = desired(&[("s", VIP, Tcp, 80, Slots::Random(1), own.clone())]);
        let first = Proxy::new(lab.network.clone());
        assert_eq!(first.apply(&services, 1).await.unwrap().changed, 2);
        // Another process finds what is there and changes nothing.
        let second = Proxy::new(lab.network.clone());
        assert_eq!(second.apply(&services, 1).await.unwrap().changed, 0);
        let mut batch = Batch::new("onggi-lab00001");
        batch.delete_table();
        Nft::open().unwrap().commit(batch).unwrap();
        let services = desired(&[
            ("s", VIP, Tcp, 80, Slots::Random(1), own),
            ("t", VIP, Tcp, 81, Slots::Random(1), vec![a.endpoint(8080)]),
        ]);
        second.apply(&services, 2).await.unwrap();
        assert_eq!(a.ask("10.96.0.7:80").unwrap(), "b 10.244.0.2");
        assert_eq!(a.ask("10.96.0.7:81").unwrap(), "a 10.244.0.1");
    });
}

#[test]
fn a_thousand_services() {
    in_node(|lab| async move {
        let proxy = Proxy::new(lab.network.clone());
        let names: Vec<_> = (0..1000).map(|n| format!("s{n}")).collect();
        let addresses: Vec<_> =
            (0..1000_u32).map(|n| Ipv4Addr::from(0x0a60_1000 + n).to_string()).collect();
        let endpoints = |n: u32, version: u32| -> Vec<_> {
            (0..3)
                .map(|k| SocketAddrV4::new(Ipv4Addr::from(0x0af4_0000 + n * 8 + k + version), 80))
                .collect()
        };
        let services = |changed: u32, version: u32| {
            let all: Vec<_> = (0..1000_u32)
                .map(|n| {
                    let version = if n == changed { version } else { 0 };
                    let (name, address) = (&names[n as usize], &addresses[n as usize]);
                    let endpoints = endpoints(n, version);
                    (name.as_str(), Some(address.as_str()), Tcp, 80, Slots::Random(3), endpoints)
                })
                .collect();
            desired(&all)
        };
        let all = services(0, 0);
        let start = Instant::now();
        proxy.apply(&all, 1).await.unwrap();
        println!("1,000 services loaded in {:?}", start.elapsed());
        // As the loop over informers does it: one plan is new, the others are the same Arc.
        let mut times = Vec::new();
        let mut all = all;
        for version in 1..=21 {
            let changed = services(500, version);
            let name = onggi_net::proxy::Name::new("d", "s500");
            all.insert(name.clone(), changed[&name].clone());
            let start = Instant::now();
            proxy.apply(&all, 1 + u64::from(version)).await.unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        println!("one of 1,000 services changed in {:?} (p50), {:?} (max)", times[10], times[20]);
    });
}

#[test]
fn the_api_is_followed() {
    in_node(|lab| async move {
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        b.serve(8080, "b");
        let api = FakeApi::new();
        // First, since the revision that is waited for counts EndpointSlices.
        api.put(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s", "namespace": "d"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]}}))
            .unwrap();
        let shutdown = Shutdown::new();
        let informers = SharedInformers::new(api.transport(), shutdown.clone());
        let proxy = Arc::new(Proxy::new(lab.network.clone()));
        let running = tokio::spawn({
            let (proxy, shutdown) = (proxy.clone(), shutdown.clone());
            async move { proxy.run("n1", &informers, &informers, shutdown).await }
        });
        let slice = |ready: bool| {
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": "s-1", "namespace": "d",
                    "labels": {"kubernetes.io/service-name": "s"}},
                "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
                "endpoints": [{"addresses": [b.address.to_string()],
                    "conditions": {"ready": ready}}]})
        };
        let mut applied = proxy.applied();
        for (ready, expected) in
            [(true, Ok("b 10.244.0.2")), (false, Err(ErrorKind::ConnectionRefused))]
        {
            let object = api.put(slice(ready)).unwrap();
            let revision = object.head().resource_version;
            applied.wait_for(|now| *now >= revision).await.unwrap();
            let answer = a.ask("10.96.0.7:80").map_err(|error| error.kind());
            assert_eq!(answer, expected.map(str::to_owned));
        }
        shutdown.cancel();
        running.await.unwrap().unwrap();
    });
}

#[test]
fn host_ports_lead_to_their_pod() {
    in_node(|lab| async move {
        let (a, b) = (lab.pod("a").await, lab.pod("b").await);
        let outside = lab.outside();
        b.serve(8080, "b");
        b.serve(8081, "b too");
        let api = FakeApi::new();
        let pod = |phase: &str| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "namespace": "d"},
                "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [
                    {"containerPort": 8080, "hostPort": 80},
                    {"containerPort": 8080, "hostPort": 81, "hostIP": "192.0.2.1"},
                    {"containerPort": 8081, "hostPort": 81, "hostIP": "127.0.0.1"}]}]},
                "status": {"phase": phase, "podIP": b.address.to_string()}})
        };
        api.put(pod("Running")).unwrap();
        let shutdown = Shutdown::new();
        let informers = SharedInformers::new(api.transport(), shutdown.clone());
        let proxy = Arc::new(Proxy::new(lab.network.clone()));
        let running = tokio::spawn({
            let (proxy, shutdown) = (proxy.clone(), shutdown.clone());
            async move { proxy.run("n1", &informers, &informers, shutdown).await }
        });
        // What counts as applied is a revision of slices.
        let slice = |name: &str| {
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": name, "namespace": "d"},
                "addressType": "IPv4", "ports": [], "endpoints": []})
        };
        let mut applied = proxy.applied();
        let seen = api.put(slice("one")).unwrap().head().resource_version;
        applied.wait_for(|now| *now >= seen).await.unwrap();
        assert_eq!(outside.ask("192.0.2.1:80").unwrap(), "b 192.0.2.2");
        assert_eq!(outside.ask("192.0.2.1:81").unwrap(), "b 192.0.2.2");
        assert_eq!(a.ask("192.0.2.1:80").unwrap(), format!("b {}", a.address));
        assert!(ask("127.0.0.1:80").unwrap().starts_with("b 10.244."));
        assert!(ask("127.0.0.1:81").unwrap().starts_with("b too 10.244."));
        // A pod that reaches itself by way of its node.
        assert!(b.ask("192.0.2.1:80").unwrap().starts_with("b "));
        api.put(pod("Failed")).unwrap();
        let refused = |address: &str| {
            outside.ask(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        };
        while !refused("192.0.2.1:80") || !refused("192.0.2.1:81") {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask("127.0.0.1:81").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        shutdown.cancel();
        running.await.unwrap().unwrap();
    });
}
