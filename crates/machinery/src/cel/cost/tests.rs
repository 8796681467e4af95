//! The numbers are those that Kubernetes comes to (`apiextensions-apiserver/pkg/apiserver/schema/
//! cel/compilation_test.go`, `apiserver/pkg/cel/library/cost_test.go`, `cel-go/checker/cost_test.go`).

use serde_json::{Value, json};

use super::Decl;
use crate::cel::{Declarations, compile};
use crate::crd::schema::Schema;

fn cost_with(schema: &Value, rule: &str, optional_old: bool) -> u64 {
    let declared = Decl::read(&Schema::read(schema), false).unwrap();
    let program = compile(rule, &Declarations::new(["self", "oldSelf"]))
        .unwrap_or_else(|error| panic!("{rule}: {error}"));
    program.estimate(&declared, optional_old)
}

fn cost(schema: &Value, rule: &str) -> u64 {
    cost_with(schema, rule, false)
}

/// The schema with a bound in each place marked `N`, or without any.
fn bounded(schema: &Value, bound: Option<u64>) -> Value {
    match schema {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| bound.is_some() || **value != "N")
            .map(|(key, value)| (key.clone(), bounded(value, bound)))
            .collect(),
        Value::String(text) if text == "N" => json!(bound),
        other => other.clone(),
    }
}

fn array(items: Value) -> Value {
    json!({"type": "array", "maxItems": "N", "items": items})
}

fn map(values: Value) -> Value {
    json!({"type": "object", "maxProperties": "N", "additionalProperties": values})
}

fn of(kind: &str) -> Value {
    match kind {
        "int-or-string" => json!({"x-kubernetes-int-or-string": true}),
        "duration" | "date" | "date-time" => json!({"type": "string", "format": kind}),
        kind => json!({"type": kind}),
    }
}

fn text() -> Value {
    json!({"type": "string", "maxLength": "N"})
}

fn object() -> Value {
    let fields = json!({"required": {"type": "string"}, "optional": {"type": "string"}});
    json!({"type": "object", "required": ["required"], "properties": fields})
}

fn table(rows: &[(Value, &str, u64, u64, u64)]) {
    for (schema, rule, free, bound, set) in rows {
        assert_eq!(cost(&bounded(schema, None), rule), *free, "{rule} on {schema}");
        assert_eq!(cost(&bounded(schema, Some(*bound)), rule), *set, "{rule} on {schema}: {bound}");
    }
}

#[test]
fn loops_cost_by_what_fits_into_a_request() {
    const ALL: &str = "self.all(x, true)";
    table(&[
        (array(of("number")), ALL, 4_718_591, 10, 32),
        (array(of("string")), ALL, 3_145_727, 20, 62),
        (array(of("boolean")), ALL, 1_887_437, 5, 17),
        (array(of("int-or-string")), ALL, 4_718_591, 10, 32),
        (array(of("duration")), ALL, 2_359_295, 5, 17),
        (array(of("date")), ALL, 725_936, 15, 47),
        (array(of("date-time")), ALL, 428_963, 25, 77),
        (array(json!({"type": "array", "items": of("number")})), ALL, 3_145_727, 100, 302),
        (array(object()), ALL, 555_128, 50, 152),
        (map(of("number")), ALL, 1_348_169, 10, 32),
        (map(of("string")), ALL, 1_179_647, 3, 11),
        (map(of("boolean")), ALL, 943_718, 100, 302),
        (map(of("int-or-string")), ALL, 1_348_169, 15, 47),
        (map(of("duration")), ALL, 1_048_577, 5, 17),
        (map(of("date")), ALL, 524_288, 10, 32),
        (map(of("date-time")), ALL, 349_526, 25, 77),
        (map(object()), ALL, 428_963, 20, 62),
        (map(json!({"type": "array", "items": of("number")})), ALL, 1_179_647, 25, 77),
        (array(of("number")), "self.all(x, x == 0.0)", 6_291_454, 3 * 1024 * 2048, 25_165_826),
    ]);
}

#[test]
fn loops_in_loops_multiply() {
    let numbers = array(of("number"));
    for (rule, set) in [
        ("self.all(x, self.all(y, true))", 352),
        ("self.all(x, self.all(y, self.all(z, true)))", 3552),
    ] {
        assert!(cost(&bounded(&numbers, None), rule) > 1_000_000_000_000, "{rule}");
        assert_eq!(cost(&bounded(&numbers, Some(10)), rule), set, "{rule}");
    }
    let rule = "self.all(x, x[\"y\"].required == \"z\")";
    let all = array(map(object()));
    let one = json!({"type": "array", "items": map(object())});
    table(&[(all, rule, 7_340_027, 10, 72), (one, rule, 7_340_027, 10, 7_340_027)]);
}

#[test]
fn texts_cost_by_their_length() {
    let bytes = json!({"type": "string", "format": "byte", "maxLength": "N"});
    let letters = json!({"type": "string", "maxLength": "N", "enum": ["A", "B", "C", "LongValue"]});
    let either = json!({"x-kubernetes-int-or-string": true, "maxLength": "N"});
    table(&[
        (text(), "self.contains('test')", 314_574, 10, 5),
        (text(), "self.startsWith('test')", 2, 15, 2),
        (text(), "self.endsWith('test')", 2, 30, 2),
        (text(), "size(self + \"hello\") > size(\"hello\")", 314_578, 4, 7),
        (text(), "self.matches(\"x\")", 314_574, 50, 22),
        (text(), "\"\".matches(\"(((((((((())))))))))[0-9]\")", 7, 10, 7),
        // By the length of the pattern as it is written.
        (text(), "self.matches(r'\\d')", 314_574, 50, 22),
        (text(), "self.matches(\"\")", 1, 100, 1),
        // As a function it costs one, whatever it is given.
        (text(), "matches(self, \"x\")", 2, 100, 2),
        (text(), "matches(self, self)", 3, 100, 3),
        (text(), "self == \"x\"", 2, 0, 1),
        (bytes, "self == b\"x\"", 2, 0, 1),
        (text(), "self.find('[0-9]+') == ''", 629_147, 10, 11),
        (text(), "self.lowerAscii() == 'lower!'", 314_575, 10, 6),
        (letters, "self.contains('A')", 2, 1000, 401),
        (either, "isQuantity(self)", 314_574, 20, 9),
        (map(text()), "self.all(x, x.contains(self[x]))", 2_752_507, 10, 72),
    ]);
}

#[test]
fn what_is_looked_at_once_costs_little() {
    let list = |kind| array(of(kind));
    let nested = array(json!({"type": "array", "items": of("number")}));
    table(&[
        (list("number"), "self[1] == 0.0", 2, 5000, 2),
        (list("string"), "self[1] == self[1]", 314_577, 8, 314_577),
        (list("int-or-string"), "self[0] == 5", 3, 10, 3),
        (list("boolean"), "self[0] == false", 2, 25, 2),
        (array(object()), "self[0] == null", 2, 422, 2),
        (nested, "self[0][0] == -1.0", 3, 51, 3),
        (array(map(of("number"))), "self[0].x > 2.0", 4, 3000, 4),
        (list("duration"), "self[0].getHours() == 2", 4, 525, 4),
        (list("date"), "self[2].getDayOfMonth() == 13", 4, 42, 4),
        (list("date-time"), "self[2].getMinutes() == 45", 4, 99, 4),
        (map(of("number")), "self[\"x\"] == 0.0", 2, 0, 2),
        (map(of("integer")), "oldSelf.size() == self.size()", 5, 10, 5),
        (map(of("date-time")), "self[\"a\"] == self[\"b\"]", 8, 7, 8),
        (map(of("duration")), "self[\"c\"] == self[\"d\"]", 8, 42, 8),
    ]);
    let maps = json!({"type": "array", "maxItems": "N",
        "items": {"type": "object", "additionalProperties": of("number")}});
    table(&[(maps, "self.all(x, x.y == 25.2)", 6_291_452, 12, 74)]);
}

#[test]
fn what_functions_give_has_a_size() {
    let texts = array(text());
    let parts = json!({"type": "object", "properties": {
        "str": text(),
        "before": {"type": "string", "maxLength": 2},
        "after": {"type": "string", "maxLength": 4},
        "separator": text(),
    }});
    let replace = "self.str.replace(self.before, self.after) == 'does not matter'";
    table(&[
        (texts.clone(), "self.join(' ') == 'aa bb'", 329_853_068_905, 10, 43),
        (texts, "self.isSorted() == true", 329_854_432_052, 10, 52),
        (parts.clone(), replace, 629_154, 4, 12),
        (parts, "self.str.split(self.separator) == []", 629_160, 10, 22),
    ]);
}

#[test]
fn libraries_have_costs_of_their_own() {
    let any = json!({"type": "object"});
    for (rule, expected) in [
        ("'ABCDEFGHIJ abcdefghij'.lowerAscii()", 3),
        ("'ABCDEFGHIJ abcdefghij'.upperAscii() == 'abcdefghij ABCDEFGHIJ'.upperAscii()", 9),
        ("strings.quote('ABCDEFGHIJ abcdefghij')", 3),
        ("strings.quote('ABCDEFGHIJ abcdefghij') == strings.quote('ABCDEFGHIJ abcdefghij')", 11),
        ("'abc 123 def 123'.replace('', 'x')", 3),
        ("'abc 123 def 123'.split(' ', 1)", 3),
        ("'abc 123 def 123'.substring(5, 8)", 2),
        ("'  abc 123 def 123  '.trim()", 2),
        ("'abc 123 def 123'.findAll('123', 1)", 2),
        ("quantity(\"12Mi\")", 1),
        ("quantity(\"200M\") == quantity(\"200M\")", 3),
        ("quantity(\"200M\") == quantity(\"0.2G\") && quantity(\"0.2G\") == quantity(\"200M\")", 6),
        ("quantity(\"50M\").isLessThan(quantity(\"50Mi\"))", 3),
        ("quantity(\"200M\").compareTo(quantity(\"0.2G\")) > 0", 4),
        ("quantity(\"50k\").sub(20) == quantity(\"49980\")", 4),
        ("quantity(\"50k\").add(20).sub(quantity(\"100k\")).sub(-50000).asInteger() > 0", 7),
        ("format.named(\"dns1123subdomain\")", 1),
        ("format.named(\"dns1123Label\").value().validate(\"my-name\")", 34),
        ("format.named(\"dns1123Label\").value() == format.named(\"dns1123Label\").value()", 11),
        ("sets.contains([], [])", 21),
        ("sets.contains([1, 2, 3, 4], [2, 3])", 29),
        ("sets.equivalent([1, 2, 3], [3, 2, 1])", 39),
        ("!sets.contains([1], [1, 2])", 24),
        ("ip.isCanonical(\"127.0.0.1\")", 2),
        ("ip('192.168.0.1') == ip('192.168.0.1')", 5),
        ("ip('192.168.0.1').isGlobalUnicast()", 3),
        ("cidr('192.168.0.0/16').ip()", 3),
        ("cidr('192.168.0.0/16').containsCIDR(cidr('192.0.0.0/30'))", 2 + 9),
        ("cidr('192.168.0.0/16').containsCIDR('192.0.0.0/30')", 2 + 9),
        ("cidr('192.168.0.0/16').containsIP(ip('192.0.0.1'))", 2 + 5),
    ] {
        assert_eq!(cost(&any, rule), expected, "{rule}");
    }
}

/// A size that is not known is the largest one: so Kubernetes refuses what adds such texts.
#[test]
fn what_is_not_known_is_large() {
    let schema = json!({"type": "object", "properties": {"max": {"type": "integer"}}});
    for rule in ["'at most ' + string(self.max)", "['a', 'b'].join(',')"] {
        assert!(cost(&schema, rule) > 1_000_000_000_000_000_000, "{rule}");
    }
    for rule in ["string(self.max) == 'x'", "'at most %d'.format([self.max])"] {
        assert!(cost(&schema, rule) < 20, "{rule}");
    }
    let times = json!({"type": "string", "format": "date-time"});
    assert_eq!(cost(&times, "string(self) == string(oldSelf)") / 10, 184_467_440_737_095_526);
}

#[test]
fn macros_cost_what_they_expand_to() {
    let list = json!({"type": "array", "maxItems": 10, "items": {"type": "integer"}});
    for (rule, expected) in [
        ("self.exists(x, true)", 2 + 10 * 4),
        ("self.exists_one(x, true)", 3 + 10 * 2),
        ("self.map(x, x)", 12 + 10 * 13),
        ("self.map(x, x > 1, x)", 12 + 10 * (2 + 13)),
        ("self.filter(x, true)", 12 + 10 * 13),
        ("self.all(i, x, x > i)", 2 + 10 * 6),
        ("self.transformList(i, x, x)", 12 + 10 * 13),
        ("self.transformMap(i, x, x)", 32 + 10 * 4),
        ("self.sort()", 1 + 200 + 11),
        ("self.sortBy(x, -x)", (1 + 10) + (12 + 10 * 14) + (200 + 11) + 1),
        ("self.distinct()", 1 + 200 + 11),
        ("lists.range(5).all(x, true)", 16 + 1 + 5 * 3),
        // A name in the body of a loop over what was made is as large as what was made.
        ("['a', 'bcd'].map(x, x).all(y, y == 'abcdefghijklm')", 11 + 10 + 2 * 13 + 1 + 2 * (3 + 2)),
    ] {
        assert_eq!(cost(&list, rule), expected, "{rule}");
    }
}

#[test]
fn optionals_cost_their_questions() {
    let schema = json!({"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 10},
        "size": {"type": "integer"},
    }});
    for (rule, expected) in [
        ("self.?size.hasValue()", 3),
        ("self.?size.orValue(3) > 2", 4),
        ("self.?name.orValue('a') == 'bc'", 4),
        ("self.?size.optMap(x, x + 1).orValue(0) > 1", (2 + 1) + (1 + 10 + 3 + 2) + 2),
    ] {
        assert_eq!(cost(&schema, rule), expected, "{rule}");
    }
    let rule = "!oldSelf.hasValue() || self.size >= oldSelf.value().size";
    assert_eq!(cost_with(&schema, rule, true), 3 + 2 + 3 + 1);
}

/// What cannot be seen has no declaration, and takes nothing.
#[test]
fn declarations_follow_the_schema() {
    let read = |schema: Value, root| Decl::read(&Schema::read(&schema), root);
    let open = json!({"x-kubernetes-preserve-unknown-fields": true});
    assert!(read(open.clone(), false).is_none());
    assert!(read(json!({"type": "array", "items": open}), false).is_none());
    let often = |schema: Value| read(schema, false).unwrap().most_often();
    assert_eq!(often(json!({"type": "object"})), 3 * 1024 * 1024 / 3);
    // "required":"" and its braces.
    assert_eq!(often(object()), 3 * 1024 * 1024 / (2 + 8 + 4 + 2 + 1));
    let mut defaulted = object();
    defaulted["properties"]["required"]["default"] = "a".into();
    assert_eq!(often(defaulted), 3 * 1024 * 1024 / 3);
    let root = read(object(), true).unwrap();
    assert!(root.field("metadata").and_then(|found| found.field("generateName")).is_some());
    assert!(root.field("metadata").and_then(|found| found.field("labels")).is_none());
}
