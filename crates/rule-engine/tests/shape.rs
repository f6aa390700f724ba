//! The documented behaviour of input shaping, as tables, and random inputs against serde_json.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use rule_engine::shape::{Context, Input, InputError, Options, Shaper, Unshaped, Warning};
use serde_json::Value;

const EVENT: &str = r#"{"version":"0","id":"11111111-2222-4333-8444-555555555555","detail-type":"Shaped","source":"demo.shaping","account":"000000000000","time":"2026-09-13T12:17:30Z","region":"us-east-1","resources":["arn:a:1"],"detail":{"text":"hello","number":42,"price":12.50,"flag":true,"nothing":null,"object":{"first":"one","second":2},"array":["one","two",{"x":3}],"items":[{"name":"first"},{"name":"second"}],"hyphen-key":"dash","slash/key":"slash","quoted":"say \"hello\"","escaped":"line\nslash\\tab\tend"}}"#;

const NAMES: [(&str, &str); 17] = [
    ("t", "$.detail.text"),
    ("n", "$.detail.number"),
    ("p", "$.detail.price"),
    ("f", "$.detail.flag"),
    ("z", "$.detail.nothing"),
    ("m", "$.detail.missing"),
    ("o", "$.detail.object"),
    ("a", "$.detail.array"),
    ("i", "$.detail.items[*].name"),
    ("i1", "$.detail.items[1].name"),
    ("h", "$.detail.hyphen-key"),
    ("s", "$.detail.slash/key"),
    ("q", "$.detail.quoted"),
    ("e", "$.detail.escaped"),
    ("dt", "$.detail-type"),
    ("r", "$.resources[0]"),
    ("rs", "$.resources"),
];

const CONTEXT: Context<'_> = Context {
    rule_name: "shaper",
    rule_arn: "arn:aws:events:us-east-1:000000000000:rule/shaper",
    ingestion_ms: 1_789_301_850_408,
    bytes_max: 1 << 20,
};

/// AWS's text when the input is turned down, else the shaper.
fn compile(input: Input<'_>) -> Result<Shaper, InputError> {
    Shaper::compile(&input, "ID", &Options::default())
}

fn map(names: &[(&str, &str)]) -> Vec<(String, String)> {
    names
        .iter()
        .map(|&(name, path)| (name.to_owned(), path.to_owned()))
        .collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// What a target is sent (`Ok`), or the body of the dead letter `INVALID_JSON` (`Err`).
#[track_caller]
fn check_on(event: &str, input: Input<'_>, expected: Result<&str, &str>) {
    let shaper = compile(input).expect("a good input");
    let shaped = shaper.shape(event.as_bytes(), &CONTEXT);
    match (&shaped, expected) {
        (Ok(sent), Ok(expected)) => assert_eq!(text(sent), expected),
        (Err(Unshaped::NotJson { body }), Err(expected)) => assert_eq!(text(body), expected),
        _ => panic!("{expected:?} expected, but got {shaped:?}"),
    }
}

#[track_caller]
fn check_template(names: &[(&str, &str)], template: &str, expected: Result<&str, &str>) {
    let paths = map(names);
    let paths = &paths;
    check_on(EVENT, Input::Transformer { paths, template }, expected);
}

#[track_caller]
fn check_refused(input: Input<'_>, expected: &str) {
    let error = compile(input).expect_err("refused");
    assert_eq!(error.to_string(), expected);
}

#[track_caller]
fn check_template_refused(names: &[(&str, &str)], template: &str, expected: &str) {
    let paths = map(names);
    let paths = &paths;
    check_refused(Input::Transformer { paths, template }, expected);
}

#[rustfmt::skip]
const TEMPLATES: [(u32, &str, Result<&str, &str>); 46] = [
    (1, r#""<t>""#, Ok(r#""hello""#)),
    (2, r#""prefix \"<t>\" suffix""#, Ok(r#""prefix \"hello\" suffix""#)),
    (3, r#""t=<t> n=<n> f=<f>""#, Ok(r#""t=hello n=42 f=true""#)),
    (4, r#""null:<z> missing:<m>.""#, Ok(r#""null:null missing:.""#)),
    (5, r#""text=<t>; object=<o>; array=<a>""#, Ok(r#""text=hello; object={first:one,second:2}; array=[one,two,{x:3}]""#)),
    (6, r#""[<i>]""#, Ok(r#""[[first,second]]""#)),
    (7, "\"first <t>\"\n\"second <t>\"", Ok("\"first hello\"\n\"second hello\"")),
    (8, r#""prefix <q> suffix""#, Err(r#""prefix say "hello" suffix""#)),
    (9, r#""<e>""#, Err("\"line\nslash\\tab\tend\"")),
    (10, r#"<t>"#, Err(r#"hello"#)),
    (11, r#"<n>"#, Ok(r#"42"#)),
    (12, r#"<z>"#, Ok(r#"null"#)),
    (13, r#"<o>"#, Err(r#"{first:one,second:2}"#)),
    (14, r#"["fixed",<n>]"#, Ok(r#"["fixed",42]"#)),
    (15, r#"[<t>]"#, Err(r#"[hello]"#)),
    (16, r#"["<t>"]"#, Ok(r#"["hello"]"#)),
    (17, r#"[1,<m>,2]"#, Err(r#"[1,,2]"#)),
    (18, r#"[<z>]"#, Ok(r#"[null]"#)),
    (19, r#"{"p":<p>}"#, Ok(r#"{"p":12.50}"#)),
    (20, r#"{"t":<t>,"n":<n>,"f":<f>,"z":<z>,"o":<o>,"a":<a>}"#, Ok(r#"{"t":"hello","n":42,"f":true,"z":null,"o":{"first":"one","second":2},"a":["one","two",{"x":3}]}"#)),
    (21, r#"{"before":1,"missing":<m>,"after":2}"#, Ok(r#"{"before":1,"missing":"","after":2}"#)),
    (22, r#"{"v":[<m>]}"#, Ok(r#"{"v":[""]}"#)),
    (23, r#"{"v":"a<m>b"}"#, Ok(r#"{"v":"ab"}"#)),
    (24, r#"{"t":"<t>","n":"<n>"}"#, Ok(r#"{"t":"hello","n":"42"}"#)),
    (25, r#"{"f":"<f>","z":"<z>"}"#, Ok(r#"{"f":"true","z":"null"}"#)),
    (26, r#"{"v":"prefix <q> suffix"}"#, Ok(r#"{"v":"prefix say \"hello\" suffix"}"#)),
    (27, r#"{"v":<q>}"#, Ok(r#"{"v":"say \"hello\""}"#)),
    (28, r#"{"v":"<e>"}"#, Ok(r#"{"v":"line\nslash\\tab\tend"}"#)),
    (29, r#"{"v":"prefix <o> suffix"}"#, Err(r#"{"v":"prefix {"first":"one","second":2} suffix"}"#)),
    (30, r#"{"v":"<a>"}"#, Err(r#"{"v":"["one","two",{"x":3}]"}"#)),
    (31, r#"{"all":<i>,"second":<i1>}"#, Ok(r#"{"all":["first","second"],"second":"second"}"#)),
    (32, r#"{"h":<h>,"s":<s>}"#, Ok(r#"{"h":"dash","s":"slash"}"#)),
    (33, r#"{"path":"users/<n>/x"}"#, Ok(r#"{"path":"users/42/x"}"#)),
    (34, r#"{"list":[<n>,"hardcoded"]}"#, Ok(r#"{"list":[42,"hardcoded"]}"#)),
    (35, r#"{"kind":<dt>,"first":<r>}"#, Ok(r#"{"kind":"Shaped","first":"arn:a:1"}"#)),
    (36, r#"{"r":<rs>}"#, Ok(r#"{"r":["arn:a:1"]}"#)),
    (37, "{ \"t\" : <t> ,\n  \"k\" : \"v\" }", Ok("{ \"t\" : \"hello\" ,\n  \"k\" : \"v\" }")),
    (38, r#"{"a":{"b":[{"c":<t>}]}}"#, Ok(r#"{"a":{"b":[{"c":"hello"}]}}"#)),
    (39, r#"{"esc":"\"<t>\"","nl":"a\nb"}"#, Ok(r#"{"esc":"\"hello\"","nl":"a\nb"}"#)),
    (40, r#"{"rule":<aws.events.rule-name>,"arn":"<aws.events.rule-arn>"}"#, Ok(r#"{"rule":"shaper","arn":"arn:aws:events:us-east-1:000000000000:rule/shaper"}"#)),
    (41, r#""rule <aws.events.rule-name> at <aws.events.event.ingestion-time>""#, Ok(r#""rule shaper at 2026-09-13T12:17:30.408Z""#)),
    (42, r#"{"at":<aws.events.event.ingestion-time>}"#, Ok(r#"{"at":"2026-09-13T12:17:30.408Z"}"#)),
    (43, r#"{"e":<aws.events.event>}"#, Ok(r#"{"e":{"id":"11111111-2222-4333-8444-555555555555","account":"000000000000","detailType":"Shaped","time":1789301850000,"source":"demo.shaping","region":"us-east-1","resources":["arn:a:1"],"version":"0"}}"#)),
    (44, r#"null"#, Ok(r#"null"#)),
    (45, r#""constant""#, Ok(r#""constant""#)),
    (46, r#"{}"#, Ok(r#"{}"#)),
];

#[test]
fn the_worked_templates_come_out_as_documented() {
    for (row, template, expected) in TEMPLATES {
        println!("row {row}");
        check_template(&NAMES, template, expected);
    }
}

#[test]
fn the_worked_paths_come_out_as_documented() {
    let rows = [
        ("$", EVENT),
        ("$.detail.text", r#""hello""#),
        ("$.detail.number", "42"),
        ("$.detail.price", "12.50"),
        ("$.detail.object", r#"{"first":"one","second":2}"#),
        ("$.detail.array[1]", r#""two""#),
        ("$.detail.items[1].name", r#""second""#),
        ("$.detail.items[*].name", r#"["first","second"]"#),
        ("$.detail.hyphen-key", r#""dash""#),
        ("$.detail.slash/key", r#""slash""#),
        ("$.detail.nothing", "{}"),
        ("$.detail.missing", "{}"),
        ("$.detail-type", r#""Shaped""#),
        ("$.resources", r#"["arn:a:1"]"#),
        ("$.detail.array[9]", "{}"),
        ("$.detail.text[*]", "{}"),
        ("$.detail.array.x", "{}"),
        ("$.detail.object[0]", "{}"),
        ("", "{}"),
    ];
    for (path, expected) in rows {
        check_on(EVENT, Input::Path(path), Ok(expected));
    }
    let doubled = r#"{"detail":{"a":1,"b":{ "c" : [ 1, 2 ] },"a":2}}"#;
    check_on(doubled, Input::Path("$.detail.a"), Ok("2"));
    check_on(doubled, Input::Path("$.detail.b"), Ok(r#"{"c":[1,2]}"#));
}

#[test]
fn a_value_that_is_compact_is_not_copied() {
    for path in ["$", "$.detail", "$.detail.text", "$.detail.array"] {
        let shaper = compile(Input::Path(path)).unwrap();
        let sent = shaper.shape(EVENT.as_bytes(), &CONTEXT).unwrap();
        assert!(matches!(sent, Cow::Borrowed(_)), "{path}");
    }
}

#[test]
fn paths_beyond_the_small_language_are_refused() {
    let paths = [
        "$['a']",
        r#"$["a"]"#,
        "$..a",
        "$.a.*",
        "$.a[-1]",
        "$.a[0:2]",
        "a.b",
        "$.a[?(@.b)]",
        "$.a[0,1]",
        "$.a b",
        " $.a",
        "$.a ",
        "$.",
        "$[",
        "$[]",
        "$[0",
        "$[*",
        "$a",
        "$.a[+1]",
        "$.é",
        "$.a$",
        "$.a[ 0]",
        " ",
        "$$",
        "$.a[**]",
        "$.a]",
        "@.a",
    ];
    for path in paths {
        check_refused(Input::Path(path), "InputPath for target ID is invalid.");
        check_template_refused(
            &[("a", path)],
            r#""<a>""#,
            "InputPath for target ID is invalid.",
        );
    }
    check_template_refused(
        &[("a", "")],
        r#""<a>""#,
        "InputPath for target ID is invalid.",
    );
}

#[test]
fn a_constant_is_sent_byte_for_byte() {
    let constants = [
        r#"{ "fixed": true }"#,
        r#"[1,"two"]"#,
        r#""constant""#,
        "17",
        "null",
        "true",
        "-0.5e+3",
        " [ ] ",
        "{}",
        r#""\ud83d\ude00\/""#,
    ];
    for constant in constants {
        check_on(EVENT, Input::Constant(constant), Ok(constant));
    }
    check_on(EVENT, Input::Constant(""), Ok(EVENT));
    assert!(compile(Input::Constant("")).unwrap().is_whole());
    assert!(compile(Input::Whole).unwrap().is_whole());
    assert!(compile(Input::Path("$")).unwrap().is_whole());
    assert!(!compile(Input::Path("$.detail")).unwrap().is_whole());
}

#[test]
fn a_constant_that_is_no_json_is_refused_with_its_place() {
    let rows = [
        ("not-json", 1, 1),
        ("{\"a\":\n oops}", 2, 2),
        ("{\"é\":\r\n  1,\r\n}", 3, 1),
        ("\"a\" \"b\"", 1, 5),
        ("[1,]", 1, 4),
        ("[01]", 1, 2),
        ("{\"a\" 1}", 1, 6),
        ("\"open", 1, 1),
        ("[", 1, 2),
        ("{}}", 1, 3),
        ("nullx", 1, 1),
        ("\"\\q\"", 1, 2),
        ("\"a\u{1}\"", 1, 3),
        (" ", 1, 2),
        ("1.", 1, 1),
        ("[}", 1, 2),
        ("\u{feff}1", 1, 1),
    ];
    for (input, line, column) in rows {
        let expected = format!(
            "JSON syntax error in input for target ID: \
             [Source: (String)\"{input}\"; line: {line}, column: {column}]"
        );
        check_refused(Input::Constant(input), &expected);
    }
    let long = "x".repeat(600);
    let expected = format!(
        "JSON syntax error in input for target ID: [Source: (String)\"{}\"[truncated 100 chars]; \
         line: 1, column: 1]",
        &long[..500]
    );
    check_refused(Input::Constant(&long), &expected);
}

const KEYS: &str = "Map keys must satisfy constraint: [Member must have length less than or equal \
    to 256, Member must have length greater than or equal to 1, Member must satisfy regular \
    expression pattern: [A-Za-z0-9\\_\\-]+]";

#[test]
fn templates_are_refused_in_the_words_of_aws() {
    let t = [("t", "$.detail.text")];
    check_template_refused(
        &[],
        "",
        "1 validation error detected: Value '' at 'targets.1.member.inputTransformer.inputTemplate' \
         failed to satisfy constraint: Member must have length greater than or equal to 1",
    );
    let long = "k".repeat(257);
    for key in ["aws.events.rule-name", "", "a b", "a.b", "é", "<t>", &long] {
        check_template_refused(
            &[(key, "$.detail.text")],
            "null",
            &format!(
                "1 validation error detected: Value '{{{key}=$.detail.text}}' at \
                 'targets.1.member.inputTransformer.inputPathsMap' failed to satisfy constraint: \
                 {KEYS}"
            ),
        );
    }
    check_template_refused(
        &t,
        r#""<nope>""#,
        "InputTemplate for target ID contains invalid placeholder nope.",
    );
    check_template_refused(
        &t,
        r#""<T>""#,
        "InputTemplate for target ID contains invalid placeholder T.",
    );
    check_template_refused(
        &[],
        r#""<nope>""#,
        "InputTemplate for target ID contains invalid placeholder nope.",
    );
    for name in ["aws.events.event", "aws.events.event.json"] {
        let expected = format!(
            "InputTemplate for target ID contains placeholder {name} valid only for JSON template."
        );
        for template in [
            "<N>",
            r#""<N>""#,
            r#"[<N>]"#,
            r#"[{"a":<N>}]"#,
            r#"{"a":"<N>"}"#,
            r#"{"a":[<N>]}"#,
            r#"{<N>:1}"#,
            r#"{"a":"x: <N>"}"#,
        ] {
            check_template_refused(&[], &template.replace('N', name), &expected);
        }
    }
    for template in [
        r#"{<t>:1}"#,
        r#"{"<t>":1}"#,
        r#"{"a":{"b":1, "x<t>y" :2}}"#,
        r#"[{"<t>":1}]"#,
        r#"{"a":[1,"{"],"<t>":2}"#,
    ] {
        check_template_refused(
            &t,
            template,
            "InputTemplate placeholder present as a JSON object key for target ID.",
        );
    }
    let probes = [
        ("hello <t>", "hello null", 1, 1),
        ("<t> is here", "null is here", 1, 6),
        ("<t", "<t", 1, 1),
        ("{\"a\":<t>,\n\"b\":<t}", "{\"a\":null,\n\"b\":<t}", 2, 5),
        (r#"{"a":"<t>" <t>}"#, r#"{"a":"text" null}"#, 1, 13),
        (r#"{"a":1<t>}"#, r#"{"a":1null}"#, 1, 7),
        (r#""a""<t>""#, r#""a""text""#, 1, 4),
        (r#""a" <t>"#, r#""a" null"#, 1, 5),
        (r#""\<t>""#, r#""\<t>""#, 1, 2),
        (r#""\u00<t>""#, r#""\u00text""#, 1, 2),
        (r#"{"a":< t >}"#, r#"{"a":< t >}"#, 1, 6),
        (" ", " ", 1, 2),
        ("{", "{", 1, 2),
    ];
    for (template, probe, line, column) in probes {
        let expected = format!(
            "Invalid InputTemplate for target ID : \
             [Source: (String)\"{probe}\"; line: {line}, column: {column}]."
        );
        check_template_refused(&t, template, &expected);
    }
}

#[test]
fn over_a_hundred_paths_are_refused() {
    let paths = |count: usize| -> Vec<(String, String)> {
        (0..count)
            .map(|n| (format!("n{n}"), "$.id".to_owned()))
            .collect()
    };
    let (good, bad) = (paths(100), paths(101));
    assert!(
        compile(Input::Transformer {
            paths: &good,
            template: "null"
        })
        .is_ok()
    );
    let error = compile(Input::Transformer {
        paths: &bad,
        template: "null",
    })
    .unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("1 validation error detected: Value '{n0=$.id, n1=$.id, "),
        "{error}"
    );
    assert!(error.ends_with(
        "n100=$.id}' at 'targets.1.member.inputTransformer.inputPathsMap' failed to satisfy \
         constraint: Member must have length less than or equal to 100"
    ));
}

#[test]
fn of_several_faults_the_first_in_aws_order_is_told() {
    let all = r#"hello <nope> {"<t>":<aws.events.event>}"#;
    let start = |names: &[(&str, &str)], template: &str| {
        let paths = map(names);
        let error = compile(Input::Transformer {
            paths: &paths,
            template,
        })
        .unwrap_err();
        error.to_string()
    };
    assert!(start(&[("a.b", "x")], "").contains("inputTemplate'"));
    assert!(start(&[("a", "x"), ("a.b", "x")], all).contains("{a=x, a.b=x}"));
    assert!(start(&[("t", "x")], all).starts_with("InputPath for"));
    assert!(start(&[("t", "$")], all).contains("invalid placeholder nope"));
    let all = all.replace("<nope> ", "");
    assert!(start(&[("t", "$")], &all).contains("valid only for JSON template"));
    let all = all.replace("aws.events.event", "t");
    assert!(start(&[("t", "$")], &all).contains("object key"));
    let all = all.replace("\"<t>\"", "\"k\"");
    assert!(start(&[("t", "$")], &all).starts_with("Invalid InputTemplate"));
}

#[test]
fn the_door_names_the_target_of_a_constraint() {
    let paths = map(&[("a.b", "$"), ("c", "$.x"), ("c", "$.y")]);
    let error = compile(Input::Transformer {
        paths: &paths,
        template: "null",
    })
    .unwrap_err();
    assert_eq!(
        error.constraint(7),
        Some(format!(
            "Value '{{a.b=$, c=$.y}}' at 'targets.7.member.inputTransformer.inputPathsMap' failed \
             to satisfy constraint: {KEYS}"
        ))
    );
    assert_eq!(compile(Input::Path("x")).unwrap_err().constraint(7), None);
}

#[test]
fn a_fault_is_placed_in_the_template_as_given() {
    let rows = [
        ("hello <t>", 0),
        ("{\"a\":<t> <t>}", 9),
        ("{\"a\":\"<t>\",\"b\":oops}", 15),
        ("{\"a\":<t>,\"b\":<nope>}", 13),
        ("{\"a\":<t>,\"<t>\":1}", 10),
        ("{\"a\":<t>,\"b\":[<aws.events.event>]}", 14),
        ("{\"a\":<aws.events.event>,\"b\":oops}", 28),
        ("{\"a\":<aws.events.rule-name> <t>}", 28),
    ];
    let paths = map(&[("t", "$.detail.text")]);
    for (template, offset) in rows {
        let error = compile(Input::Transformer {
            paths: &paths,
            template,
        })
        .unwrap_err();
        assert_eq!(error.offset_in_template(), Some(offset), "{template}");
        assert!(error.help().is_some());
    }
}

#[test]
fn angle_brackets_that_form_no_placeholder_stay() {
    let t = [("t", "$.detail.text")];
    for same in [
        r#""a < b""#,
        r#""< t >""#,
        r#""<>""#,
        r#""<t""#,
        r#""<é>""#,
        r#""<a.b>""#,
        r#"{"a":"<"}"#,
    ] {
        check_template(&t, same, Ok(same));
    }
    check_template(&t, r#""<<t>>""#, Ok(r#""<hello>""#));
    check_template(&t, r#""a<b<t>c>d""#, Ok(r#""a<bhelloc>d""#));
    check_template(&t, r#""\\<t>""#, Ok(r#""\\hello""#));
}

#[test]
fn values_are_inserted_once() {
    let event = r#"{"detail":{"a":"<b>","b":"no"}}"#;
    let paths = map(&[("a", "$.detail.a"), ("b", "$.detail.b")]);
    let template = r#"{"a":"<a>","b":<b>}"#;
    let input = Input::Transformer {
        paths: &paths,
        template,
    };
    check_on(event, input, Ok(r#"{"a":"<b>","b":"no"}"#));
}

#[test]
fn of_a_doubled_key_in_the_map_the_last_counts() {
    check_template(
        &[("t", "no path"), ("t", "$.detail.number")],
        "<t>",
        Ok("42"),
    );
}

#[test]
fn escapes_are_kept_in_objects_and_undone_in_text() {
    let event = r#"{"detail":{"s":"\u00e9\ud83d\ude00\/\b\f","k":{ "a" : "x \"y\" z" , "b" : [ ] },"w":"\u0041","n":[1, 2]}}"#;
    let paths = map(&[
        ("s", "$.detail.s"),
        ("k", "$.detail.k"),
        ("w", "$.detail.w"),
        ("n", "$.detail.n"),
    ]);
    let check = |template, expected| {
        check_on(
            event,
            Input::Transformer {
                paths: &paths,
                template,
            },
            expected,
        );
    };
    check(
        r#"{"a":<s>,"b":"-<s>"}"#,
        Ok(r#"{"a":"\u00e9\ud83d\ude00\/\b\f","b":"-\u00e9\ud83d\ude00\/\b\f"}"#),
    );
    check(r#""<s>""#, Err("\"é😀/\u{8}\u{c}\""));
    check(r#""<w>""#, Ok(r#""A""#));
    check(r#"{"k":<k>}"#, Ok(r#"{"k":{"a":"x \"y\" z","b":[]}}"#));
    check(r#""<k>""#, Err(r#""{a:x \y\ z,b:[]}""#));
    // An array without strings does no harm inside quotes.
    check(r#"{"n":"<n>"}"#, Ok(r#"{"n":"[1,2]"}"#));
}

#[test]
fn the_whole_event_goes_in_compactly() {
    let template = r#"{"e":<aws.events.event.json> , "f" : <aws.events.event>}"#;
    let event = EVENT.replace("\"detail\":{", "\"detail\": { ");
    let shaper = compile(Input::Transformer {
        paths: &[],
        template,
    })
    .unwrap();
    let sent = shaper.shape(event.as_bytes(), &CONTEXT).unwrap();
    assert!(text(&sent).starts_with(&format!(r#"{{"e":{EVENT} , "f" : {{"id":"#)));
}

#[test]
fn names_of_rules_are_escaped_where_they_must() {
    let context = Context {
        rule_name: "a\"b\\\n\u{1}",
        ..CONTEXT
    };
    let template = r#"{"a":<aws.events.rule-name>,"b":"<aws.events.rule-name>"}"#;
    let shaper = compile(Input::Transformer {
        paths: &[],
        template,
    })
    .unwrap();
    let sent = shaper.shape(EVENT.as_bytes(), &context).unwrap();
    assert_eq!(
        text(&sent),
        r#"{"a":"a\"b\\\n\u0001","b":"a\"b\\\n\u0001"}"#
    );
}

#[test]
fn unknown_placeholders_are_accepted_as_aws_does_only_without_a_map() {
    let options = Options {
        unknown_placeholders_accepted: true,
    };
    let shape = |template| {
        let input = Input::Transformer {
            paths: &[],
            template,
        };
        let shaper = Shaper::compile(&input, "ID", &options).unwrap();
        assert!(matches!(shaper.warnings(), [Warning::Unknown { .. }]));
        shaper
            .shape(EVENT.as_bytes(), &CONTEXT)
            .map(Cow::into_owned)
    };
    assert_eq!(shape(r#""a <b> <b>""#).unwrap(), br#""a <b> <b>""#);
    let body = br#"{"a":<b>}"#.to_vec();
    assert_eq!(shape(r#"{"a":<b>}"#), Err(Unshaped::NotJson { body }));
    let paths = map(&[("t", "$")]);
    let input = Input::Transformer {
        paths: &paths,
        template: r#""<b>""#,
    };
    assert!(Shaper::compile(&input, "ID", &options).is_err());
}

#[test]
fn a_text_template_is_warned_about_once_a_name() {
    let warnings = |names: &[(&str, &str)], template: &str| {
        let paths = map(names);
        let shaper = compile(Input::Transformer {
            paths: &paths,
            template,
        })
        .unwrap();
        shaper.warnings().to_vec()
    };
    let name = "t".to_owned();
    let t = [("t", "$.detail.text")];
    assert_eq!(
        warnings(&t, r#""a <t> <t> <aws.events.rule-name>""#),
        [Warning::RawText {
            name: name.clone(),
            offset: 3
        }]
    );
    assert_eq!(
        warnings(&t, "[<t>]"),
        [Warning::BareText { name, offset: 1 }]
    );
    assert_eq!(warnings(&t, r#"{"a":"<t>"}"#), []);
    assert_eq!(
        warnings(&t, r#"{"a":"<aws.events.rulename>"}"#),
        [Warning::NoPlaceholder {
            name: "aws.events.rulename".to_owned(),
            offset: 6
        }]
    );
    let said = warnings(&t, r#""<t>""#)[0].to_string();
    assert!(said.contains(r#"use the object form, {"t":<t>}"#), "{said}");
}

#[test]
fn the_text_of_a_dead_letter_is_that_of_aws() {
    let error = Unshaped::NotJson { body: Vec::new() };
    assert_eq!(error.to_string(), "Invalid input for target.");
}

/// An event whose detail nests `depth` arrays and objects around `"x"`.
fn deep(depth: usize) -> String {
    let (open, close) = (r#"{"a":["#.repeat(depth / 2), "]}".repeat(depth / 2));
    format!(r#"{{"id":"1","detail":{open}"x"{close}}}"#)
}

#[test]
fn depth_costs_no_stack() {
    let event = deep(200_000);
    let detail = &event[r#"{"id":"1","detail":"#.len()..event.len() - 1];
    check_on(&event, Input::Path("$.detail"), Ok(detail));
    check_on(&event, Input::Path("$.detail.a[0].a[*].b"), Ok("[]"));
    let long = format!("$.detail{}", ".a[0]".repeat(49));
    let inner = &detail[6 * 49..detail.len() - 2 * 49];
    check_on(&event, Input::Path(&long), Ok(inner));
    let paths = map(&[("d", "$.detail")]);
    let raw = format!("\"{}\"", detail.replace('"', ""));
    for (template, expected) in [
        (r#"{"d":<d>}"#, Ok(format!(r#"{{"d":{detail}}}"#))),
        (r#"{"d":"<d>"}"#, Err(format!(r#"{{"d":"{detail}"}}"#))),
        (r#""<d>""#, Ok(raw.clone())),
    ] {
        let input = Input::Transformer {
            paths: &paths,
            template,
        };
        let shaper = compile(input).unwrap();
        let context = Context {
            bytes_max: 1 << 24,
            ..CONTEXT
        };
        let shaped = shaper
            .shape(event.as_bytes(), &context)
            .map(Cow::into_owned);
        match expected {
            Ok(sent) => assert_eq!(shaped.unwrap(), sent.as_bytes()),
            Err(body) => assert_eq!(shaped, Err(Unshaped::NotJson { body: body.into() })),
        }
    }
    let brackets = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    check_on(EVENT, Input::Constant(&brackets), Ok(&brackets));
}

/// Generous: linear work on these sizes takes milliseconds, quadratic takes minutes.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the promise is about real time")]
fn check_fast(name: &str, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{name} took {took:?}");
}

#[test]
fn hostile_templates_take_linear_time_and_bounded_memory() {
    let paths = map(&[("a", "$.detail")]);
    let fill = |unit: &str| unit.repeat(8192 / unit.len());
    let blanks = format!(r#"{{"detail":[{}]}}"#, " ".repeat(1 << 20));
    let big = format!(r#"{{"detail":"{}"}}"#, "x".repeat(1 << 20));
    for template in [
        fill("<a>"),
        fill("<"),
        fill("<a"),
        fill("a"),
        fill("\"<a>\" "),
        fill("{\"a\":"),
        fill("["),
        fill("\\"),
        format!("\"{}\"", fill("<a>")),
        format!("[{}<a>]", fill("<a>,")),
        format!("{{\"a\":[{}<a>]}}", fill("<a>,")),
        format!("\"{}\"", fill("<a.b>")),
    ] {
        check_fast(&template[..20], || {
            let input = Input::Transformer {
                paths: &paths,
                template: &template,
            };
            let Ok(shaper) = compile(input) else { return };
            for event in [&blanks, &big] {
                if let Ok(sent) = shaper.shape(event.as_bytes(), &CONTEXT) {
                    assert!(sent.len() <= CONTEXT.bytes_max);
                }
            }
        });
    }
    let template = format!("{{\"a\":[{}<a>]}}", fill("<a>,"));
    let shaper = compile(Input::Transformer {
        paths: &paths,
        template: &template,
    })
    .unwrap();
    let bytes_max = CONTEXT.bytes_max;
    let shaped = shaper.shape(big.as_bytes(), &CONTEXT);
    assert!(
        matches!(shaped, Err(Unshaped::TooLarge { bytes, bytes_max: max }) if max == bytes_max && 2_000_000_000 < bytes)
    );
}

#[test]
fn a_hundred_long_paths_take_one_pass() {
    let steps = ".a".repeat(120);
    let names: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
    let path = format!("${steps}.x");
    let paths: Vec<(String, String)> = names
        .iter()
        .map(|name| (name.clone(), path.clone()))
        .collect();
    let template = format!(
        "{{\"v\":[{}]}}",
        names
            .iter()
            .map(|n| format!("<{n}>"))
            .collect::<Vec<_>>()
            .join(",")
    );
    let shaper = compile(Input::Transformer {
        paths: &paths,
        template: &template,
    })
    .unwrap();
    let event = format!(
        "{}\"{}\"{}",
        r#"{"a":"#.repeat(120),
        "x".repeat(1 << 20),
        "}".repeat(120)
    );
    let members = r#""k":1,"#.repeat(150_000);
    let wide = format!(
        "{}{{{members}\"x\":2}}{}",
        r#"{"a":"#.repeat(120),
        "}".repeat(120)
    );
    check_fast("long paths", || {
        shaper.shape(event.as_bytes(), &CONTEXT).unwrap();
        let sent = shaper.shape(wide.as_bytes(), &CONTEXT).unwrap();
        assert!(text(&sent).starts_with(r#"{"v":[2,2,"#));
    });
}

/// A random JSON text with blanks here and there.
fn random_json(rng: &mut fastrand::Rng, depth: u32, out: &mut String) {
    const STRINGS: [&str; 6] = ["", "a", "b c", "\\n\\\"", "\\u0061", "é<a>"];
    const SCALARS: [&str; 6] = ["0", "-1.50", "1e5", "true", "null", "false"];
    const KEYS: [&str; 4] = ["a", "b", "\\u0061", "c/d"];
    let blank = |rng: &mut fastrand::Rng, out: &mut String| {
        if rng.u8(..6) == 0 {
            out.push_str([" ", "\n", "\t  "][rng.usize(..3)]);
        }
    };
    match if depth == 0 { rng.u8(..2) } else { rng.u8(..6) } {
        0 => out.push_str(&format!("\"{}\"", STRINGS[rng.usize(..6)])),
        1 => out.push_str(SCALARS[rng.usize(..6)]),
        kind => {
            let is_object = kind < 4;
            out.push(if is_object { '{' } else { '[' });
            blank(rng, out);
            for n in 0..rng.u8(..4) {
                if 0 < n {
                    out.push(',');
                }
                blank(rng, out);
                if is_object {
                    out.push_str(&format!("\"{}\"", KEYS[rng.usize(..4)]));
                    blank(rng, out);
                    out.push(':');
                }
                random_json(rng, depth - 1, out);
                blank(rng, out);
            }
            out.push(if is_object { '}' } else { ']' });
        }
    }
}

/// What a path finds, the plain way, on a tree.
fn naive<'v>(steps: &[&str], value: &'v Value) -> Vec<&'v Value> {
    let Some((step, rest)) = steps.split_first() else {
        return vec![value];
    };
    match (*step, value) {
        ("*", Value::Array(all)) => all.iter().flat_map(|value| naive(rest, value)).collect(),
        ("0" | "1", Value::Array(all)) => {
            let index: usize = step.parse().expect("digits");
            all.get(index)
                .map_or(Vec::new(), |value| naive(rest, value))
        }
        (name, Value::Object(members)) if !matches!(name, "*" | "0" | "1") => members
            .get(name)
            .map_or(Vec::new(), |value| naive(rest, value)),
        _ => Vec::new(),
    }
}

/// Whether a `*` meets an array, so that even nothing found is an empty array.
fn naive_listed(steps: &[&str], value: &Value) -> bool {
    let Some(first) = steps.iter().position(|step| *step == "*") else {
        return false;
    };
    naive(&steps[..first], value)
        .first()
        .is_some_and(|value| value.is_array())
}

#[test]
fn paths_find_what_a_tree_would() {
    for seed in 0..20_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut event = String::new();
        random_json(&mut rng, 6, &mut event);
        let tree: Value = serde_json::from_str(&event).expect("good JSON");
        let mut names = Vec::new();
        let mut expected = Vec::new();
        for n in 0..rng.usize(1..6) {
            let steps: Vec<&str> = (0..rng.usize(..5))
                .map(|_| ["a", "a", "b", "c/d", "0", "1", "*"][rng.usize(..7)])
                .collect();
            let path: String = steps
                .iter()
                .map(|step| match *step {
                    "0" | "1" | "*" => format!("[{step}]"),
                    _ => format!(".{step}"),
                })
                .collect();
            names.push((format!("n{n}"), format!("${path}")));
            let found = naive(&steps, &tree);
            expected.push(if naive_listed(&steps, &tree) {
                Value::Array(found.into_iter().cloned().collect())
            } else {
                found
                    .first()
                    .map_or(Value::String(String::new()), |value| (*value).clone())
            });
        }
        let members: Vec<String> = names.iter().map(|(name, _)| format!("<{name}>")).collect();
        let template = format!("{{\"v\":[{}]}}", members.join(","));
        let shaper = compile(Input::Transformer {
            paths: &names,
            template: &template,
        })
        .unwrap();
        let sent = shaper.shape(event.as_bytes(), &CONTEXT).unwrap();
        let sent: Value = serde_json::from_slice(&sent).expect("good JSON");
        assert_eq!(
            sent["v"],
            Value::Array(expected),
            "seed {seed}: {names:?} on {event}"
        );
        // Inside quotes and in text, values may break the JSON; we and serde_json must agree.
        for template in [
            format!("\"{}\"", members.join(" ")),
            format!("[{}]", members.join(",")),
            format!("{{\"v\":\"{}\",\"w\":{}}}", members.join(" "), members[0]),
        ] {
            let template = &template;
            let shaper = compile(Input::Transformer {
                paths: &names,
                template,
            })
            .unwrap();
            match shaper.shape(event.as_bytes(), &CONTEXT) {
                Ok(sent) => assert!(
                    serde_json::from_slice::<Value>(&sent).is_ok(),
                    "seed {seed}"
                ),
                Err(Unshaped::NotJson { body }) => {
                    assert!(
                        serde_json::from_slice::<Value>(&body).is_err(),
                        "seed {seed}"
                    );
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn json_is_what_serde_json_takes_for_it() {
    const BYTES: &[u8] = b"{}[]\",:\\u01eE+-. \ntfnul\"x\x01";
    for seed in 0..100_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut json = String::new();
        random_json(&mut rng, 3, &mut json);
        let mut bytes = json.into_bytes();
        for _ in 0..rng.usize(..3) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..3) {
                0 if 1 < bytes.len() => drop(bytes.remove(at)),
                1 => bytes.insert(at, BYTES[rng.usize(..BYTES.len())]),
                _ => bytes[at] = BYTES[rng.usize(..BYTES.len())],
            }
        }
        let Ok(json) = String::from_utf8(bytes) else {
            continue;
        };
        let expected = serde_json::from_str::<Value>(&json).is_ok();
        let input = Input::Constant(&json);
        assert_eq!(compile(input).is_ok(), expected, "seed {seed}: {json:?}");
    }
}

#[test]
fn an_event_cut_short_does_not_panic() {
    let paths = map(&NAMES);
    let names: Vec<String> = NAMES.iter().map(|(name, _)| format!("<{name}>")).collect();
    let event = "{\"e\":<aws.events.event>,\"j\":<aws.events.event.json>";
    for template in [
        format!(
            "{event},\"v\":[{}],\"q\":\"{}\"}}",
            names.join(","),
            names.concat()
        ),
        format!("\"{}\"", names.concat()),
    ] {
        let shaper = compile(Input::Transformer {
            paths: &paths,
            template: &template,
        })
        .unwrap();
        for end in 0..EVENT.len() {
            let _ = shaper.shape(&EVENT.as_bytes()[..end], &CONTEXT);
        }
    }
}
