//! What policies will ask, and what CEL says to it. The same table must hold after each update of the CEL
//! library.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use ConditionFailure::{False, NotABool};

const TRUE: Result<(), ConditionFailure> = Ok(());
const FALSE: Result<(), ConditionFailure> = Err(False);

fn failed(problem: &str) -> Result<(), ConditionFailure> {
    Err(ConditionFailure::Failed(problem.to_owned()))
}

fn missing(field: &str) -> Result<(), ConditionFailure> {
    failed(&format!("there is no field \"{field}\""))
}

/// SLSA provenance v1, as GitHub Actions makes it.
fn slsa() -> Value {
    statement(json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {
                "ref": "refs/tags/v1.2.3",
                "repository": "https://github.com/acme/app",
                "path": ".github/workflows/release.yml",
            }},
            "internalParameters": {"github": {"event_name": "push", "repository_id": "12345"}},
            "resolvedDependencies": [
                {"uri": "git+https://github.com/acme/app@refs/tags/v1.2.3",
                 "digest": {"gitCommit": "0123456789abcdef0123456789abcdef01234567"}},
                {"uri": "pkg:docker/golang@1.26", "digest": {"sha256": "aa"}},
            ],
        },
        "runDetails": {
            "builder": {"id": "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.2.3"},
            "metadata": {"invocationId": "https://github.com/acme/app/actions/runs/1/attempts/1"},
        },
    }))
}

#[rstest]
#[case(
    "predicate.runDetails.builder.id == 'https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.2.3'
     && predicate.buildDefinition.externalParameters.workflow.repository == 'https://github.com/acme/app'",
    TRUE
)]
#[case("predicate.runDetails.builder.id == 'https://example.com/other'", FALSE)]
#[case("predicate.runDetails.builder.id.startsWith('https://github.com/acme/')", TRUE)]
#[case("predicate.runDetails.builder.id.startsWith('https://github.com/acme-evil/')", FALSE)]
#[case(
    "predicate.buildDefinition.externalParameters.workflow.ref.matches('^refs/tags/v[0-9]+\\\\.[0-9]+\\\\.[0-9]+$')",
    TRUE
)]
#[case(r"predicate.buildDefinition.externalParameters.workflow.ref.matches(r'^refs/tags/v\d+$')", FALSE)]
#[case(
    "predicate.buildDefinition.resolvedDependencies.exists(d, d.uri.startsWith('git+https://github.com/acme/'))",
    TRUE
)]
#[case(
    "predicate.buildDefinition.resolvedDependencies.all(d, d.uri.startsWith('git+https://github.com/acme/'))",
    FALSE
)]
#[case("predicate.buildDefinition.resolvedDependencies.exists_one(d, has(d.digest.gitCommit))", TRUE)]
#[case(
    "predicate.buildDefinition.resolvedDependencies.filter(d, has(d.digest.gitCommit)).map(d, d.digest.gitCommit.size()) == [40]",
    TRUE
)]
#[case(
    "predicate.buildDefinition.internalParameters.github.event_name in ['push', 'workflow_dispatch']",
    TRUE
)]
#[case("predicate.buildDefinition.internalParameters.github.event_name in ['schedule']", FALSE)]
#[case("predicate.builder.id == 'https://example.com/v0.2'", missing("builder"))]
#[case("predicate.?builder.?id.orValue('') == ''", TRUE)]
#[case("statement.predicateType == 'https://example.com/test/v1'", TRUE)]
#[case("statement.subject.exists(s, s.name == image.registry + '/' + image.repository)", FALSE)]
#[case("statement.subject[0].name.endsWith(image.repository)", TRUE)]
fn slsa_provenance(#[case] expression: &str, #[case] outcome: Result<(), ConditionFailure>) {
    assert_eq!(check(expression, &slsa()), outcome);
}

fn spdx(packages: Value) -> Value {
    statement(json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": packages}))
}

#[rstest]
#[case(json!([{"name": "a", "licenseConcluded": "MIT"}, {"name": "b"}]), TRUE)]
#[case(json!([]), TRUE)]
#[case(json!([{"name": "a", "licenseConcluded": "MIT AND AGPL-3.0-only"}]), FALSE)]
#[case(json!([{"name": "a", "licenseConcluded": 7}]), failed("\"contains\" is not for int and string"))]
#[case(json!([{"name": "a", "licenseConcluded": 7}, {"licenseConcluded": "AGPL-3.0-only"}]), FALSE)]
#[case(json!(null), failed("there is null_type where iterable should be"))]
#[case(json!("packages"), failed("there is string where iterable should be"))]
fn an_spdx_sbom_is_free_of_a_licence(#[case] packages: Value, #[case] outcome: Result<(), ConditionFailure>) {
    let expression = "!predicate.packages.exists(p, p.?licenseConcluded.orValue('').contains('AGPL'))";
    assert_eq!(check(expression, &spdx(packages)), outcome);
}

#[rstest]
#[case("predicate.spdxVersion.startsWith('SPDX-2.') && predicate.packages.size() > 0", TRUE)]
#[case("predicate.packages.all(p, has(p.name) && p.name != '')", TRUE)]
#[case("predicate.bomFormat == 'CycloneDX'", missing("bomFormat"))]
fn an_spdx_sbom_is_there(#[case] expression: &str, #[case] outcome: Result<(), ConditionFailure>) {
    assert_eq!(check(expression, &spdx(json!([{"name": "a"}, {"name": "b"}]))), outcome);
}

#[rstest]
#[case(json!([{"name": "a", "licenses": [{"license": {"id": "MIT"}}]}, {"name": "b"}]), TRUE)]
#[case(json!([{"name": "a", "licenses": [{"license": {"id": "MIT"}}, {"license": {"id": "AGPL-3.0-only"}}]}]), FALSE)]
#[case(json!([{"name": "a", "licenses": [{"license": {"name": "the AGPL"}}]}]), FALSE)]
#[case(json!([{"name": "a", "licenses": [{"expression": "MIT OR AGPL-3.0-only"}]}]), FALSE)]
#[case(json!([{"name": "a", "licenses": null}]), failed("there is null_type where iterable should be"))]
fn a_cyclonedx_sbom_is_free_of_a_licence(
    #[case] components: Value,
    #[case] outcome: Result<(), ConditionFailure>,
) {
    let expression = "!predicate.components.exists(c, c.?licenses.orValue([]).exists(l,
        l.?license.?id.orValue('').contains('AGPL')
        || l.?license.?name.orValue('').contains('AGPL')
        || l.?expression.orValue('').contains('AGPL')))";
    let sbom = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components});
    assert_eq!(check(expression, &statement(sbom)), outcome);
}

#[rstest]
#[case("2026-11-24T11:59:59Z", TRUE)]
#[case("2026-11-21T12:00:01Z", TRUE)]
#[case("2026-11-21T12:00:00Z", FALSE)]
#[case("2026-11-21T14:00:01.5+02:00", TRUE)]
#[case("2026-11-24T12:00:01Z", FALSE)]
#[case(
    "yesterday",
    failed("a timestamp is a date and time with its offset, as in 2026-11-24T00:00:00Z (RFC 3339)")
)]
fn a_vulnerability_scan_is_fresh(#[case] finished: &str, #[case] outcome: Result<(), ConditionFailure>) {
    let expression = "timestamp(predicate.metadata.scanFinishedOn) > now - duration('72h')
        && timestamp(predicate.metadata.scanFinishedOn) <= now";
    let scan = json!({"scanner": {"uri": "pkg:generic/scanner"}, "metadata": {"scanFinishedOn": finished}});
    assert_eq!(check(expression, &statement(scan)), outcome);
}

#[rstest]
#[case(json!({"result": "PASSED"}), TRUE)]
#[case(json!({"result": "WARNED"}), FALSE)]
#[case(json!({"result": "passed"}), FALSE)]
#[case(json!({"result": true}), FALSE)]
#[case(json!({"result": null}), FALSE)]
#[case(json!({"result": ["PASSED"]}), FALSE)]
#[case(json!({}), missing("result"))]
fn a_test_has_passed(#[case] predicate: Value, #[case] outcome: Result<(), ConditionFailure>) {
    assert_eq!(check("predicate.result == 'PASSED'", &statement(predicate)), outcome);
}

#[rstest]
#[case("image.reference == 'registry.example.com:5000/team/app:1.2'", TRUE)]
#[case("image.registry == 'registry.example.com:5000'", TRUE)]
#[case("image.repository == 'team/app'", TRUE)]
#[case("image.tag == '1.2'", TRUE)]
#[case("image.digest.matches('^sha256:[0-9a-f]{64}$')", TRUE)]
#[case("image.size() == 5", TRUE)]
fn what_is_known_of_the_image(#[case] expression: &str, #[case] outcome: Result<(), ConditionFailure>) {
    assert_eq!(check(expression, &statement(json!({}))), outcome);
}

#[test]
fn an_image_without_a_tag_has_null_for_it() {
    let digest = Digest::sha256(b"an image");
    let reference = format!("registry.example.com/app@{digest}").parse().unwrap();
    let image = ImageFacts { reference: &reference, digest: &digest };
    let facts = Facts { statement: &json!({}), image, now: NOW.parse().unwrap() };
    assert_eq!(compile("image.tag == null").check(&facts), Ok(()));
    assert_eq!(compile("has(image.tag) && image.tag != '1.2'").check(&facts), Ok(()));
    assert!(matches!(compile("image.tag.startsWith('1')").check(&facts), Err(ConditionFailure::Failed(_))));
}

/// The language: what its specification says of each part that conditions are told they may use.
#[rstest]
// Values of the statement, and their types
#[case("predicate.int == 5 && type(predicate.int) == int", TRUE)]
#[case(
    "predicate.int + 1 == 6 && predicate.int * 2 - 1 == 9 && predicate.int / 2 == 2 && predicate.int % 2 == 1",
    TRUE
)]
#[case("predicate.negative == -3 && -predicate.negative == 3", TRUE)]
#[case("predicate.huge == 18446744073709551615u && type(predicate.huge) == uint", TRUE)]
#[case("predicate.double == 1.5 && type(predicate.double) == double && predicate.double > 1", TRUE)]
#[case("predicate.int == 5.0 && predicate.int < 5.5", TRUE)]
#[case("predicate.yes && !predicate.no && type(predicate.yes) == bool", TRUE)]
#[case("predicate.nothing == null && type(predicate.nothing) == null_type", TRUE)]
#[case("type(predicate.list) == list && type(predicate.map) == map && type(predicate.text) == string", TRUE)]
#[case("predicate.int == '5'", FALSE)]
#[case("predicate.int != '5'", TRUE)]
#[case("predicate.int < '5'", failed("\"<\" is not for int and string"))]
// Equality does not care who made a list or a map
#[case("predicate.list == [1, 2, 3] && [1, 2, 3] == predicate.list", TRUE)]
#[case("predicate.list != [1, 2, 3] || [1, 2, 3] != predicate.list", FALSE)]
#[case("predicate.list == [1, 2] || predicate.list == [3, 2, 1] || predicate.list == [1, 2, 3, 4]", FALSE)]
#[case("predicate.map == {'a': 1, 'b': [2]} && {'b': [2], 'a': 1} == predicate.map", TRUE)]
#[case(
    "predicate.map == {'a': 1} || predicate.map == {'a': 1, 'b': [3]} || predicate.map == {'a': 1, 'c': [2]}",
    FALSE
)]
#[case("predicate.nested == [[1, 2], {'a': null}] && predicate.nested != [[1, 2], {'a': 0}]", TRUE)]
#[case("predicate == statement.predicate && statement != predicate", TRUE)]
#[case("predicate.list == predicate.map || predicate.list == 'x' || predicate.map == null", FALSE)]
#[case("predicate.?map == optional.of(predicate.map) && predicate.?x == optional.none()", TRUE)]
// Membership
#[case(
    "2 in predicate.list && !(4 in predicate.list) && 'a' in predicate.map && !('c' in predicate.map)",
    TRUE
)]
#[case("0 in predicate.map || true in predicate.map || 1.5 in predicate.map || 1u in predicate.map", FALSE)]
#[case("null in predicate.map", failed("\"in\" is not for null_type and map"))]
#[case("[1, 2] in predicate.nested && {'a': null} in predicate.nested", TRUE)]
#[case("predicate.list in [[1, 2, 3]] && predicate.map in [predicate.map]", TRUE)]
#[case("predicate.int in [1, 5.0] && predicate.text in ['some text']", TRUE)]
// Fields and elements
#[case("predicate.map.a == 1 && predicate['map']['a'] == 1 && predicate.map.b[0] == 2", TRUE)]
#[case("predicate.list[0] == 1 && predicate.list[2u] == 3", TRUE)]
#[case("predicate.list[-1] == 1", failed("an index is beyond the end of its list"))]
#[case("predicate.map[1] == 1", failed("\"[]\" is not for map and int"))]
#[case("has(predicate.map.a) && !has(predicate.map.c) && has(predicate.nothing)", TRUE)]
#[case("has(predicate.x.y)", missing("x"))]
#[case("predicate.text.x == 1", failed("\".\" is not for string and string"))]
#[case("predicate['with-dash'] == 'dash' && has(predicate.map)", TRUE)]
// Optional values
#[case("predicate.?x.orValue('none') == 'none' && predicate.?text.orValue('none') == 'some text'", TRUE)]
#[case("predicate.?x.?y.?z.hasValue() == false && predicate.map.?b[0].value() == 2", TRUE)]
#[case("predicate.?x.or(predicate.?text).value() == 'some text' && predicate.list[?7].orValue(0) == 0", TRUE)]
#[case(
    "optional.ofNonZeroValue('').hasValue() || optional.ofNonZeroValue(predicate.empty).hasValue()",
    FALSE
)]
#[case("[?predicate.?x, ?predicate.?int] == [5] && {?'a': predicate.?x} == {}", TRUE)]
// Loops
#[case(
    "predicate.list.all(x, x > 0) && predicate.list.exists(x, x == 3) && predicate.list.exists_one(x, x > 2)",
    TRUE
)]
#[case("predicate.list.existsOne(x, x > 1)", FALSE)]
#[case("predicate.list.map(x, x * 2) == [2, 4, 6] && predicate.list.map(x, x > 1, x * 2) == [4, 6]", TRUE)]
#[case("predicate.list.filter(x, x != 2) == [1, 3]", TRUE)]
#[case(
    "predicate.map.all(key, key in ['a', 'b']) && predicate.map.exists(key, predicate.map[key] == 1)",
    TRUE
)]
#[case("predicate.list.map(x, predicate.list.map(y, x * y)) == [[1, 2, 3], [2, 4, 6], [3, 6, 9]]", TRUE)]
#[case("predicate.list.exists(x, predicate.list.exists(y, [1].exists(z, x + y + z == 7)))", TRUE)]
#[case("predicate.list.all(x, predicate.list.exists(x, x == 3))", TRUE)]
#[case("predicate.empty.all(x, false) && !predicate.empty.exists(x, true)", TRUE)]
#[case("predicate.list.map(x, 'a' + string(x)).join(', ') == 'a1, a2, a3'", TRUE)]
#[case("[[1, 2], [3]].map(l, l.map(x, x + 1)) == [[2, 3], [4]]", TRUE)]
#[case("predicate.text.all(x, true)", failed("there is string where iterable should be"))]
// Errors are forgiven only where the other side decides
#[case("predicate.x || true", TRUE)]
#[case("true || predicate.x", TRUE)]
#[case("predicate.x && false", FALSE)]
#[case("predicate.x || false", missing("x"))]
#[case("predicate.x && true", missing("x"))]
#[case("!predicate.x", missing("x"))]
#[case("predicate.list.exists(x, x / 0 == 1 || x == 2)", TRUE)]
#[case("predicate.list.all(x, x / 0 == 1)", failed("a division by zero"))]
#[case("predicate.yes ? true : predicate.x", TRUE)]
#[case("predicate.text && true", failed("\"&&\" is not for string and bool"))]
// Text
#[case("predicate.text.size() == 9 && size('ä🦀') == 2", TRUE)]
#[case(
    "predicate.text.contains('me te') && predicate.text.startsWith('some') && predicate.text.endsWith('text')",
    TRUE
)]
#[case(
    "predicate.text.matches('^some') && matches(predicate.text, 't..t$') && !predicate.text.matches('^text')",
    TRUE
)]
#[case("predicate.text + '!' == 'some text!' && 'a' + 'b' + 'c' == 'abc' && 'a' < 'b'", TRUE)]
#[case(
    "predicate.text.upperAscii() == 'SOME TEXT' && 'ÄB'.lowerAscii() == 'Äb' && ' x\\n'.trim() == 'x'",
    TRUE
)]
#[case(
    "predicate.text.split(' ') == ['some', 'text'] && ''.split(',') == [''] && ',a'.split(',') == ['', 'a']",
    TRUE
)]
#[case("predicate.text.split('')[0] == 's'", failed("split takes the text that stands between the parts"))]
#[case("['a', 'b'].join() == 'ab' && [].join(',') == '' && 'aba'.replace('a', '-') == '-b-'", TRUE)]
#[case(
    "predicate.text.substring(5) == 'text' && 'äöü'.substring(1, 2) == 'ö' && 'a'.substring(1) == ''",
    TRUE
)]
#[case("predicate.text.substring(3, 2) == ''", failed("substring: the end stands before the start"))]
#[case("predicate.text.substring(10) == ''", failed("substring: the text is not that long"))]
#[case("predicate.text.indexOf('text') == 5 && 'äb'.indexOf('b') == 1 && 'a'.indexOf('b') == -1", TRUE)]
#[case(r#"'''a'b''' == "a'b" && r'\d' == '\\d' && '\u00e4' == 'ä'"#, TRUE)]
// Conversions
#[case("int('7') == 7 && int(1.9) == 1 && uint(7) == 7u && double('1.5') == 1.5 && bool('true')", TRUE)]
#[case(
    "string(7) == '7' && string(1.5) == '1.5' && string(true) == 'true' && string('x') == 'x' && dyn(1) == 1",
    TRUE
)]
#[case("int(predicate.text) == 1", failed("int: string parse error: invalid digit found in string"))]
// Times
#[case("now == timestamp('2026-11-24T13:00:00+01:00') && string(now) == '2026-11-24T12:00:00Z'", TRUE)]
#[case("now - duration('24h') == timestamp('2026-11-23T12:00:00Z') && now + duration('1h') > now", TRUE)]
#[case("now - timestamp('2026-11-24T00:00:00Z') == duration('12h') && duration('1h') + now > now", TRUE)]
#[case("duration('90s') == duration('1m30s') && duration('1h') - duration('1m') < duration('1h')", TRUE)]
#[case("string(duration('-1m0.5s')) == '-60.5s' && string(duration('1h')) == '3600s'", TRUE)]
#[case("int(now) == 1795521600 && timestamp(0) < now && timestamp(now) == now", TRUE)]
#[case(
    "now.getFullYear() == 2026 && now.getMonth() == 10 && now.getDate() == 24 && now.getDayOfMonth() == 23",
    TRUE
)]
#[case(
    "now.getDayOfWeek() == 2 && now.getDayOfYear() == 327 && now.getHours() == 12 && now.getMinutes() == 0",
    TRUE
)]
#[case("now.getSeconds() == 0 && now.getMilliseconds() == 0 && duration('90m').getHours() == 1", TRUE)]
#[case(
    "duration('1h').getMinutes() == 60 && duration('1m').getSeconds() == 60 && duration('1.5s').getMilliseconds() == 500",
    TRUE
)]
#[case("now + duration('2562047h') + duration('2562047h') > now", TRUE)]
#[case("timestamp(99999999999999) > now", failed("the result is beyond the times that there are"))]
#[case("now > 5", failed("\">\" is not for google.protobuf.Timestamp and int"))]
#[case("now == 5", FALSE)]
#[case("type(now) == type(timestamp(0)) && type(now) != type(duration('1s'))", TRUE)]
// What is not a truth value
#[case("predicate.text", Err(NotABool { found: "string".to_owned() }))]
fn the_language(#[case] expression: &str, #[case] outcome: Result<(), ConditionFailure>) {
    let predicate = json!({
        "int": 5, "negative": -3, "huge": u64::MAX, "double": 1.5, "yes": true, "no": false, "nothing": null,
        "text": "some text", "list": [1, 2, 3], "map": {"a": 1, "b": [2]}, "nested": [[1, 2], {"a": null}],
        "empty": [], "with-dash": "dash",
    });
    assert_eq!(check(expression, &statement(predicate)), outcome);
}
