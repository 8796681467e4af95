//! Expressions and what comes of them.

use serde_json::json;

use super::*;

fn run(text: &str, variables: &Variables<'_>) -> Result<String, String> {
    let names = ["self", "oldSelf", "object", "x"];
    let names = Declarations::new(names).with_bindings();
    let program = compile(text, &names).map_err(|e| e.to_string())?;
    let value = program.evaluate(variables, &mut Budget::per_call()).map_err(|e| e.to_string())?;
    Ok(value.to_json().map_or_else(|_| value.type_name().to_owned(), |json| json.to_string()))
}

fn check(cases: &[(&str, &str)]) {
    let object = json!({
        "name": "web", "replicas": 3, "ratio": 0.5, "list": [3, 1, 2], "names": ["a", "b", "a"],
        "labels": {"app": "x", "tier": "y"}, "empty": {}, "nothing": null,
        "dash-ed": 1, "namespace": "n", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 443}],
    });
    let mut variables = Variables::default();
    variables.set("self", Value::json(&object));
    for (text, expected) in cases {
        let found = run(text, &variables).unwrap_or_else(|error| format!("! {error}"));
        match expected.strip_prefix('!') {
            Some(part) => assert!(found.contains(part.trim()), "{text}: {found}"),
            None => assert_eq!(&found, expected, "{text}"),
        }
    }
}

#[test]
fn the_language() {
    check(&[
        ("1 + 2 * 3 - 4 / 2 % 3", "5"),
        ("(1 + 2) * -3", "-9"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775807 + 1", "! integer overflow"),
        ("1 / 0", "! division by zero"),
        ("0x10u + 1u", "17"),
        ("1.5e3 / 2.0", "750.0"),
        ("'a' + \"b\" + r'\\n' + '''c'''", "\"ab\\\\nc\""),
        ("b'ab' == bytes('ab')", "true"),
        ("true ? 1 : 2", "1"),
        ("false && 1/0 == 1 || true", "true"),
        ("1/0 == 1 && false", "false"),
        ("1/0 == 1 || false", "! division by zero"),
        ("1 == 1.0", "! found no matching overload for '_==_' applied to '(int, double)'"),
        ("!(dyn(1) == 1.0) || dyn(1u) == 1", "true"),
        ("self.replicas <= 3 && self.ratio < 1.0", "true"),
        ("has(self.name) && !has(self.missing) && has(self.nothing)", "true"),
        ("self.missing", "! no such key: missing"),
        ("self.?missing.orValue('d')", "\"d\""),
        ("self.?labels.app.orValue('d')", "\"x\""),
        ("self[?'name'].hasValue()", "true"),
        ("[?self.?missing, ?self.?name]", "[\"web\"]"),
        ("{'a': dyn(1), ?'b': self.?missing}", "{\"a\":1}"),
        ("self.list[1] + self.list[0]", "4"),
        ("self.list[9]", "! index out of bounds: 9"),
        ("'app' in self.labels && 2 in self.list && !(9 in self.list)", "true"),
        ("self.dash__dash__ed + 1", "2"),
        ("self.__namespace__", "\"n\""),
        ("size(self.list) + self.name.size()", "6"),
        ("type(1) == int && type('') == string && type(self.labels) == map", "true"),
        ("int('7') + int(2.9) + int(3u)", "12"),
        ("string(1) + string(1.5) + string(true)", "\"11.5true\""),
        ("cel.bind(y, self.replicas, y * y)", "9"),
        ("nothing + 1", "! undeclared reference to 'nothing'"),
        ("self.list.nope()", "! undeclared reference to 'nope'"),
        ("self.list.", "! Syntax error: no viable alternative at input '.'"),
        ("'unfinished", "! Syntax error"),
        (
            "1 +",
            "! ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{',",
        ),
        ("1 x", "! Syntax error: extraneous input 'x' expecting <EOF>"),
        ("if", "! reserved identifier: if"),
    ]);
}

#[test]
fn loops() {
    check(&[
        ("self.list.all(i, i > 0) && self.list.exists(i, i == 2)", "true"),
        ("self.list.exists_one(i, i > 2)", "true"),
        ("self.list.map(i, i * 2)", "[6,2,4]"),
        ("self.list.map(i, i > 1, i * 2)", "[6,4]"),
        ("self.ports.filter(p, p.port < 100).map(p, p.name)", "[\"a\"]"),
        (
            "self.labels.all(k, k.size() > 2) && self.labels.exists(k, self.labels[k] == 'y')",
            "true",
        ),
        ("self.list.all(i, v, v + i > 1)", "true"),
        ("self.labels.transformList(k, v, k + v)", "[\"appx\",\"tiery\"]"),
        ("self.labels.transformMap(k, v, v + '!')", "{\"app\":\"x!\",\"tier\":\"y!\"}"),
        ("self.labels.transformMapEntry(k, v, {v: k})", "{\"x\":\"app\",\"y\":\"tier\"}"),
        ("[1, 0].exists(i, 1 / i == 1)", "true"),
        ("[0, 1].exists(i, 1 / i == 1)", "true"),
        ("optional.of(2).optMap(v, v + 1).value()", "3"),
        ("self.ports.sortBy(p, -p.port).map(p, p.name)", "[\"b\",\"a\"]"),
    ]);
}

#[test]
fn libraries() {
    check(&[
        ("'Hello'.lowerAscii() + 'x'.upperAscii() + ' y '.trim()", "\"helloXy\""),
        ("'hello'.indexOf('l') + 'hello'.lastIndexOf('l')", "5"),
        ("'hello'.substring(1, 3) + 'héllo'.charAt(1)", "\"elé\""),
        ("'a,b,c'.split(',', 2)", "[\"a\",\"b,c\"]"),
        ("['a', 'b'].join('-')", "\"a-b\""),
        ("'abab'.replace('a', 'x', 1)", "\"xbab\""),
        ("'%s is %d, %.2f, %x'.format(['a', 2, 1.239, 255])", "\"a is 2, 1.24, ff\""),
        ("'%s'.format([[1, 'a']])", "\"[1, a]\""),
        ("'abc123'.matches('^[a-z]+\\\\d+$')", "true"),
        ("'abc123de'.find('[0-9]+') + string('a1b2'.findAll('[0-9]').size())", "\"1232\""),
        ("'['.matches('[')", "! invalid matches argument"),
        ("self.list.isSorted() || self.list.sort() == [1, 2, 3]", "true"),
        ("self.list.sum() + self.list.min() + self.list.max()", "10"),
        ("self.names.indexOf('a') + self.names.lastIndexOf('a')", "2"),
        ("self.names.distinct()", "[\"a\",\"b\"]"),
        ("[[1], [2, 3]].flatten()", "[1,2,3]"),
        ("lists.range(3).slice(1, 3)", "[1,2]"),
        ("sets.contains(self.list, [1, 2]) && sets.equivalent([1, 1], [1])", "true"),
        ("math.greatest(1, 5, 3)", "! undeclared reference to 'math'"),
        ("'abc'.reverse()", "! found no matching overload for 'reverse' applied to 'string.()'"),
        ("[1, 2].last().value() + [3].first().value()", "5"),
        ("[1, 2].reverse()", "[2,1]"),
        (
            "quantity('1Gi').isGreaterThan(quantity('500M')) && isQuantity('1m') && !isQuantity('x')",
            "true",
        ),
        ("quantity('1500m').add(quantity('500m')).asInteger()", "2"),
        ("quantity('50k').sub(20000).compareTo(quantity('30k'))", "0"),
        ("ip('192.168.0.1').family() + ip('::1').family()", "10"),
        (
            "ip('127.0.0.1').isLoopback() && isIP('::1') && !isIP('1.2.3') && !ip.isCanonical('::0001')",
            "true",
        ),
        (
            "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsCIDR('11.0.0.0/16')",
            "true",
        ),
        (
            "string(cidr('192.168.1.5/24').masked()) + string(cidr('10.0.0.1/8').prefixLength())",
            "\"192.168.1.0/248\"",
        ),
        ("url('https://u@example.com:80/a%20b?k=v&k=w').getHost()", "\"example.com:80\""),
        ("url('https://example.com:80/a?k=v&k=w').getQuery()['k']", "[\"v\",\"w\"]"),
        (
            "isURL('/a/b') && !isURL('a b') && url('https://[::1]:80/').getHostname() == '::1'",
            "true",
        ),
        (
            "semver('1.2.3').isLessThan(semver('1.10.0')) && isSemver('v1.0', true) && !isSemver('1.0')",
            "true",
        ),
        ("semver('1.0.0-rc.1').compareTo(semver('1.0.0'))", "-1"),
        ("format.dns1123Label().validate('Bad').hasValue()", "true"),
        ("format.named('qualifiedName').value().validate('a/b').hasValue()", "false"),
        ("duration('1h30m').getMinutes() + int(duration('90s').getSeconds())", "180"),
        ("timestamp('2026-01-02T03:04:05Z').getHours('+02:00')", "5"),
        (
            "timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('24h')",
            "true",
        ),
        ("timestamp('2026-01-01T00:00:00Z').getDayOfWeek()", "4"),
    ]);
}

#[test]
fn no_expression_runs_for_ever() {
    let object = json!({"list": (0..2000).collect::<Vec<_>>()});
    let mut variables = Variables::default();
    variables.set("self", Value::json(&object));
    for text in [
        "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c >= 0)))",
        "self.list.map(a, self.list.map(b, self.list)).size() > 0",
        "lists.range(1000000).size() > lists.range(1000000).size()",
    ] {
        let program = compile(text, &Declarations::new(["self"])).unwrap();
        let error = program.evaluate(&variables, &mut Budget::per_call()).unwrap_err();
        assert!(error.over_budget, "{text}: {error}");
    }
    for deep in ["(".repeat(5000), "-".repeat(5000), "[".repeat(5000), "1+".repeat(5000)] {
        assert!(compile(&deep, &Declarations::default()).is_err());
    }
    let long = vec!["true"; 3000].join(" && ");
    let program = compile(&long, &Declarations::default()).unwrap();
    let value = program.evaluate(&Variables::default(), &mut Budget::per_call()).unwrap();
    assert_eq!(value.as_bool(), Some(true));
}

#[test]
fn schemas_say_what_texts_and_numbers_are() {
    use crate::crd::schema::Schema;
    let schema = Schema::read(&json!({"type": "object", "properties": {
        "when": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
        "ratio": {"type": "number"},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    }}));
    let object =
        json!({"when": "2026-01-01T00:00:00Z", "wait": "5m", "ratio": 1, "set": ["b", "a"]});
    let mut variables = Variables::default();
    variables.set("self", Value::shaped(&object, Shape::Custom(&schema)));
    for text in [
        "self.when + self.wait > self.when",
        "self.ratio / 2.0 == 0.5",
        "self.set == ['a', 'b'] && (self.set + ['a', 'c']).size() == 3",
    ] {
        assert_eq!(run(text, &variables), Ok("true".to_owned()), "{text}");
    }
}

#[test]
fn whoever_decides_is_asked() {
    struct Only;
    impl authorizer::Decide for Only {
        fn decide(&self, question: &authorizer::Question) -> authorizer::Decision {
            let allowed = question.verb == "create" && question.group == "apps";
            authorizer::Decision { allowed, reason: "because".into(), error: String::new() }
        }
    }
    let mut variables = Variables::default();
    let asked = {
        let request = authorizer::Question { group: "apps".into(), ..Default::default() };
        authorizer::authorizer(std::sync::Arc::new(Only), request)
    };
    variables.set("x", asked);
    for (text, expected) in [
        ("x.group('apps').resource('deployments').check('create').allowed()", "true"),
        ("x.group('').resource('pods').namespace('a').check('create').allowed()", "false"),
        ("x.path('/healthz').check('get').reason()", "\"because\""),
        ("x.requestResource.check('create').allowed()", "true"),
        ("x.requestResource.subresource('log').check('get').allowed()", "false"),
    ] {
        assert_eq!(run(text, &variables), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn types_before_it_runs() {
    use crate::admission::environment;
    let mut names = environment::of_policy(true).with_variables();
    let size = compile("object.spec.items.size()", &names).unwrap();
    names.declare("size", size.ty().clone());
    let names = names.with_patches();
    let devices = environment::of_devices();
    for (names, text, expected) in [
        (&names, "object.spec.replicas", "dyn"),
        (&names, "object.spec.replicas > 3 && params.x == null", "bool"),
        (&names, "request.userInfo.groups.map(g, g + '!')", "list(string)"),
        (&names, "request.userInfo.extra['a'][0]", "string"),
        (&names, "request.namespace == namespaceObject.metadata.name", "bool"),
        (&names, "namespaceObject.metadata.creationTimestamp", "google.protobuf.Timestamp"),
        (&names, "authorizer.requestResource.check('get').reason()", "string"),
        (&names, "authorizer.path('/').check('get')", "kubernetes.authorization.Decision"),
        (&names, "variables.size + 1", "int"),
        (&names, "null", "null_type"),
        (&names, "object.?spec.?x", "optional_type(dyn)"),
        (&names, "object.?spec.x.orValue('y')", "dyn"),
        (&names, "optional.of(1).optMap(v, string(v))", "optional_type(string)"),
        (&names, "[]", "list(dyn)"),
        (&names, "[1] + object.list", "list(int)"),
        (&names, "[1] + [object.x]", "list(dyn)"),
        (&names, "'%s %d'.format(['a', 1])", "string"),
        (&names, "[[], [1]]", "list(list(int))"),
        (&names, "{'a': 1}.transformList(k, v, v)", "list(int)"),
        (&names, "{'a': 1}.filter(k, true)", "list(string)"),
        (&names, "[2, 1].sort().sum()", "int"),
        (&names, "ip('::1').family()", "int"),
        (&names, "Object{spec: Object.spec{replicas: 1}}", "Object"),
        (
            &names,
            "[JSONPatch{op: 'add', path: '/x' + jsonpatch.escapeKey('a/b')}]",
            "list(JSONPatch)",
        ),
        (&names, "true ? [JSONPatch{op: 'add'}] : []", "list(JSONPatch)"),
        (&names, "JSONPatch{op: object.op, ?value: optional.none()}.op", "string"),
        (&devices, "device.attributes['a.b'].model == 'x'", "bool"),
        (&devices, "cel.bind(a, device.attributes['a.b'], a.x && a.y)", "bool"),
        (&devices, "device.capacity['a.b'].mem.compareTo(quantity('1Gi')) >= 0", "bool"),
        (&devices, "device.attributes['a.b'].flag", "dyn"),
        (&devices, "device.allowMultipleAllocations && device.driver == 'd'", "bool"),
    ] {
        let found = compile(text, names).map(|program| program.ty().text());
        assert_eq!(found.as_deref(), Ok(expected), "{text}");
    }
    for (names, text, expected) in [
        (&names, "request.nope", "undefined field 'nope'"),
        (&names, "request.userInfo.nope", "undefined field 'nope'"),
        (&names, "namespaceObject.spec.nope", "undefined field 'nope'"),
        (&names, "has(request.kind.nope)", "undefined field 'nope'"),
        (&names, "request.name.first", "type 'string' does not support field selection"),
        (&names, "variables.nope", "undefined field 'nope'"),
        (&names, "nope.x", "undeclared reference to 'nope'"),
        (&names, "cel.bind(x, 1, x)", "undeclared reference to 'cel'"),
        (&names, "regex.extract('a', 'b')", "undeclared reference to 'regex'"),
        (&names, "request.name + 1", "'_+_' applied to '(string, int)'"),
        (&names, "request.name == null", "'_==_' applied to '(string, null)'"),
        (&names, "!request.name", "'!_' applied to '(string)'"),
        (&names, "request.name && true", "expected type 'bool' but found 'string'"),
        (&names, "request.userInfo.groups.all(g, 1)", "expected type 'bool' but found 'int'"),
        (&names, "request.name.all(g, true)", "cannot be range of a comprehension"),
        (&names, "request.name ? 1 : 2", "'_?_:_' applied to '(string, int, int)'"),
        (&names, "[1, object.x]", "expected type 'int' but found 'dyn'"),
        (&names, "[1, 'a']", "expected type 'int' but found 'string'"),
        (&names, "{'a': 1, 'b': 'x'}", "expected type 'int' but found 'string'"),
        (&names, "request.name.size('x')", "'size' applied to 'string.(string)'"),
        (&names, "JSONPatch{op: 1}", "field 'op' is 'string' but provided type is 'int'"),
        (&names, "JSONPatch{nope: 1}", "field 'nope' is '' but provided type is 'int'"),
        (&names, "authorizer.check('get')", "'check' applied to"),
        (&devices, "device.nope", "undefined field 'nope'"),
        (&devices, "Object{}", "undeclared reference to 'Object'"),
        (&devices, "jsonpatch.escapeKey('a')", "undeclared reference to 'jsonpatch'"),
        (&devices, "request", "undeclared reference to 'request'"),
    ] {
        let found = compile(text, names).unwrap_err().to_string();
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn types_that_double_have_an_end() {
    let depth = 40;
    let mut text = "[{1: 1}]".to_owned();
    for _ in 0..depth {
        text = format!("{text}.map(a, {{a: a}})");
    }
    let names = Declarations::new(["self"]);
    let _ = compile(&text, &names);
    let many = vec!["1 == 1"; 4000].join(" && ");
    assert!(compile(&many, &names).is_ok());
}

/// Where `cel-go` says that something is wrong.
#[test]
fn faults_are_where_they_are() {
    let declarations = Declarations::new(["x"]);
    for (text, place) in [
        ("x.y && foo", "1:8"),
        ("1 + 'a'", "1:3"),
        ("fun()", "1:4"),
        ("'string'.fun()", "1:13"),
        ("1 in 2", "1:3"),
        ("'a'.size(1)", "1:9"),
        ("'ax' == 'a' && 'a'.x > 1", "1:19"),
    ] {
        let error = compile(text, &declarations).unwrap_err().to_string();
        assert!(error.starts_with(&format!("ERROR: <input>:{place}: ")), "{text}: {error}");
    }
}
