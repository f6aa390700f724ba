use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    match Pattern::parse(text) {
        Ok(_) => panic!("{text} was taken"),
        Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
    }
}

#[track_caller]
fn check_span(text: &str, span: &str, path: &str) {
    let error = Pattern::parse(text).unwrap_err();
    assert_eq!((&text[error.span()], error.path()), (span, path), "{text}");
}

#[test]
fn every_refusal_has_the_words_of_the_service() {
    let complex = "Rule is too complex - try using fewer wildcard characters or fewer repeating \
                   character sequences after a wildcard character";
    let value = "Value of anything-but must be an array or single string/number value.";
    let item = "Inside anything but list, start|null|boolean is not supported.";
    let mixed = "Inside anything but list, either all values are number or string, mixed type is \
                 not supported";
    let affix = "prefix/suffix match pattern must be a string";
    let fold = "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not \
                supported.";
    let elements = "Too many elements in numeric expression";
    let second = "Only one key allowed in match expression";
    let table = [
        (
            r#"{"a":[{"exactly":1}]}"#,
            "exact match pattern must be a string",
        ),
        (
            r#"{"a":[{"prefix":1}]}"#,
            "prefix match pattern must be a string",
        ),
        (
            r#"{"a":[{"prefix":["x"]}]}"#,
            "prefix match pattern must be a string",
        ),
        (
            r#"{"a":[{"suffix":null}]}"#,
            "suffix match pattern must be a string",
        ),
        (
            r#"{"a":[{"prefix":{}}]}"#,
            "Prefix expression name not found",
        ),
        (
            r#"{"a":[{"suffix":{}}]}"#,
            "Suffix expression name not found",
        ),
        (
            r#"{"a":[{"prefix":{"x":1}}]}"#,
            "Unsupported prefix pattern: x",
        ),
        (
            r#"{"a":[{"suffix":{"x":1}}]}"#,
            "Unsupported suffix pattern: x",
        ),
        (
            r#"{"a":[{"suffix":{"equals-ignore-case":1}}]}"#,
            "equals-ignore-case match pattern must be a string",
        ),
        (
            r#"{"a":[{"equals-ignore-case":["x"]}]}"#,
            "equals-ignore-case match pattern must be a string",
        ),
        (
            r#"{"a":[{"exists":"true"}]}"#,
            "exists match pattern must be either true or false.",
        ),
        (
            r#"{"a":[{"wildcard":1}]}"#,
            "wildcard match pattern must be a string",
        ),
        (
            r#"{"a":[{"wildcard":"arn:aws:events:us-east-1:**"}]}"#,
            "Consecutive wildcard characters at pos 26",
        ),
        (
            r#"{"a":[{"wildcard":"\\x"}]}"#,
            "Invalid escape character at pos 1",
        ),
        (
            r#"{"a":[{"wildcard":"x\\"}]}"#,
            "Invalid escape character at pos 2",
        ),
        (
            r#"{"a":[{"numeric":">"}]}"#,
            "Value of numeric must be an array.",
        ),
        (
            r#"{"a":[{"numeric":[]}]}"#,
            "Invalid member in numeric match: ]",
        ),
        (
            r#"{"a":[{"numeric":[5]}]}"#,
            "Invalid member in numeric match: 5",
        ),
        (
            r#"{"a":[{"numeric":[{}]}]}"#,
            "Invalid member in numeric match: {",
        ),
        (
            r#"{"a":[{"numeric":[[]]}]}"#,
            "Invalid member in numeric match: [",
        ),
        (
            r#"{"a":[{"numeric":["!=",5]}]}"#,
            "Unrecognized numeric range operator: !=",
        ),
        (
            r#"{"a":[{"numeric":["="]}]}"#,
            "Value of equals must be numeric",
        ),
        (
            r#"{"a":[{"numeric":["<","5"]}]}"#,
            "Value of < must be numeric",
        ),
        (
            r#"{"a":[{"numeric":[">",0,"<="]}]}"#,
            "Value of <= must be numeric",
        ),
        (r#"{"a":[{"numeric":["=",1,2]}]}"#, elements),
        (r#"{"a":[{"numeric":["<",1,">",0]}]}"#, elements),
        (r#"{"a":[{"numeric":["<=",1e400,">"]}]}"#, elements),
        (
            r#"{"a":[{"numeric":[">",1,2]}]}"#,
            "Bad value in numeric range: 2",
        ),
        (
            r#"{"a":[{"numeric":[">",1,true]}]}"#,
            "Bad value in numeric range: true",
        ),
        (
            r#"{"a":[{"numeric":[">",1,">",2]}]}"#,
            "Bad numeric range operator: >",
        ),
        (
            r#"{"a":[{"numeric":[">",1,"<",2,3]}]}"#,
            "Too many terms in numeric range expression",
        ),
        (
            r#"{"a":[{"numeric":[">",2,"<",2]}]}"#,
            "Bottom must be less than top",
        ),
        (
            r#"{"a":[{"numeric":[">=",2,"<=",2]}]}"#,
            "Bottom must be less than top",
        ),
        (
            r#"{"a":[{"numeric":["=",1e400]}]}"#,
            "Cannot compare number : 1e400",
        ),
        (
            r#"{"a":[{"anything-but":[1,9007199254740993]}]}"#,
            "Cannot compare number : 9007199254740993",
        ),
        (
            r#"{"a":[{"anything-but":1e400}]}"#,
            "Cannot compare number : 1e400",
        ),
        (r#"{"a":[{"numeric":["=",1],"x":1}]}"#, elements),
        (r#"{"a":[{"anything-but":1,"x":1}]}"#, elements),
        (r#"{"a":[{"anything-but":{"prefix":"x","y":1}}]}"#, elements),
        (r#"{"a":[{"anything-but":true}]}"#, value),
        (r#"{"a":[{"anything-but":null}]}"#, value),
        (r#"{"a":[{"anything-but":{"prefix":{}}}]}"#, value),
        (
            r#"{"a":[{"anything-but":{}}]}"#,
            "Anything-But expression name not found",
        ),
        (
            r#"{"a":[{"anything-but":{"x":1}}]}"#,
            "Unsupported anything-but pattern: x",
        ),
        (r#"{"a":[{"anything-but":["a",null]}]}"#, item),
        (r#"{"a":[{"anything-but":[true]}]}"#, item),
        (r#"{"a":[{"anything-but":[[1]]}]}"#, item),
        (r#"{"a":[{"anything-but":[{}]}]}"#, item),
        (r#"{"a":[{"anything-but":["a",1]}]}"#, mixed),
        (r#"{"a":[{"anything-but":[]}]}"#, mixed),
        (r#"{"a":[{"anything-but":{"prefix":1}}]}"#, affix),
        (r#"{"a":[{"anything-but":{"suffix":["x",null]}}]}"#, affix),
        (
            r#"{"a":[{"anything-but":{"prefix":""}}]}"#,
            "Null prefix/suffix not allowed",
        ),
        (
            r#"{"a":[{"anything-but":{"suffix":["x",""]}}]}"#,
            "Null prefix/suffix not allowed",
        ),
        (r#"{"a":[{"anything-but":{"equals-ignore-case":1}}]}"#, fold),
        (
            r#"{"a":[{"anything-but":{"wildcard":["**",1]}}]}"#,
            "wildcard match pattern must be a string",
        ),
        (
            r#"{"a":[{"anything-but":{"prefix":[]}}]}"#,
            "Empty arrays are not allowed",
        ),
        (
            r#"{"a":[{"cidr":1}]}"#,
            "prefix match pattern must be a string",
        ),
        (
            r#"{"a":[{"cidr":"10.0.0.0"}]}"#,
            "Malformed CIDR, one '/' required",
        ),
        (
            r#"{"a":[{"cidr":"10.0.0.0/"}]}"#,
            "Malformed CIDR, one '/' required",
        ),
        (
            r#"{"a":[{"cidr":"10.0.0.0/1/2"}]}"#,
            "Malformed CIDR, one '/' required",
        ),
        (
            r#"{"a":[{"cidr":"x/y"}]}"#,
            "Malformed CIDR, mask bits must be an integer",
        ),
        (
            r#"{"a":[{"cidr":"x/-1"}]}"#,
            "Malformed CIDR, mask bits must not be negative",
        ),
        (r#"{"a":[{"cidr":"x/1"}]}"#, "Nonstandard IP address: x"),
        (r#"{"a":[{"cidr":"/1"}]}"#, "Nonstandard IP address: "),
        (
            r#"{"a":[{"cidr":"10.0.0.256/1"}]}"#,
            "Invalid IP address: 10.0.0.256",
        ),
        (r#"{"a":[{"cidr":":::/1"}]}"#, "Invalid IP address: :::"),
        (
            r#"{"a":[{"cidr":"10.0.0.0/32"}]}"#,
            "IPv4 mask bits must be < 32",
        ),
        (
            r#"{"a":[{"cidr":"::/128"}]}"#,
            "IPv6 mask bits must be < 128",
        ),
        (
            r#"{"$or":{"a":[1]}}"#,
            "It must be an Array followed with $or.",
        ),
        (r#"{"$or":1}"#, "It must be an Array followed with $or."),
        (
            r#"{"$or":[1,{"a":[1]}]}"#,
            "Only JSON object is allowed in array of $or relationship.",
        ),
        (
            r#"{"$or":[{"a":[1]}]}"#,
            "There must have at least 2 Objects in $or relationship.",
        ),
        (
            r#"{"$or":[]}"#,
            "There must have at least 2 Objects in $or relationship.",
        ),
        (r#"{"$or":[{"a":[1]},{}]}"#, "Empty objects are not allowed"),
        (
            r#"{"$or":[{"a":[1]},{"b":{"prefix":[1]}}]}"#,
            "prefix is Ruler reserved fieldName which cannot be used inside $or.",
        ),
        ("[]", "Filter is not an object"),
        (
            "this is not JSON",
            "Unrecognized token 'this': was expecting (JSON String, Number, Array, Object or \
             token 'null', 'true' or 'false')",
        ),
        ("{}", "Empty objects are not allowed"),
        (r#"{"a":{}}"#, "Empty objects are not allowed"),
        (r#"{"a":[]}"#, "Empty arrays are not allowed"),
        (r#"{"a":1}"#, "\"a\" must be an object or an array"),
        (r#"{"x":{"a":"b"}}"#, "\"a\" must be an object or an array"),
        (r#"{"a":null}"#, "\"a\" must be an object or an array"),
        (
            r#"{"a":[[1]]}"#,
            "Match value must be String, number, true, false, or null",
        ),
        (r#"{"a":[{}]}"#, "Match expression name not found"),
        (r#"{"a":[{"x":1}]}"#, "Unrecognized match type x"),
        (r#"{"a":[{"prefix":"x","suffix":"y"}]}"#, second),
        (r#"{"a":[{"exists":true,"x":1}]}"#, second),
        (
            r#"{"a":[{"prefix":{"equals-ignore-case":"x","y":1}}]}"#,
            second,
        ),
        (r#"{"a":[{"wildcard":"*:*:*:*:*:event-bus/*"}]}"#, complex),
    ];
    for (text, expected) in table {
        check(text, expected);
    }
}

#[test]
fn the_first_fault_of_the_text_is_reported() {
    check(
        r#"{"a":[{"prefix":1,"x":1}],"b":[]}"#,
        "prefix match pattern must be a string",
    );
    check(r#"{"a":[{"x":1},[1]]}"#, "Unrecognized match type x");
    // Except that complexity is counted when all else is well.
    check(
        r#"{"a":[{"wildcard":"*:*:*:*:*:event-bus/*"}],"b":[]}"#,
        "Empty arrays are not allowed",
    );
}

#[test]
fn what_looks_odd_and_is_allowed() {
    for text in [
        r#"{"a":[{"anything-but":""}]}"#,
        r#"{"a":[{"anything-but":{"wildcard":""}}]}"#,
        r#"{"a":[{"anything-but":{"equals-ignore-case":""}}]}"#,
        r#"{"a":[{"prefix":""},{"suffix":""},"",null]}"#,
        r#"{"prefix":[1],"a":{"cidr":[1]}}"#,
        r#"{"a":[{"cidr":"10.0.0.0/24/"},{"cidr":"10.0.0.9/+24"},{"cidr":"10.0.0.0/-0"}]}"#,
        r#"{"a":[1e400,9007199254740993]}"#,
        r#"{"a":[1,1,"x","x"]}"#,
        r#"{"":[1],"a":{"":[1]}}"#,
        r#"{"a":[{"numeric":[">=",-1e300,"<",1e300]}]}"#,
    ] {
        assert!(Pattern::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn a_fault_knows_its_place() {
    check_span(r#"{"a":{"b":[1,{"prefx":"x"}]}}"#, r#""prefx""#, "a.b");
    check_span(r#"{"a":{"b":[1,{"prefix":[]}]}}"#, "[]", "a.b");
    check_span(r#"{"a":[{"prefix":"x","y":1}]}"#, r#""y""#, "a");
    check_span(r#"{"a":{"b":"é"}}"#, r#""é""#, "a.b");
    check_span(r#"{"a":[{"numeric":[">",1,2]}]}"#, "2", "a");
    check_span(r#"{"a":[{"numeric":[">" ]}]}"#, "]", "a");
    check_span(r#"{"x":{"$or":[{"a":[1]}]}}"#, r#"[{"a":[1]}]"#, "x");
    check_span(r#"{"a":[]}"#, "[]", "a");
    check_span("{\"a\":[oops]}", "oops", "");
    check_span("{\"a\":[", "", "");
    check_span(" []", "[]", "");
}

#[test]
fn help_names_what_was_probably_meant() {
    let help = |leaf: &str| {
        let pattern = format!("{{\"a\":[{leaf}]}}");
        Pattern::parse(&pattern).unwrap_err().help()
    };
    for (leaf, meant) in [
        (r#"{"prefx":"x"}"#, "prefix"),
        (r#"{"Anything_But":"x"}"#, "anything-but"),
        (r#"{"anythingBut":"x"}"#, "anything-but"),
        (r#"{"equalsIgnoreCase":"x"}"#, "equals-ignore-case"),
        (r#"{"exsits":true}"#, "exists"),
        (r#"{"startsWith":"x"}"#, "prefix"),
        (r#"{"not":"x"}"#, "anything-but"),
        (r#"{"anything-but":{"sufix":"x"}}"#, "suffix"),
        (r#"{"numeric":["=>",1]}"#, ">="),
        (r#"{"numeric":["==",1]}"#, "="),
    ] {
        assert_eq!(help(leaf), format!("did you mean `{meant}`?"), "{leaf}");
    }
    assert!(help(r#"{"regexp":"x"}"#).starts_with("there are no regular expressions"));
    assert!(help(r#"{"numeric":["!=",1]}"#).contains("anything-but"));
    assert_eq!(
        help(r#"{"frobnicate":"x"}"#),
        "the operators are prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric, \
         exists, cidr, exactly"
    );
    assert_eq!(
        help(r#"{"anything-but":{"regex":"x"}}"#),
        "the operators are prefix, suffix, equals-ignore-case, wildcard"
    );
}

#[test]
fn a_diagnostic_tells_the_reason_then_the_place_then_what_to_try() {
    let text = "{\"a\":\n [{\"prefx\":1}]}";
    let error = Pattern::parse(text).unwrap_err();
    assert_eq!(
        Diagnostic::from(&error).told(text),
        "Unrecognized match type prefx\n at line 2, column 4, in `a`: did you mean `prefix`?"
    );
}

#[test]
fn a_diagnostic_has_all_of_it() {
    let error = Pattern::parse(r#"{"a":[{"prefx":"x"}]}"#).unwrap_err();
    assert_eq!(
        Diagnostic::from(&error),
        Diagnostic {
            code: "pattern::unknown_operator",
            message: "Unrecognized match type prefx".to_owned(),
            span: 7..14,
            path: "a".to_owned(),
            help: Some("did you mean `prefix`?".to_owned()),
        }
    );
}

#[test]
fn depth_and_alternatives_are_bounded() {
    let nested = |depth: usize| {
        let open = "{\"a\":".repeat(depth - 1);
        format!("{open}[1]{}", "}".repeat(depth - 1))
    };
    assert!(Pattern::parse(&nested(100)).is_ok());
    check(
        &nested(101),
        "Not a JSON text: nested deeper than 100 levels",
    );
    check(
        &"[".repeat(1_000_000),
        "Not a JSON text: nested deeper than 100 levels",
    );

    let or = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("{{\"a\":[{n}]}}")).collect();
        format!("\"$or\":[{}]", members.join(","))
    };
    let product = |counts: &[usize]| {
        let all: Vec<String> = counts.iter().map(|count| or(*count)).collect();
        format!("{{{}}}", all.join(","))
    };
    let pattern = Pattern::parse(&product(&[10, 10, 10])).unwrap();
    assert_eq!(pattern.alternatives().len(), 1_000);
    assert!(Pattern::parse(&product(&[1_000])).is_ok());
    let refusal = "more than 1000 rule combinations";
    check(&product(&[1_001]), refusal);
    check(&product(&[10, 10, 11]), refusal);
    check(&product(&[2; 200]), refusal);
}

#[test]
fn the_complexity_limit_is_a_choice() {
    let text = r#"{"a":[{"wildcard":"*:*:*:*:*:event-bus/*"}]}"#;
    let with = |complexity_limit| Pattern::parse_with(text, &Options { complexity_limit });
    assert!(with(None).is_ok());
    assert!(with(Some(11)).is_ok());
    assert_eq!(with(Some(10)).unwrap_err().code(), "pattern::too_complex");
}
