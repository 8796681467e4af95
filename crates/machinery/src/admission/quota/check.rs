//! Whether quotas have room for a request, and what they count after it
//! (`k8s.io/apiserver/pkg/admission/plugin/resourcequota`).

use std::collections::{BTreeMap, BTreeSet};

use onggi_api::Quantity;
use serde_json::Value;

use super::scopes::matches_scopes;
use super::usage::{counted_by, of_compute, usage};
use crate::admission::amounts::{self, Amounts};
use crate::value::{at, list_at, str_at};

/// A request that may use more.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Group of the kind.
    pub group: &'a str,
    /// Plural of the kind.
    pub plural: &'a str,
    /// As it is to be stored.
    pub object: &'a Value,
    /// As it is stored; `None` for a new object.
    pub old: Option<&'a Value>,
    /// Seconds since 1970.
    pub now: i64,
}

/// What a quota is to count after the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Charge {
    /// Which of the quotas that were given.
    pub quota: usize,
    /// Its new `status.used`.
    pub used: Amounts,
    /// What the request has added to it.
    pub added: Amounts,
}

/// A pod must say what it uses of these where a quota counts them.
const MUST_SAY: &[&str] =
    &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// The charges of a request, or why there is no room for it.
pub fn charge(quotas: &[Value], request: Request<'_>) -> Result<Vec<Charge>, String> {
    let Request { group, plural, object, old, now } = request;
    let counts = |name: &String| counted_by(group, plural, name);
    let mut interested = Vec::new();
    for (index, quota) in quotas.iter().enumerate() {
        let hard = amounts::read(at(quota, "status.hard"));
        let names: BTreeSet<String> = hard.keys().filter(|name| counts(name)).cloned().collect();
        if names.is_empty() || !matches_scopes(quota, group, plural, object) {
            continue;
        }
        let name = str_at(quota, "metadata.name");
        if (group, plural) == ("", "pods") {
            says_enough(object, &names).map_err(|why| format!("failed quota: {name}: {why}"))?;
        }
        let used = amounts::read(at(quota, "status.used"));
        if !names.iter().all(|name| used.contains_key(name)) {
            let list = names.into_iter().collect::<Vec<_>>().join(",");
            return Err(format!("status unknown for quota: {name}, resources: {list}"));
        }
        interested.push((index, hard, used));
    }
    if interested.is_empty() {
        return Ok(Vec::new());
    }
    let asked = usage(group, plural, object, now);
    let negative: Vec<_> =
        asked.iter().filter(|(_, q)| q.is_negative()).map(|(name, _)| name.clone()).collect();
    if !negative.is_empty() {
        let list = negative.join(",");
        return Err(format!("quota usage is negative for resource(s): {list}"));
    }
    let before = old.map(|old| usage(group, plural, old, now));
    let mut charges = Vec::new();
    for (index, hard, used) in interested {
        let quota = &quotas[index];
        // A change is charged by its difference where the object was counted here before.
        let counted = old.is_some_and(|old| matches_scopes(quota, group, plural, old));
        let mut more = match &before {
            Some(before) if counted => difference(&asked, before),
            _ => asked.clone(),
        };
        more.retain(|name, amount| !amount.is_zero() && hard.contains_key(name));
        if more.is_empty() {
            continue;
        }
        let mut new = used.clone();
        amounts::add(&mut new, &more);
        let exceeded: Vec<String> =
            more.keys().filter(|name| new.get(*name) > hard.get(*name)).cloned().collect();
        if !exceeded.is_empty() {
            let name = str_at(quota, "metadata.name");
            let show = |amounts: &Amounts| amounts::pretty(&amounts::mask(amounts, &exceeded));
            return Err(format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                show(&more),
                show(&used),
                show(&hard)
            ));
        }
        charges.push(Charge { quota: index, used: new, added: more });
    }
    Ok(charges)
}

/// What is more than before; nothing for what is less.
fn difference(now: &Amounts, before: &Amounts) -> Amounts {
    now.iter()
        .map(|(name, amount)| {
            let less = before.get(name).map_or(*amount, |before| amount.minus(before));
            let less = if less.is_negative() { Quantity::from_units(0) } else { less };
            (name.clone(), less)
        })
        .collect()
}

/// Whether every container says what it asks for and is limited to, where that is counted.
fn says_enough(pod: &Value, counted: &BTreeSet<String>) -> Result<(), String> {
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let containers =
        list_at(pod, "spec.containers").iter().chain(list_at(pod, "spec.initContainers"));
    for container in containers {
        let of = |what| amounts::read(at(at(container, "resources"), what));
        let said = of_compute(&of("requests"), &of("limits"));
        let needed = MUST_SAY.iter().filter(|name| counted.contains(**name));
        for name in needed.filter(|name| !said.contains_key(**name)) {
            missing.entry(name).or_default().insert(str_at(container, "name"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let parts = missing.into_iter().map(|(name, containers)| {
        format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
    });
    Err(format!("must specify {}", parts.collect::<Vec<_>>().join("; ")))
}

/// `status.used` counted anew: for every resource of `spec.hard` that some kind uses. `objects`
/// gives the objects of a kind, which it is asked for once a kind.
pub fn recount<'o, I>(quota: &Value, now: i64, mut objects: impl FnMut(&str, &str) -> I) -> Amounts
where
    I: IntoIterator<Item = &'o Value>,
{
    let hard = amounts::read(at(quota, "spec.hard"));
    let mut kinds: BTreeMap<(&str, &str), Vec<&String>> = BTreeMap::new();
    for name in hard.keys() {
        if let Some(kind) = super::kind_of(name) {
            kinds.entry(kind).or_default().push(name);
        }
    }
    let mut used = Amounts::new();
    for ((group, plural), names) in kinds {
        let mut sum: Amounts =
            names.iter().map(|name| ((*name).clone(), Quantity::from_units(0))).collect();
        for object in objects(group, plural) {
            if matches_scopes(quota, group, plural, object) {
                let own = usage(group, plural, object, now);
                amounts::add(&mut sum, &amounts::mask(&own, names.iter().copied()));
            }
        }
        used.extend(sum);
    }
    used
}
