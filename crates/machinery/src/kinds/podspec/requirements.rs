//! What is wrong with what containers and pods ask for: amounts, and claims of devices.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use onggi_api::{FieldError, FieldPath, Quantity};
use serde_json::Value;

use super::is_sidecar;
use crate::validation::{At, Errors, NEGATIVE, names};
use crate::value::{at, entries_at, list_at};

/// Resources that a container may ask for without a domain in front.
const PLAIN: &[&str] = &["cpu", "ephemeral-storage", "memory"];
/// Names without a domain that mean something somewhere.
const STANDARD: &[&str] = &[
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "resourcequotas",
    "secrets",
    "services",
    "storage",
];
const HUGE: &str = "hugepages-";

/// Whether a container or a pod may ask for a resource of this name.
type NameRule = fn(&str, &FieldPath, &mut Errors);

/// `resources` of a container.
pub(super) fn container(resources: &At<'_>, known: &Claims<'_>, errors: &mut Errors) {
    if resources.value.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    requirements(resources, container_name, errors);
    claims_of_container(&resources.child("claims"), known, errors);
}

/// `resources` of a pod: what its containers ask for and may use together.
pub(super) fn pod(spec: &At<'_>, errors: &mut Errors) {
    let resources = spec.child("resources");
    if !resources.is_set() {
        return;
    }
    if spec.child("os.name").text() == "windows" {
        errors.push(resources.forbidden("may not be set for a windows pod"));
        return;
    }
    let claims = resources.child("claims");
    if claims.is_set() {
        errors.push(claims.forbidden("claims may not be set for Resources at pod-level"));
    }
    requirements(&resources, pod_name, errors);
    consistent(spec, &resources, errors);
}

/// `overhead`: amounts as of a container's limits.
pub(super) fn overhead(spec: &At<'_>, errors: &mut Errors) {
    let overhead = spec.child("overhead");
    for (name, amount) in overhead.entries() {
        let path = overhead.path.child("limits").key(name);
        container_name(name, &path, errors);
        quantity(name, amount.text(), &path, errors);
    }
}

// === Names and amounts ===

fn requirements(resources: &At<'_>, name_rule: NameRule, errors: &mut Errors) {
    let (limits, requests) = (resources.child("limits"), resources.child("requests"));
    let (mut huge, mut compute) = (false, false);
    for map in [&limits, &requests] {
        for (name, amount) in map.entries() {
            name_rule(name, &amount.path, errors);
            quantity(name, amount.text(), &amount.path, errors);
            huge |= name.starts_with(HUGE);
            compute |= matches!(name, "cpu" | "memory");
        }
    }
    for (name, amount) in requests.entries() {
        let Some(limit) = limits.value.get(name).and_then(Value::as_str) else {
            if !overcommits(name) {
                errors.push(limits.required("Limit must be set for non overcommitable resources"));
            }
            continue;
        };
        let (Ok(asked), Ok(most)) = (amount.text().parse::<Quantity>(), limit.parse::<Quantity>())
        else {
            continue;
        };
        let detail = if !overcommits(name) && asked != most {
            format!("must be equal to {name} limit of {limit}")
        } else if asked > most {
            format!("must be less than or equal to {name} limit of {limit}")
        } else {
            continue;
        };
        errors.push(FieldError::invalid(&requests.path, amount.text(), detail));
    }
    if huge && !compute {
        errors.push(resources.forbidden("HugePages require cpu or memory"));
    }
}

/// Whether more may be promised than there is: not for devices and huge pages.
fn overcommits(name: &str) -> bool {
    !name.starts_with(HUGE) && is_native(name)
}

/// Whether Kubernetes itself has a resource of this name.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Says whether the name is one at all.
fn any_name(name: &str, path: &FieldPath, errors: &mut Errors) -> bool {
    let wrong = names::qualified_name(name);
    if !wrong.is_empty() {
        errors.extend(wrong.into_iter().map(|detail| FieldError::invalid(path, name, detail)));
        return false;
    }
    let huge = name.strip_prefix("requests.").unwrap_or(name).starts_with(HUGE);
    let known = name.contains('/') || huge || STANDARD.contains(&name);
    if !known {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(path, name, detail));
    }
    known
}

fn container_name(name: &str, path: &FieldPath, errors: &mut Errors) {
    if PLAIN.contains(&name) {
        return;
    }
    any_name(name, path, errors);
    if !name.contains('/') {
        if !name.starts_with(HUGE) {
            let detail = "must be a standard resource for containers";
            errors.push(FieldError::invalid(path, name, detail));
        }
    } else if !is_native(name) && !is_extended(name) {
        let detail = "doesn't follow extended resource name standard";
        errors.push(FieldError::invalid(path, name, detail));
    }
}

/// Whether it may be a device's: a quota of it must have a name as well.
fn is_extended(name: &str) -> bool {
    !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

fn pod_name(name: &str, path: &FieldPath, errors: &mut Errors) {
    const KNOWN: &[&str] = &["cpu", HUGE, "memory"];
    let known = matches!(name, "cpu" | "memory");
    if !known && any_name(name, path, errors) && !name.starts_with(HUGE) {
        errors.push(FieldError::not_supported(path, name, KNOWN));
    }
}

fn quantity(name: &str, text: &str, path: &FieldPath, errors: &mut Errors) {
    let Ok(amount) = text.parse::<Quantity>() else { return };
    if amount.is_negative() {
        errors.push(FieldError::invalid(path, text, NEGATIVE));
    }
    if !is_native(name) && !amount.is_whole() {
        errors.push(FieldError::invalid(path, text, "must be an integer"));
    }
    if let Some(size) = name.strip_prefix(HUGE) {
        let size = size.parse::<Quantity>().map_or(0, |size| size.units());
        if size <= 0 || amount.units() % size != 0 {
            let detail = format!("{text} is not positive integer multiple of {name}");
            errors.push(FieldError::invalid(path, text, detail));
        }
    }
}

// === The pod and its containers ===

fn consistent(spec: &At<'_>, resources: &At<'_>, errors: &mut Errors) {
    for (map, only) in [("requests", ""), ("limits", HUGE)] {
        let of_pod = resources.child(map);
        if of_pod.entries().next().is_none() {
            continue;
        }
        let sums = together(spec.value, map);
        for (name, amount) in of_pod.entries().filter(|(name, _)| name.starts_with(only)) {
            let (Some(sum), Ok(own)) = (sums.get(name), amount.text().parse::<Quantity>()) else {
                continue;
            };
            if *sum > own {
                let detail =
                    format!("must be greater than or equal to aggregate container {map} of {sum}");
                errors.push(amount.invalid(detail));
            }
        }
    }
    let limits = resources.child("limits");
    for (index, container) in spec.each("containers").enumerate() {
        for (name, limit) in container.child("resources.limits").entries() {
            let Some(most) = limits.value.get(name).and_then(Value::as_str) else { continue };
            let parsed = (limit.text().parse::<Quantity>(), most.parse::<Quantity>());
            if let (Ok(own), Ok(of_pod)) = parsed
                && own > of_pod
            {
                let place = resources.path.child("containers").index(index).key(name);
                let detail = format!("must be less than or equal to pod limits of {most}");
                errors.push(FieldError::invalid(&place.child("limits"), limit.text(), detail));
            }
        }
    }
}

type Sums<'a> = BTreeMap<&'a str, Quantity>;

/// What the containers of a pod come to: all that run beside one another, or the largest that runs
/// before them, whichever is more.
fn together<'a>(spec: &'a Value, map: &str) -> Sums<'a> {
    let path = format!("resources.{map}");
    let add = |sums: &mut Sums<'a>, container: &'a Value| {
        for (name, amount) in entries_at(container, &path) {
            let Ok(amount) = amount.as_str().unwrap_or_default().parse::<Quantity>() else {
                continue;
            };
            let sum = sums.get(name).map_or(amount, |sum| sum.plus(&amount));
            sums.insert(name, sum);
        }
    };
    let raise = |peak: &mut Sums<'a>, name: &'a str, amount: Quantity| {
        let most = peak.get(name).map_or(amount, |most| (*most).max(amount));
        peak.insert(name, most);
    };
    let mut sum = Sums::new();
    list_at(spec, "containers").iter().for_each(|container| add(&mut sum, container));
    let (mut sidecars, mut peak) = (Sums::new(), Sums::new());
    for container in list_at(spec, "initContainers") {
        // Only what this one asks for can rise above what was raised before.
        let names = entries_at(container, &path).map(|(name, _)| name);
        if is_sidecar(container) {
            add(&mut sum, container);
            add(&mut sidecars, container);
            names.for_each(|name| {
                if let Some(amount) = sidecars.get(name) {
                    raise(&mut peak, name, *amount);
                }
            });
        } else {
            let beside = names.filter_map(|name| Some((name, *sidecars.get(name)?)));
            let mut now: Sums<'a> = beside.collect();
            add(&mut now, container);
            now.into_iter().for_each(|(name, amount)| raise(&mut peak, name, amount));
        }
    }
    peak.into_iter().for_each(|(name, amount)| raise(&mut sum, name, amount));
    sum
}

// === Claims ===

/// `resourceClaims` of a pod.
pub(super) fn claims(spec: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for claim in spec.each("resourceClaims") {
        let name = claim.child("name");
        if name.must_be_set(errors) {
            if seen.insert(name.text()) {
                name.must(names::dns1123_label, errors);
            } else {
                errors.push(name.duplicate());
            }
        }
        let (made, template) =
            (claim.child("resourceClaimName"), claim.child("resourceClaimTemplateName"));
        match (made.is_set(), template.is_set()) {
            (true, true) => errors.push(claim.invalid(
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be \
                 specified",
            )),
            (false, false) => {
                errors.push(claim.invalid(
                    "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                ))
            }
            _ => {}
        }
        for reference in [made, template].iter().filter(|reference| reference.is_set()) {
            reference.must(names::dns1123_subdomain, errors);
        }
    }
}

/// The names of a pod's `resourceClaims`.
pub(super) struct Claims<'a> {
    names: BTreeSet<&'a str>,
    /// How many bytes it takes to say all of them.
    length: usize,
    /// How many bytes of text may still go into saying again and again which they are.
    room: Cell<usize>,
}

impl<'a> Claims<'a> {
    /// Those of a pod's `spec`.
    pub(super) fn of(spec: &'a Value) -> Self {
        const ROOM: usize = 1 << 20;
        let names: BTreeSet<&str> = list_at(spec, "resourceClaims")
            .iter()
            .filter_map(|claim| at(claim, "name").as_str())
            .filter(|name| !name.is_empty())
            .collect();
        let length = names.iter().map(|name| name.len() + 2).sum();
        Self { names, length, room: Cell::new(ROOM) }
    }

    /// What is said where a name is none of them.
    fn detail(&self) -> String {
        const ONE_OF: &str = "must be one of the names in pod.spec.resourceClaims";
        if self.names.is_empty() {
            return format!("{ONE_OF} which is empty");
        }
        let Some(left) = self.room.get().checked_sub(self.length) else { return ONE_OF.to_owned() };
        self.room.set(left);
        format!("{ONE_OF}: {}", Vec::from_iter(self.names.iter().copied()).join(", "))
    }
}

/// `resources.claims` of a container: names of the pod's, each whole or by its requests.
fn claims_of_container(claims: &At<'_>, known: &Claims<'_>, errors: &mut Errors) {
    if !claims.is_set() {
        return;
    }
    let (mut whole, mut parts) = (HashSet::new(), HashSet::new());
    // How many requests of a claim there were.
    let mut requests: HashMap<&str, usize> = HashMap::new();
    for claim in claims.items() {
        let (name, request) = (claim.child("name").text(), claim.child("request"));
        if name.is_empty() {
            errors.push(claim.required(""));
            continue;
        }
        if whole.contains(name) {
            errors.push(FieldError::duplicate(&claim.path, name));
        } else if request.text().is_empty() {
            let before = requests.get(name).copied().unwrap_or_default();
            errors.extend((0..before).map(|_| FieldError::duplicate(&claim.path, name)));
            whole.insert(name);
        } else {
            request.must(names::dns1123_label, errors);
            if parts.insert((name, request.text())) {
                *requests.entry(name).or_default() += 1;
            } else {
                let both = format!("{name}/{}", request.text());
                errors.push(FieldError::duplicate(&claim.path, both));
            }
        }
        if !known.names.contains(name) {
            let mut unknown = FieldError::not_found(&claim.path, name);
            unknown.detail = known.detail();
            errors.push(unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use onggi_api::FieldPath;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::Dice;

    /// All that runs at once is added up anew for each container.
    fn model(spec: &Value) -> BTreeMap<String, i64> {
        let mut sum = BTreeMap::new();
        let add = |sum: &mut BTreeMap<String, i64>, container: &Value| {
            for (name, amount) in entries_at(container, "resources.requests") {
                if let Ok(amount) = amount.as_str().unwrap_or_default().parse::<i64>() {
                    *sum.entry(name.to_owned()).or_default() += amount;
                }
            }
        };
        let starts = list_at(spec, "initContainers");
        let sidecars = |upto: usize| starts[..upto].iter().filter(|c| is_sidecar(c));
        for container in list_at(spec, "containers").iter().chain(sidecars(starts.len())) {
            add(&mut sum, container);
        }
        for (place, container) in starts.iter().enumerate() {
            let mut now = BTreeMap::new();
            sidecars(place).chain([container]).for_each(|container| add(&mut now, container));
            for (name, amount) in now {
                let most = sum.entry(name).or_insert(amount);
                *most = (*most).max(amount);
            }
        }
        sum
    }

    #[test]
    fn sums_are_those_of_the_simple_way() {
        let mut dice = Dice(2);
        for _ in 0..500 {
            let spec = dice.containers();
            let found: BTreeMap<String, i64> = together(&spec, "requests")
                .into_iter()
                .map(|(name, amount)| (name.to_owned(), amount.units()))
                .collect();
            assert_eq!(found, model(&spec), "{spec}");
        }
    }

    #[test]
    fn claims_are_compared_with_all_before() {
        let spec = json!({"resourceClaims": [{"name": "a"}, {"name": "b"}]});
        let mut dice = Dice(3);
        for _ in 0..500 {
            let list = dice.list(7, |dice| {
                json!({"name": dice.one(&["", "a", "b", "c"]), "request": dice.one(&["", "r", "s"])})
            });
            let mut errors = Errors::new();
            let at = At::new(&list, FieldPath::new("claims"));
            claims_of_container(&at, &Claims::of(&spec), &mut errors);
            let mut expected = Vec::new();
            let mut seen: Vec<(&str, &str)> = Vec::new();
            for (index, claim) in at.items().enumerate() {
                let (name, request) = (claim.child("name").text(), claim.child("request").text());
                let mut say = |text: String| expected.push(format!("claims[{index}]: {text}"));
                if name.is_empty() {
                    say("Required value".to_owned());
                    continue;
                }
                let twice = |what: &str| format!("Duplicate value: {what:?}");
                if seen.contains(&(name, "")) {
                    say(twice(name));
                } else {
                    if request.is_empty() {
                        seen.iter().filter(|(of, _)| *of == name).for_each(|_| say(twice(name)));
                    }
                    if !request.is_empty() && seen.contains(&(name, request)) {
                        say(twice(&format!("{name}/{request}")));
                    } else {
                        seen.push((name, request));
                    }
                }
                if name == "c" {
                    say("Not found: \"c\": must be one of the names in pod.spec.resourceClaims: \
                         a, b"
                        .to_owned());
                }
            }
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{list}");
        }
    }

    #[test]
    fn names_of_claims_are_not_said_for_ever() {
        let name = "n".repeat(400_000);
        let spec = json!({"resourceClaims": [{"name": name}]});
        let claims = Claims::of(&spec);
        let lengths: Vec<bool> = (0..4).map(|_| claims.detail().len() > 400_000).collect();
        assert_eq!(lengths, [true, true, false, false]);
        assert_eq!(
            Claims::of(&json!({})).detail(),
            "must be one of the names in pod.spec.resourceClaims which is empty"
        );
    }
}
