//! Roles, bindings, budgets, quotas, limits, priorities.

use onggi_machinery::table::selector_text;
use onggi_machinery::value::{at, entries_at, i64_at, list_at, str_at};
use serde_json::Value;

use super::batch::bracketed;
use super::text::Text;
use crate::jsonpath::text_of;

pub(super) fn role(text: &mut Text, role: &Value) {
    text.field(0, "Name", str_at(role, "metadata.name"));
    text.labels(role);
    text.annotations(role);
    text.line(0, "PolicyRule:");
    text.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
    text.line(1, "---------\t-----------------\t--------------\t-----");
    for row in rules(list_at(role, "rules").iter()) {
        text.line(1, &row);
    }
}

/// What a line says: a resource of a group, with one name or all, or a path.
#[derive(Debug, Clone, Default, PartialEq)]
struct Row {
    group: String,
    resource: String,
    name: String,
    path: String,
    verbs: Vec<Value>,
}

impl Row {
    /// kubectl orders them by what Go prints of the rule.
    fn key(&self) -> String {
        let Self { group, resource, name, path, verbs } = self;
        let verbs = bracketed(verbs);
        format!("{verbs},[{group}],[{resource}],[{name}],[{path}]")
    }

    fn line(&self) -> String {
        let (plain, part) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let part = if part.is_empty() { String::new() } else { format!("/{part}") };
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let verbs = bracketed(&self.verbs);
        format!("{plain}{group}{part}\t[{}]\t[{}]\t{verbs}", self.path, self.name)
    }
}

/// Lines of rules: one resource a line, verbs of the same put together; one path and verb a line.
pub fn rules<'a>(rules: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        list_at(rule, field).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let (mut rows, mut paths): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
    let mut add = |row: Row, verbs: &[Value]| {
        let at = rows.iter().position(|known| Row { verbs: Vec::new(), ..known.clone() } == row);
        let at = at.unwrap_or_else(|| {
            rows.push(row);
            rows.len() - 1
        });
        for verb in verbs {
            if !rows[at].verbs.contains(verb) {
                rows[at].verbs.push(verb.clone());
            }
        }
    };
    for rule in rules {
        let verbs = list_at(rule, "verbs");
        let names = match texts(rule, "resourceNames") {
            names if names.is_empty() => vec![String::new()],
            names => names,
        };
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for name in &names {
                    let (group, resource, name) = (group.clone(), resource.clone(), name.clone());
                    add(Row { group, resource, name, ..Row::default() }, verbs);
                }
            }
        }
        for path in texts(rule, "nonResourceURLs") {
            let one = |verb: &Value| Row {
                path: path.clone(),
                verbs: vec![verb.clone()],
                ..Row::default()
            };
            paths.extend(verbs.iter().map(one));
        }
    }
    rows.append(&mut paths);
    rows.sort_by_key(Row::key);
    rows.iter().map(Row::line).collect()
}

pub(super) fn role_binding(text: &mut Text, binding: &Value) {
    text.field(0, "Name", str_at(binding, "metadata.name"));
    text.labels(binding);
    text.annotations(binding);
    text.line(0, "Role:");
    text.field(1, "Kind", str_at(binding, "roleRef.kind"));
    text.field(1, "Name", str_at(binding, "roleRef.name"));
    text.line(0, "Subjects:");
    text.line(1, "Kind\tName\tNamespace");
    text.line(1, "----\t----\t---------");
    for subject in list_at(binding, "subjects") {
        let of = |field: &str| str_at(subject, field);
        text.line(1, &format!("{}\t{}\t{}", of("kind"), of("name"), of("namespace")));
    }
}

pub(super) fn budget(text: &mut Text, budget: &Value) {
    text.field(0, "Name", str_at(budget, "metadata.name"));
    text.field(0, "Namespace", str_at(budget, "metadata.namespace"));
    for (label, path) in
        [("Min available", "spec.minAvailable"), ("Max unavailable", "spec.maxUnavailable")]
    {
        let bound = at(budget, path);
        if !bound.is_null() {
            text.field(0, label, &text_of(bound));
        }
    }
    let selector = at(budget, "spec.selector");
    let selector = if selector.is_null() { "<unset>".to_owned() } else { selector_text(selector) };
    text.field(0, "Selector", &selector);
    text.line(0, "Status:");
    for (label, path) in [
        ("Allowed disruptions", "status.disruptionsAllowed"),
        ("Current", "status.currentHealthy"),
        ("Desired", "status.desiredHealthy"),
        ("Total", "status.expectedPods"),
    ] {
        text.field(2, label, &i64_at(budget, path).unwrap_or(0).to_string());
    }
}

pub(super) fn priority(text: &mut Text, priority: &Value) {
    text.field(0, "Name", str_at(priority, "metadata.name"));
    text.field(0, "Value", &i64_at(priority, "value").unwrap_or(0).to_string());
    let default = at(priority, "globalDefault").as_bool().unwrap_or(false);
    text.field(0, "GlobalDefault", if default { "true" } else { "false" });
    text.field(0, "PreemptionPolicy", str_at(priority, "preemptionPolicy"));
    text.field(0, "Description", str_at(priority, "description"));
    let annotations = super::storage::pairs(priority, "metadata.annotations");
    text.field(0, "Annotations", &annotations);
}

pub(super) fn quota(text: &mut Text, quota: &Value) {
    text.field(0, "Name", str_at(quota, "metadata.name"));
    text.field(0, "Namespace", str_at(quota, "metadata.namespace"));
    scopes(text, 0, quota, " * ");
    text.line(0, "Resource\tUsed\tHard");
    text.line(0, "--------\t----\t----");
    for (name, hard) in entries_at(quota, "status.hard") {
        let used = at(quota, "status.used").get(name).map_or_else(|| "0".to_owned(), text_of);
        text.line(0, &format!("{name}\t{used}\t{}", text_of(hard)));
    }
}

pub(super) fn limits(text: &mut Text, range: &Value) {
    text.field(0, "Name", str_at(range, "metadata.name"));
    text.field(0, "Namespace", str_at(range, "metadata.namespace"));
    limits_table(text, &[range], "");
}

/// The limits of ranges, an item of a resource a line.
fn limits_table(text: &mut Text, ranges: &[&Value], indent: &str) {
    for line in [
        "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio",
        "----\t--------\t---\t---\t---------------\t-------------\t-----------------------",
    ] {
        text.line(0, &format!("{indent}{line}"));
    }
    for item in ranges.iter().flat_map(|range| list_at(range, "spec.limits")) {
        const FIELDS: [&str; 5] =
            ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
        let mut names: Vec<&str> =
            FIELDS.iter().flat_map(|f| entries_at(item, f).map(|(key, _)| key)).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let cell = |field: &&str| {
                let amount = at(item, field).get(name);
                amount.map_or_else(|| "-".to_owned(), text_of)
            };
            let cells: Vec<String> = FIELDS.iter().map(cell).collect();
            let kind = str_at(item, "type");
            text.line(0, &format!("{indent}{kind}\t{name}\t{}", cells.join("\t")));
        }
    }
}

/// Those of a namespace.
pub(super) fn ranges(text: &mut Text, ranges: &[&Value]) {
    text.line(0, "");
    if ranges.is_empty() {
        text.line(0, "No LimitRange resource.");
        return;
    }
    text.line(0, "Resource Limits");
    limits_table(text, ranges, " ");
}

/// Which pods a quota counts.
fn scopes(text: &mut Text, level: usize, quota: &Value, bullet: &str) {
    let scopes = list_at(quota, "spec.scopes");
    if scopes.is_empty() {
        return;
    }
    let mut names: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    text.field(level, "Scopes", &names.join(", "));
    for name in names {
        let meaning = match name {
            "Terminating" => {
                "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being actively terminated by the system."
            }
            "NotTerminating" => {
                "Matches all pods that do not have an active deadline. These pods usually include long running pods whose container command is not expected to terminate."
            }
            "BestEffort" => {
                "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service."
            }
            "NotBestEffort" => {
                "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed quality of service."
            }
            _ => continue,
        };
        text.line(level, &format!("{bullet}{meaning}"));
    }
}

/// Those of a namespace.
pub(super) fn quotas(text: &mut Text, quotas: &[&Value]) {
    text.line(0, "");
    if quotas.is_empty() {
        text.line(0, "No resource quota.");
        return;
    }
    text.line(0, "Resource Quotas");
    for quota in quotas {
        text.field(1, "Name", str_at(quota, "metadata.name"));
        scopes(text, 1, quota, "* ");
        text.line(1, "Resource\tUsed\tHard");
        text.line(1, "--------\t---\t---");
        for (name, hard) in entries_at(quota, "status.hard") {
            let used = at(quota, "status.used").get(name).map_or_else(|| "0".to_owned(), text_of);
            text.line(1, &format!("{name}\t{used}\t{}", text_of(hard)));
        }
    }
}
