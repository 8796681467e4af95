//! Tests: what is wrong with objects of core, apps, batch and autoscaling, and with their changes.

use serde_json::Value;

use super::testing::{created, expect, yaml};
use super::{
    controllerrevision, cronjob, daemonset, event, horizontalpodautoscaler, limitrange,
    persistentvolume, persistentvolumeclaim, replicationcontroller, resourcequota, statefulset,
};
use crate::resource::Resource;
use crate::value::set;

const POD: &str = "{metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}";
const ONCE: &str = "{spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}";

fn object(resource: &Resource, rest: &str) -> Value {
    let rest = rest.replace("POD", POD).replace("ONCE", ONCE);
    created(resource, &format!("metadata: {{name: x, namespace: d}}\n{rest}"))
}

#[test]
fn new_objects() {
    let rows: &[(&Resource, &str, &[&str])] = &[
        (&replicationcontroller::RESOURCE, "spec: {template: POD}", &[]),
        (
            &replicationcontroller::RESOURCE,
            "spec: {selector: {a: c}, template: POD}",
            &["spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not"],
        ),
        (
            &replicationcontroller::RESOURCE,
            "spec: {replicas: -1, template: {spec: {activeDeadlineSeconds: 1, containers: [{name: c, image: i}]}}}",
            &[
                "spec.selector: Required value",
                "spec.replicas: Invalid value: -1",
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicationController",
            ],
        ),
        (
            &statefulset::RESOURCE,
            "spec: {selector: {matchLabels: {a: b}}, serviceName: s, template: POD}",
            &[],
        ),
        (
            &statefulset::RESOURCE,
            "spec: {podManagementPolicy: Odd, updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}, persistentVolumeClaimRetentionPolicy: {whenDeleted: Never}, selector: {}, template: POD}",
            &[
                "spec.podManagementPolicy: Invalid value: \"Odd\": must be 'OrderedReady' or 'Parallel'",
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
                "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"Never\"",
                "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
            ],
        ),
        (
            &daemonset::RESOURCE,
            "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0}}, selector: {matchLabels: {a: b}}, template: POD}",
            &[
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
            ],
        ),
        (
            &cronjob::RESOURCE,
            "spec: {schedule: 'TZ=UTC * * * *', concurrencyPolicy: Maybe, jobTemplate: {spec: {selector: {}, template: ONCE}}}",
            &[
                "spec.schedule: Invalid value: \"TZ=UTC * * * *\": expected exactly 5 fields, found 4: [* * * *]",
                "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
                "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
                "spec.schedule: Invalid value: \"TZ=UTC * * * *\": cannot use TZ or CRON_TZ in schedule",
            ],
        ),
        (
            &cronjob::RESOURCE,
            "spec: {schedule: '@daily', timeZone: Mars/Base, jobTemplate: {spec: {template: POD}}}",
            &[
                "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values",
                "spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base",
            ],
        ),
        (
            &horizontalpodautoscaler::RESOURCE,
            "spec: {minReplicas: 0, maxReplicas: -1, scaleTargetRef: {kind: a/b, name: ''}, metrics: [{type: Pods, resource: {name: cpu, target: {type: Share}}}]}",
            &[
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                "spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1",
                "spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`",
                "spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'",
                "spec.scaleTargetRef.name: Required value",
                "spec.scaleTargetRef.apiVersion: Invalid value: \"\": apiVersion must specify",
                "spec.metrics[0].resource.target.type: Invalid value: \"Share\": must be either",
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either",
                "spec.metrics[0].pods: Required value: must populate information for the given metric source",
            ],
        ),
        (
            &persistentvolume::RESOURCE,
            "spec: {capacity: {cpu: 0}, hostPath: {path: /}, nfs: {server: s, path: x}, persistentVolumeReclaimPolicy: Recycle}",
            &[
                "spec.accessModes: Required value",
                "spec.capacity: Unsupported value: {\"cpu\":\"0\"}: supported values: \"storage\"",
                "spec.capacity[cpu]: Invalid value: \"0\": must be greater than zero",
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ],
        ),
        (
            &persistentvolumeclaim::RESOURCE,
            "spec: {accessModes: [ReadWriteOncePod, ReadWriteOnce], dataSource: {kind: Snapshot, name: s}}",
            &[
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                "spec.resources[storage]: Required value",
                "spec.dataSource: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when",
                "spec.dataSourceRef: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when",
            ],
        ),
        (
            &limitrange::RESOURCE,
            "spec: {limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}, maxLimitRequestRatio: {cpu: 500m}}, {type: Pod, default: {cpu: 1}}, {type: PersistentVolumeClaim}]}",
            &[
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1",
                "spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
                "spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod'",
                "spec.limits[2].limits: Required value: either minimum or maximum storage value",
            ],
        ),
        (
            &resourcequota::RESOURCE,
            "spec: {hard: {pods: 1500m, things: 1, requests.memory: -1}, scopes: [BestEffort, NotBestEffort]}",
            &[
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "spec.hard[requests.memory]: Invalid value: \"-1\": must be greater than or equal to 0",
                "spec.hard[things]: Invalid value: \"things\": must be a standard resource type",
                "spec.hard[things]: Invalid value: \"things\": must be a standard resource for quotas",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ],
        ),
        (
            &controllerrevision::RESOURCE,
            "revision: -1",
            &["data: Required value: data is mandatory", "revision: Invalid value: -1"],
        ),
        (
            &event::RESOURCE,
            "eventTime: '2026-01-01T00:00:00.000000Z'\nreportingComponent: a b\nreason: r\ninvolvedObject: {namespace: d}",
            &[
                "reportingController: Invalid value: \"a b\": name part must consist of",
                "reportingInstance: Required value",
                "action: Required value",
            ],
        ),
    ];
    for (resource, rest, expected) in rows {
        let object = object(resource, rest);
        let mut errors = (resource.validate)(&object);
        errors.extend((resource.validate_create)(&object));
        expect(&errors, expected, rest);
    }
}

#[test]
fn changes() {
    let claim = "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}";
    let set_of_three = "spec: {selector: {matchLabels: {a: b}}, serviceName: s, template: POD}";
    let rows: &[(&Resource, &str, &str, Value, &[&str])] = &[
        (&statefulset::RESOURCE, set_of_three, "spec.replicas", 3.into(), &[]),
        (
            &statefulset::RESOURCE,
            set_of_three,
            "spec.serviceName",
            "t".into(),
            &["spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"],
        ),
        (
            &statefulset::RESOURCE,
            set_of_three,
            "status.readyReplicas",
            1.into(),
            &["status.readyReplicas: Invalid value: 1: cannot be greater than status.replicas"],
        ),
        (&persistentvolumeclaim::RESOURCE, claim, "spec.volumeName", "v".into(), &[]),
        (
            &persistentvolumeclaim::RESOURCE,
            claim,
            "spec.resources.requests.storage",
            "3Gi".into(),
            &["spec: Forbidden: spec is immutable after creation except resources.requests and"],
        ),
        (
            &persistentvolume::RESOURCE,
            "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}}",
            "spec.hostPath.path",
            "/y".into(),
            &["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable"],
        ),
        (
            &controllerrevision::RESOURCE,
            "revision: 1\ndata: {a: 1}",
            "data.a",
            2.into(),
            &["data: Invalid value: {\"a\":2}: field is immutable"],
        ),
    ];
    for (resource, rest, path, value, expected) in rows {
        let old = object(resource, rest);
        let mut new = old.clone();
        set(&mut new, path, value.clone());
        expect(&(resource.validate_update)(&new, &old), expected, path);
    }
    // What is bound may grow, and not shrink.
    let mut bound = object(&persistentvolumeclaim::RESOURCE, claim);
    set(&mut bound, "status.phase", "Bound");
    for (amount, expected) in [
        ("3Gi", &[][..]),
        ("1Gi", &["spec.resources.requests.storage: Forbidden: field can not be less than"]),
    ] {
        let mut new = bound.clone();
        set(&mut new, "spec.resources.requests.storage", amount);
        let errors = (persistentvolumeclaim::RESOURCE.validate_update)(&new, &bound);
        expect(&errors, expected, amount);
    }
}

#[test]
fn defaults() {
    let made = object(
        &limitrange::RESOURCE,
        "spec: {limits: [{type: Container, max: {cpu: 2}, min: {memory: 1Mi}}]}",
    );
    assert_eq!(
        made["spec"]["limits"][0],
        yaml(
            "{type: Container, max: {cpu: '2'}, min: {memory: 1Mi}, default: {cpu: '2'}, defaultRequest: {cpu: '2', memory: 1Mi}}"
        )
    );
    let made = object(
        &statefulset::RESOURCE,
        "spec: {selector: {matchLabels: {a: b}}, template: POD, volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]}",
    );
    assert_eq!(
        made["spec"]["volumeClaimTemplates"][0],
        yaml(
            "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, spec: {resources: {}, volumeMode: Filesystem}, status: {phase: Pending}}"
        )
    );
    let mut set_of_nodes =
        object(&daemonset::RESOURCE, "spec: {selector: {matchLabels: {a: b}}, template: POD}");
    let generation = |object: &Value| {
        object["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone()
    };
    assert_eq!(generation(&set_of_nodes), "1");
    let old = set_of_nodes.clone();
    set(&mut set_of_nodes, "spec.template.spec.hostNetwork", true);
    (daemonset::RESOURCE.prepare_update)(&mut set_of_nodes, &old);
    assert_eq!(generation(&set_of_nodes), "2");
}
