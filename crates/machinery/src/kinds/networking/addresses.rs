//! `IPAddress` and `ServiceCIDR`: the addresses of Services, given out and to be given out.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{BASE, GROUP};
use crate::kinds::status_of;
use crate::resource::{Column, NameRule, Resource, Scope};
use crate::table;
use crate::validation::addresses::{self, Range};
use crate::validation::{At, Errors, names};
use crate::value::{at, list_at, set, str_at};

/// The row of `IPAddress`, whose name is the address.
pub const IP_ADDRESS: Resource = Resource {
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    scope: Scope::Cluster,
    name: NameRule::IpAddress,
    columns: &[Column::NAME, Column::text("ParentRef")],
    row: |address, _| vec![table::name(address), parent_text(address).into()],
    validate: validate_address,
    validate_update: |address, old| {
        let mut errors = Errors::new();
        let parent = At::root(address).child("spec.parentRef");
        parent.unchanged(at(old, "spec.parentRef"), &mut errors);
        errors
    },
    ..BASE
};

/// The row of `ServiceCIDR`.
pub const SERVICE_CIDR: Resource = Resource {
    kind: "ServiceCIDR",
    plural: "servicecidrs",
    singular: "servicecidr",
    scope: Scope::Cluster,
    subresources: &[status_of(GROUP, "v1", "ServiceCIDR")],
    has_status: true,
    columns: &[Column::NAME, Column::text("CIDRs"), Column::AGE],
    row: |range, now| {
        let cidrs: Vec<&str> =
            list_at(range, "spec.cidrs").iter().filter_map(Value::as_str).collect();
        vec![table::name(range), cidrs.join(",").into(), table::age(range, now)]
    },
    prepare_create: |range| set(range, "status", json!({})),
    validate: validate_range,
    validate_update: |range, old| {
        let mut errors = Errors::new();
        At::root(range).child("spec.cidrs").unchanged(at(old, "spec.cidrs"), &mut errors);
        errors
    },
    ..BASE
};

/// `services/default/kubernetes`.
fn parent_text(address: &Value) -> String {
    let parent = at(address, "spec.parentRef");
    if parent.is_null() {
        return "<none>".to_owned();
    }
    let field = |name| str_at(parent, name);
    let resource = match field("group") {
        "" => field("resource").to_lowercase(),
        group => format!("{}.{group}", field("resource")).to_lowercase(),
    };
    match field("namespace") {
        "" => format!("{resource}/{}", field("name")),
        namespace => format!("{resource}/{namespace}/{}", field("name")),
    }
}

fn validate_address(address: &Value) -> Errors {
    let mut errors = Errors::new();
    let parent = At::root(address).child("spec.parentRef");
    if !parent.is_set() {
        errors.push(parent.required(""));
        return errors;
    }
    parent.child("group").may(names::dns1123_subdomain, &mut errors);
    for field in ["resource", "name"].map(|field| parent.child(field)) {
        if field.must_be_set(&mut errors) {
            field.must(names::path_segment, &mut errors);
        }
    }
    parent.child("namespace").may(names::path_segment, &mut errors);
    errors
}

fn validate_range(range: &Value) -> Errors {
    let mut errors = Errors::new();
    let cidrs = At::root(range).child("spec.cidrs");
    let whole =
        |detail: &str| FieldError::invalid(&cidrs.path, json!({ "CIDRs": cidrs.value }), detail);
    let ranges: Vec<Option<Range>> = cidrs.items().map(|cidr| Range::parse(cidr.text())).collect();
    match ranges[..] {
        [] => errors.push(cidrs.required("at least one CIDR required")),
        [_] => {}
        [Some(a), Some(b)] if a.is_ipv4() != b.is_ipv4() => {}
        [_, _] => {
            errors.push(whole(
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and \
                 2001:db8::/64",
            ));
            return errors;
        }
        _ => {
            errors.push(whole("may only hold up to 2 values"));
            return errors;
        }
    }
    cidrs.items().for_each(|cidr| addresses::cidr(&cidr, &mut errors));
    errors
}
