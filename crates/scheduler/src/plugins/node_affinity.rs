//! `NodeAffinity`: node selector, required and preferred terms.

use onggi_machinery::selector::{Operator, Requirement};

use crate::cluster::Node;
use crate::framework::{Event, Plugin, Refusal, in_proportion};
use crate::pod::{Expression, Pod, Term};

pub(crate) struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn concerns(&self, pod: &Pod) -> bool {
        !pod.node_selector.is_empty()
            || pod.affinity.required.is_some()
            || !pod.affinity.preferred.is_empty()
    }

    fn filter(&self, pod: &Pod, node: &Node, refusals: &mut Vec<Refusal>) {
        let labels = &node.view.labels;
        let selected = pod.node_selector.iter().all(|(k, v)| labels.get(k) == Some(v));
        let required = pod.affinity.required.as_ref();
        let wanted =
            required.is_none_or(|any| any.node_selector_terms.iter().any(|term| holds(term, node)));
        if !selected || !wanted {
            refusals.push("node(s) didn't match Pod's node affinity/selector".into());
        }
    }

    fn helps(&self, event: Event) -> bool {
        matches!(event, Event::NodeCame | Event::NodeChanged { labels: true, .. })
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &Pod, node: &Node) -> i64 {
        let preferred = pod.affinity.preferred.iter();
        preferred.filter(|p| holds(&p.preference, node)).map(|p| p.weight).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        in_proportion(scores, false);
    }
}

fn holds(term: &Term, node: &Node) -> bool {
    let field = |key: &str| (key == "metadata.name").then_some(&node.view.name);
    let nothing = term.match_expressions.is_empty() && term.match_fields.is_empty();
    !nothing
        && term.match_expressions.iter().all(|e| matches(e, node.view.labels.get(&e.key)))
        && term.match_fields.iter().all(|e| matches(e, field(&e.key)))
}

fn matches(expression: &Expression, value: Option<&String>) -> bool {
    let operator = match expression.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return false,
    };
    let requirement =
        Requirement { key: String::new(), operator, values: expression.values.clone() };
    requirement.holds(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NodeView;
    use serde_json::{from_value, json};
    use std::sync::Arc;

    #[test]
    fn terms() {
        let labels = [("zone".to_owned(), "a".to_owned()), ("cores".to_owned(), "8".to_owned())];
        let view = NodeView { name: "n".into(), labels: labels.into(), ..NodeView::default() };
        let node = Node { view: Arc::new(view), ..Node::default() };
        for (term, expected) in [
            (json!({}), false),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["a"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["4"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "Exists"},
                                         {"key": "x", "operator": "DoesNotExist"}]}),
                true,
            ),
            (
                json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}),
                true,
            ),
            (
                json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}),
                false,
            ),
        ] {
            let parsed: Term = from_value(term.clone()).unwrap();
            assert_eq!(holds(&parsed, &node), expected, "{term}");
        }
    }
}
