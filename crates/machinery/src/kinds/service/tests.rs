//! Tables of defaults, rules and rows.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{created, expect, yaml};

#[test]
fn defaults() {
    for (spec, expected) in [
        (
            "{ports: [{port: 80}]}",
            json!({
                "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            }),
        ),
        (
            "{type: NodePort, sessionAffinity: ClientIP, ports: [{port: 1, targetPort: http, protocol: UDP}]}",
            json!({
                "type": "NodePort", "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster",
                "ports": [{"port": 1, "protocol": "UDP", "targetPort": "http"}],
            }),
        ),
        (
            "{type: LoadBalancer, externalTrafficPolicy: Local}",
            json!({
                "type": "LoadBalancer", "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Local",
                "allocateLoadBalancerNodePorts": true,
            }),
        ),
        (
            "{type: ExternalName, externalName: a.b}",
            json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}),
        ),
    ] {
        let service = created(&RESOURCE, &format!("spec: {spec}"));
        assert_eq!(service["spec"], expected);
        assert_eq!(service["status"], json!({"loadBalancer": {}}));
    }
}

#[test]
fn rules() {
    for (spec, expected) in [
        ("{ports: [{port: 80, targetPort: http}], selector: {app: a}}", &[][..]),
        ("{clusterIP: None}", &[]),
        ("{type: NodePort, ports: [{port: 80, nodePort: 30080}]}", &[]),
        ("{}", &["spec.ports: Required value"]),
        (
            "{type: Odd, ports: [{port: 1}]}",
            &[
                "spec.type: Unsupported value: \"Odd\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ],
        ),
        (
            "{ports: [{port: 0}, {port: 70000, protocol: X, targetPort: '8080'}]}",
            &[
                "spec.ports[0].name: Required value",
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535",
                "spec.ports[0].targetPort: Invalid value: 0: must be between",
                "spec.ports[1].name: Required value",
                "spec.ports[1].port: Invalid value: 70000: must be",
                "spec.ports[1].protocol: Unsupported value: \"X\"",
                "spec.ports[1].targetPort: Invalid value: \"8080\": must contain at least one letter",
            ],
        ),
        (
            "{ports: [{name: a, port: 1}, {name: a, port: 1}]}",
            &["spec.ports[1].name: Duplicate value: \"a\"", "spec.ports[1]: Duplicate value: {"],
        ),
        (
            "{ports: [{port: 80, nodePort: 30080}]}",
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            "{type: NodePort, ports: [{port: 80, nodePort: 80}]}",
            &[
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
            ],
        ),
        (
            "{type: NodePort, clusterIP: None, ports: [{port: 80}]}",
            &[
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            ],
        ),
        (
            "{type: ExternalName, clusterIP: 10.0.0.1}",
            &[
                "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
                "spec.externalName: Required value",
            ],
        ),
        (
            "{ports: [{port: 1}], externalTrafficPolicy: Local, selector: {a: 'b c'}, sessionAffinity: Odd, clusterIP: x}",
            &[
                "spec.selector: Invalid value: \"b c\"",
                "spec.sessionAffinity: Unsupported value: \"Odd\"",
                "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address",
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible",
            ],
        ),
        (
            "{type: LoadBalancer, loadBalancerClass: a/b, externalTrafficPolicy: Local, healthCheckNodePort: 31000, ports: [{port: 1, appProtocol: a/b}]}",
            &[],
        ),
        (
            "{loadBalancerClass: 'a', healthCheckNodePort: 31000, allocateLoadBalancerNodePorts: true, loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 1, appProtocol: a b}]}",
            &[
                "spec.ports[0].appProtocol: Invalid value: \"a b\": name part must consist of",
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
                "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is",
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
                "spec.healthCheckNodePort: Invalid value: 31000: may only be set when `type` is",
            ],
        ),
        (
            "{type: LoadBalancer, loadBalancerClass: 'a b', loadBalancerSourceRanges: [x], healthCheckNodePort: 70000, externalTrafficPolicy: Local, ports: [{port: 1}]}",
            &[
                "spec.LoadBalancerSourceRanges[0]: Invalid value: \"x\": must be a valid CIDR value",
                "spec.loadBalancerClass: Invalid value: \"a b\"",
                "spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535",
            ],
        ),
        (
            "{ipFamilies: [IPv4, IPv4], ipFamilyPolicy: Odd, internalTrafficPolicy: Odd, trafficDistribution: Odd, ports: [{port: 1}]}",
            &[
                "spec.ipFamilyPolicy: Unsupported value: \"Odd\"",
                "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
                "spec.internalTrafficPolicy: Unsupported value: \"Odd\"",
                "spec.trafficDistribution: Unsupported value: \"Odd\"",
            ],
        ),
        (
            "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, externalIPs: [127.0.0.1, 169.254.1.1], ports: [{port: 1}]}",
            &[
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be",
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range",
                "spec.externalIPs[1]: Invalid value: \"169.254.1.1\": may not be in the link-local range",
            ],
        ),
    ] {
        let service = created(&RESOURCE, &format!("spec: {spec}"));
        expect(&(RESOURCE.validate)(&service), expected, spec);
    }
}

#[test]
fn changes() {
    const OLD: &str = "
spec:
  type: NodePort
  clusterIP: 10.96.0.9
  clusterIPs: [10.96.0.9]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  externalTrafficPolicy: Cluster
  internalTrafficPolicy: Cluster
  ports: [{port: 80, protocol: TCP, nodePort: 30080}]
";
    let change = |spec: &str| -> (Value, Value) {
        let (old, mut new) = (yaml(OLD), yaml(&format!("spec: {spec}")));
        (RESOURCE.prepare_update)(&mut new, &old);
        (new, old)
    };
    // What the server gave out stays.
    let (kept, old) = change("{type: NodePort, ports: [{port: 80}, {port: 81}]}");
    assert_eq!(kept["spec"]["clusterIP"], "10.96.0.9");
    assert_eq!(kept["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], 30080);
    assert_eq!(kept["spec"]["ports"][1].get("nodePort"), None);
    expect(&(RESOURCE.validate_update)(&kept, &old), &[], "kept");
    // What the new type cannot have goes, as long as nobody touched it.
    let closed = OLD.replace("NodePort", "ClusterIP");
    let mut closed = yaml(&closed);
    (RESOURCE.prepare_update)(&mut closed, &old);
    assert_eq!(closed["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
    assert_eq!(closed["spec"].get("externalTrafficPolicy"), None);
    let mut named = yaml(&OLD.replace("NodePort", "ExternalName"));
    (RESOURCE.prepare_update)(&mut named, &old);
    assert_eq!(named["spec"].get("clusterIPs"), None);
    // The address stays, whichever field is changed.
    let mut alone = yaml(&OLD.replace("clusterIP: 10.96.0.9", "clusterIP: 10.96.0.10"));
    (RESOURCE.prepare_update)(&mut alone, &old);
    let expected = "spec.clusterIPs[0]: Invalid value: [\"10.96.0.10\"]: may not change once set";
    expect(&(RESOURCE.validate_update)(&alone, &old), &[expected], "alone");
    let (moved, old) =
        change("{clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10], ports: [{port: 80}]}");
    expect(&(RESOURCE.validate_update)(&moved, &old), &[expected], "moved");
}

#[test]
fn rows() {
    for (service, expected) in [
        (
            "{type: ClusterIP, clusterIP: 10.96.0.1, ports: [{port: 443, protocol: TCP}]}",
            ["ClusterIP", "10.96.0.1", "<none>", "443/TCP", "<none>"],
        ),
        (
            "{type: NodePort, clusterIP: 10.96.0.1, selector: {b: c, a: b}, ports: [{port: 80, nodePort: 30080, protocol: TCP}, {port: 53, protocol: UDP}]}",
            ["NodePort", "10.96.0.1", "<none>", "80:30080/TCP,53/UDP", "a=b,b=c"],
        ),
        ("{type: ClusterIP, clusterIP: None}", ["ClusterIP", "None", "<none>", "<none>", "<none>"]),
        ("{type: LoadBalancer}", ["LoadBalancer", "<none>", "<pending>", "<none>", "<none>"]),
        (
            "{type: ExternalName, externalName: a.b}",
            ["ExternalName", "<none>", "a.b", "<none>", "<none>"],
        ),
    ] {
        let row = (RESOURCE.row)(&yaml(&format!("spec: {service}")), 0);
        let [_, kind, cluster, external, ports, _, selector] = &row[..] else { panic!("{row:?}") };
        assert_eq!([kind, cluster, external, ports, selector], expected.each_ref(), "{service}");
    }
}

#[test]
fn families_and_ports_of_nodes() {
    let service =
        json!({"spec": {"type": "ClusterIP", "ipFamilies": ["IPv6", "IPv4", "IPv6", "IPv6"]}});
    let texts: Vec<String> = rules::validate(&service).iter().map(ToString::to_string).collect();
    let twice: Vec<&str> =
        texts.iter().filter(|text| text.contains("Duplicate")).map(String::as_str).collect();
    assert_eq!(
        twice,
        [
            "spec.ipFamilies[2]: Duplicate value: \"IPv6\"",
            "spec.ipFamilies[3]: Duplicate value: \"IPv6\""
        ]
    );
    // Of two earlier ports that are alike the first one counts; what is asked for is not kept.
    let old = json!({"spec": {"type": "NodePort", "ports": [
        {"port": 1, "nodePort": 30001}, {"port": 1, "protocol": "TCP", "nodePort": 30002},
        {"port": 1, "protocol": "UDP", "nodePort": 30003}, {"port": 2, "nodePort": 30004},
    ]}});
    let mut new = json!({"spec": {"type": "NodePort", "ports": [
        {"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"}, {"port": 2},
        {"port": 3, "nodePort": 30004},
    ]}});
    rules::prepare_update(&mut new, &old);
    let given: Vec<&Value> =
        new["spec"]["ports"].as_array().unwrap().iter().map(|port| &port["nodePort"]).collect();
    assert_eq!(given, [&json!(30001), &json!(30003), &Value::Null, &json!(30004)]);
}
