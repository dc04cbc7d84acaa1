//! The bounds of scripts, each tried: what would loop, recurse, grow, wait or look outside ends with a sentence, and the
//! next call goes well.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn compiled(source: &str) -> Result<Script, ScriptError> {
    Script::compile(Kind::Channel, source)
}

async fn called(source: &str, argument: Value) -> Evaluation {
    let script = compiled(source).unwrap_or_else(|e| panic!("{e}\n{source}"));
    script.call("run", vec![argument], Secrets::default()).await
}

/// A call on this thread.
fn evaluate(script: &Script, argument: Value) -> Evaluation {
    let allowed = script.compiled.kind.budget().into();
    script.evaluate("run", vec![argument.into()], Secrets::default(), allowed).unwrap().plain("run")
}

/// The value of an expression over `x`.
async fn value(expression: &str, x: Value) -> Value {
    let evaluation = called(&format!("fn run(x) {{ {expression} }}"), x).await;
    evaluation.result.unwrap_or_else(|e| panic!("{expression}: {e}"))
}

async fn fault(body: &str) -> ScriptError {
    let evaluation = called(&format!("fn run(x) {{ {body} }}"), Value::Null).await;
    evaluation.result.err().unwrap_or_else(|| panic!("passes: {body}"))
}

fn refused(source: &str) -> ScriptError {
    compiled(source).err().unwrap_or_else(|| panic!("compiles: {}", &source[..source.len().min(80)]))
}

#[tokio::test]
async fn data_goes_in_and_out_unchanged() {
    let data = json!({"a": [1, 2.5, "ñ", null, true, {"b": []}], "": {"deep": {"er": [[1]]}}, "big": 9_007_199_254_740_993_i64});
    assert_eq!(value("x", data.clone()).await, data);
    assert_eq!(value("#{sum: x + 1, list: [x, x]}", json!(4)).await, json!({"sum": 5, "list": [4, 4]}));
}

#[tokio::test]
async fn what_ran_is_told() {
    let evaluation = called("fn run(x) { print(\"one\\ntwo\"); debug(x); 1 }", json!("\u{1b}[2J")).await;
    assert_eq!(evaluation.result, Ok(json!(1)));
    assert_eq!(evaluation.log[0], "one\\ntwo");
    assert!(evaluation.log[1].starts_with("line 1: ") && !evaluation.log[1].contains('\u{1b}'), "{:?}", evaluation.log);
    assert!(evaluation.operations > 2);
}

#[tokio::test]
async fn a_log_has_an_end() {
    let evaluation =
        called("fn run(x) { let s = \"\"; s.pad(1000, 'x'); for i in 0..1000 { print(s); } }", json!(0)).await;
    assert_eq!((evaluation.log.len(), evaluation.log[0].len()), (50, 200));
}

#[tokio::test]
async fn helpers_do_what_they_say() {
    let cases = [
        ("url_encode(x)", json!("a b&ñ/~"), json!("a%20b%26%C3%B1%2F~")),
        ("base64(x)", json!("hola"), json!("aG9sYQ==")),
        ("from_base64(x)", json!("aG9sYQ=="), json!("hola")),
        ("from_base64(x)", json!("***"), json!(null)),
        ("basic_auth(x, \"b\")", json!("a"), json!("Basic YTpi")),
        ("sha256(x)", json!("abc"), json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")),
        (
            "hmac_sha256(\"key\", x)",
            json!("The quick brown fox jumps over the lazy dog"),
            json!("f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"),
        ),
        (
            "hmac_sha256_base64(\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", x)",
            json!("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}"),
            json!("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ),
        ("shorten(x, 4)", json!("señorita"), json!("señ…")),
        ("shorten(x, 8)", json!("señorita"), json!("señorita")),
        ("shorten(x, 0)", json!("a"), json!("")),
        ("escape_html(x)", json!("<a href='\"'>&"), json!("&lt;a href=&#39;&quot;&#39;&gt;&amp;")),
        ("to_json(x)", json!({"a": [1, null]}), json!("{\"a\":[1,null]}")),
        (
            "to_json(x)",
            json!({"e\u{301}": "\u{1}e\u{301}\u{200b}"}),
            json!("{\"e\u{301}\":\"\\u0001e\u{301}\u{200b}\"}"),
        ),
        ("x.to_json()", json!({"\u{1}": 1.5}), json!("{\"\\u0001\":1.5}")),
        (
            "const FIXED = #{a: \"\u{301}\"}; FIXED.to_json() + to_json(FIXED)",
            json!(1),
            json!("{\"a\":\"\u{301}\"}{\"a\":\"\u{301}\"}"),
        ),
        ("to_json([x])", json!({"a": "\u{301}"}), json!("[{\"a\":\"\u{301}\"}]")),
        ("parse_json(x)", json!("{\"a\": 1}"), json!({"a": 1})),
        ("parse_json(x)", json!("{"), json!(null)),
        ("pick(x, \"a.1.b\")", json!({"a": [0, {"b": 7}]}), json!(7)),
        ("x.pick(\"a.1.c.d\")", json!({"a": [0, {"b": 7}]}), json!(null)),
        ("pick(x, \"a\")", json!(null), json!(null)),
        ("join(x, \", \")", json!(["a", 1]), json!("a, 1")),
        ("x.replace(\"a\", \"bb\"); x", json!("banana"), json!("bbbnbbnbb")),
        ("x.replace('a', 'o'); x.replace(\"n\", '-'); x.replace('b', \"B\"); x", json!("banana"), json!("Bo-o-o")),
        ("x.replace(\"\", \"-\"); x", json!("ab"), json!("-a-b-")),
    ];
    for (expression, x, expected) in cases {
        assert_eq!(value(expression, x).await, expected, "{expression}");
    }
}

#[tokio::test]
async fn what_runs_away_is_stopped_and_the_next_call_goes_well() {
    let cases = [
        "loop {}",
        "let n = 0; while true { n += 1; }",
        "for i in 0..9000000000 { let a = i; }",
        "let a = []; loop { a.push(a); }",
        "let a = []; loop { a = [a]; }",
        "let a = #{}; loop { a = #{a: a, b: a}; }",
        "let s = \"x\"; loop { s += s; }",
        "let s = \"x\"; loop { s = `${s}${s}`; }",
        "let s = \"\"; s.pad(60000, 'x'); let t = s; s.replace(\"x\", t); s",
        "let s = \"\"; s.pad(60000, 'x'); s.replace('x', \"xx\"); s.replace('x', 'ñ'); s.replace('ñ', \"ññ\"); s",
        "let s = \"\"; s.pad(9000000000, 'x'); s",
        "let s = \"\"; s.pad(9000000000, \"xy\"); s",
        "let a = []; a.pad(9000000000, 0); a",
        "let a = []; a.pad(1900, 0); a.pad(2000, a); a",
        "let s = \"\"; s.pad(60000, '<'); escape_html(s)",
        "let s = \"\"; s.pad(60000, '\"'); to_json([s])",
        "let s = \"\"; s.pad(40, 'x'); let a = []; a.pad(1600, s); join(a, s)",
        "let f = |g| g.call(g); f.call(f)",
        "let a = []; a.pad(2000, 0); a.sort(|x, y| { loop {} }); a",
        "let a = []; a.pad(2000, 0); a.map(|x| { let n = 0; while true { n += 1; } n })",
    ];
    for body in cases {
        let error = fault(body).await;
        assert_eq!(error.code, "script_limit", "{body}: {error}");
        assert_eq!(value("x", json!("still here")).await, json!("still here"));
    }
}

#[tokio::test]
async fn recursion_ends() {
    let deep = called("fn run(x) { run(x) }", json!(0)).await.result.unwrap_err();
    assert_eq!(deep.code, "script_limit");
    assert!(deep.detail.contains("deep"), "{deep}");
    let both = "fn ping(x) { pong(x) } fn pong(x) { ping(x) } fn run(x) { ping(x) }";
    assert_eq!(called(both, json!(0)).await.result.unwrap_err().code, "script_limit");
}

/// Values nested as deep as the limits let them be can still be printed, compared, copied and dropped.
#[tokio::test]
async fn deep_values_fit_on_the_stack() {
    let deepest = "let a = []; for i in 0..1990 { a = [a]; }";
    for then in
        ["to_string(a).len", "to_debug(a).len", "a == a", "let b = a; b.push(1); b.len", "print(a); 1", "to_json(a)"]
    {
        let evaluation = called(&format!("fn run(x) {{ {deepest} {then} }}"), json!(0)).await;
        let code = evaluation.result.as_ref().err().map(|e| e.code);
        assert!(
            evaluation.result.is_ok() || code == Some("script_failed") || code == Some("script_limit"),
            "{then}: {evaluation:?}"
        );
    }
    let returned = called(&format!("fn run(x) {{ {deepest} a }}"), json!(0)).await.result.unwrap_err();
    assert!(returned.detail.contains("nested deeper") || returned.code == "script_limit", "{returned}");
}

/// As deep as the bounds let a script be, in every way it can be: none of it needs more than a quarter of the stack.
#[test]
fn the_deepest_that_is_allowed_leaves_most_of_the_stack_free() {
    const NESTED: [(&str, &str); 9] = [
        ("[", "]"),
        ("#{a: ", "}"),
        ("!", ""),
        ("(1 + ", ")"),
        ("{ ", " }"),
        ("if true { ", " } else { 0 }"),
        ("switch 1 { 1 => ", ", _ => 0 }"),
        ("`${", "}`"),
        ("abs(", ")"),
    ];
    for kind in [Kind::Predicate, Kind::Rule, Kind::Channel] {
        for (open, close) in NESTED {
            // Each call goes as deep as the compiler lets it before it calls itself again.
            let source = |depth: usize| {
                let (open, close) = (open.repeat(depth), close.repeat(depth));
                format!("fn run(n) {{ if n == 0 {{ return 1; }} {open}run(n - 1){close} }}")
            };
            let depth = (1..=kind.budget().depth).rev().find(|depth| Script::compile(kind, &source(*depth)).is_ok());
            let depth = depth.unwrap_or_else(|| panic!("{open} does not compile at all"));
            let source = source(depth);
            let said = pool::run_in_a_quarter(move || {
                let script = Script::compiled(kind, &source, "", Ok(engine::of(kind).compile(&source))).unwrap();
                let calls = (1..=20_i64).map(|n| evaluate(&script, json!(n)));
                // What they return may be no plain data, or nested too deep to be told; or a call was one too many.
                calls.map(|ran| ran.result.map(drop).map_err(|e| e.code)).collect::<Vec<_>>()
            });
            assert_eq!(said.last(), Some(&Err("script_limit")), "{open} at {depth}: {said:?}");
            assert!(said.iter().filter(|s| **s != Err("script_limit")).count() >= 5, "{open} at {depth}: {said:?}");
        }
    }
    let deepest = "let a = []; for i in 0..1990 { a = [a]; }";
    let maps = "let a = #{}; for i in 0..490 { a = #{a: a}; }";
    let mixed = "let a = []; for i in 0..490 { a = #{a: [a, `${i}`]}; }";
    for then in [
        "to_string(a)",
        "to_debug(a)",
        "a == a",
        "let b = a; b == a",
        "print(a); debug(a)",
        "to_json(a)",
        "a",
        "throw a",
    ] {
        for value in [deepest, maps, mixed] {
            let script = Script::compile(Kind::Channel, &format!("fn run(x) {{ {value} {then} }}")).unwrap();
            let ran = pool::run_in_a_quarter(move || evaluate(&script, json!(0)));
            assert!(ran.operations > 400, "{then}: {ran:?}");
        }
    }
    // Functions given to functions, and data as deep as a request may be.
    let through = "fn down(v) { v.map(|x| down(x)).len } fn run(x) { down(x) }";
    let data = |depth: usize| (0..depth).fold(json!([]), |inner, _| json!([inner, {"a": 1}]));
    for (source, depth) in
        [(through, 20), ("fn run(x) { to_json(x).len + parse_json(to_json(x)).len }", 60), ("fn run(x) { x }", 60)]
    {
        let (script, data) = (Script::compile(Kind::Rule, source).unwrap(), data(depth));
        let ran = pool::run_in_a_quarter(move || evaluate(&script, data));
        assert!(ran.operations > 0, "{source}: {ran:?}");
    }
}

#[tokio::test]
async fn each_kind_has_its_own_budget() {
    let source = "fn run(x) { let n = 0; for i in 0..x { n += 1; } n }";
    let count = async |kind, n| {
        let script = Script::compile(kind, source).unwrap();
        script.call("run", vec![json!(n)], Secrets::default()).await.result
    };
    assert_eq!(count(Kind::Predicate, 1_000).await, Ok(json!(1_000)));
    assert_eq!(count(Kind::Predicate, 20_000).await.unwrap_err().code, "script_limit");
    assert_eq!(count(Kind::Rule, 200_000).await.unwrap_err().code, "script_limit");
}

#[test]
fn what_has_no_place_in_a_script_does_not_compile() {
    for source in [
        "fn run(x) { eval(\"1\") }",
        "fn run(x) { let f = Fn(\"eval\"); f.call(\"1\") }",
        "import \"x\" as y;",
        "fn run(x) { x.curry(1) }",
        "export let a = 1;",
    ] {
        let error = refused(source);
        assert_eq!(error.code, "script_invalid", "{source}: {error}");
        assert!(error.line == Some(1) && error.column.is_some(), "{source}: {error}");
    }
    for source in [
        format!("fn run(x) {{ {}1{} }}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("fn run(x) {{ {}1{} }}", "[".repeat(10_000), "]".repeat(10_000)),
        format!("fn run(x) {{ {}{} }}", "if x {".repeat(2_000), "}".repeat(2_000)),
        format!("fn run(x) {{ {}x }}", "!".repeat(10_000)),
        format!("fn run(x) {{ 1{} }}", "+1".repeat(10_000)),
        format!("fn run(x) {{ x{} }}", ".a".repeat(10_000)),
        (0..40).map(|n| format!("fn f{n}() {{}}")).collect::<Vec<_>>().join("\n"),
        format!("// {}", "x".repeat(300_000)),
    ] {
        assert_eq!(refused(&source).code, "script_invalid", "{}", &source[..40]);
    }
}

#[tokio::test]
async fn nothing_outside_can_be_reached() {
    for body in [
        "sleep(1)",
        "sleep(0.1)",
        "timestamp()",
        "rand()",
        "random()",
        "open_file(\"/etc/passwd\")",
        "blob(100000000)",
        "env(\"HOME\")",
    ] {
        let source = format!("fn run(x) {{ {body} }}");
        if let Err(error) = compiled(&source) {
            assert_eq!(error.code, "script_invalid", "{body}");
        } else {
            let error = fault(body).await;
            assert_eq!(error.code, "script_failed", "{body}: {error}");
        }
    }
}

#[tokio::test]
async fn faults_name_the_place_and_the_nearest_right_word() {
    let unknown = refused("fn run(message) {\n    let text = mesage.text;\n    text\n}");
    assert_eq!((unknown.line, unknown.column), (Some(2), Some(16)));
    assert_eq!(unknown.to_string(), "line 2 column 16: there is no variable `mesage` (did you mean `message`?)");
    let captured = refused("fn run(x) { let most = 3; x.filter(|n| n < most) }");
    assert!(captured.detail.contains("sees only its own parameters"), "{captured}");
    let unclosed = refused("fn run(x) {\n    x +\n}");
    assert!(unclosed.line.is_some() && unclosed.column.is_some(), "{unclosed}");

    let function = fault("\n  url_encod(\"a\")").await;
    assert!(function.to_string().starts_with("line 2 column 3: there is no function `url_encod"), "{function}");
    assert!(function.detail.contains("did you mean `url_encode`?"), "{function}");
    let own = called("fn shout(t) { t } fn run(x) { shoot(x) }", json!("")).await.result.unwrap_err();
    assert!(own.detail.contains("did you mean `shout`?"), "{own}");
    let arguments = fault("url_encode(1)").await;
    assert!(arguments.detail.contains("that takes these"), "{arguments}");
    let field = fault("let a = #{b: 1}; a.c").await;
    assert!(field.detail.contains("there is no field `c`"), "{field}");
    let thrown = fault("throw \"no good\"").await;
    assert!(thrown.detail.contains("the script threw: no good"), "{thrown}");
    let long = fault("let s = \"\"; s.pad(5000, 'x'); throw s").await;
    assert!(long.detail.chars().count() <= 501);
}

#[tokio::test]
async fn only_plain_data_comes_out() {
    for (body, what) in [("|a| a", "Fn"), ("#{a: [1, 0..3]}", "a[1]"), ("0.0 / 0.0", "finite")] {
        let error = fault(body).await;
        assert_eq!(error.code, "script_result", "{body}: {error}");
        assert!(error.detail.contains(what), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_missing_function_is_an_error_of_the_call() {
    let script = compiled("fn other(x) { 1 }").unwrap();
    assert_eq!(script.call("run", vec![json!(1)], Secrets::default()).await.result.unwrap_err().code, "script_failed");
    assert!(script.has("other") && !script.has("run"));
}

#[tokio::test]
async fn many_calls_share_few_threads() {
    let script = compiled("fn run(x) { let n = 0; for i in 0..100 { n += x; } n }").unwrap();
    let calls = (0..1000).map(|n| script.call("run", vec![json!(n)], Secrets::default()));
    for (n, evaluation) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(evaluation.result, Ok(json!(n * 100)));
    }
}

mod at_once {
    use std::sync::LazyLock;

    use secrecy::SecretString;
    use tokio::runtime::Runtime;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::runtime::gateway;

    /// On the gateway's threads.
    fn spawn_with_room<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        static GATEWAY: LazyLock<Runtime> = LazyLock::new(|| gateway().unwrap());
        GATEWAY.spawn(task)
    }

    /// A call where there is room for it, and whether the next one would be begun there as well.
    async fn called(source: &str, x: Value) -> (Result<Value, ScriptError>, bool) {
        let script = compiled(source).unwrap();
        let called = spawn_with_room(async move {
            let called = script.call_at_once("run", |_| vec![x.clone().into()], Secrets::default()).await;
            (called.result.map(|made| made.into_value().unwrap()), script.pace.as_ref().unwrap().is_quick())
        });
        called.await.unwrap()
    }

    #[tokio::test]
    async fn a_long_call_is_made_in_its_turn_and_comes_to_the_same() {
        let count = "fn run(x) { let n = 0; for i in 0..x { n += 1; } n }";
        assert_eq!(called(count, json!(10)).await, (Ok(json!(10)), true));
        assert_eq!(called(count, json!(20_000)).await, (Ok(json!(20_000)), false));
        // Few operations, each of them much work.
        let heavy = "fn run(x) { let n = 0; for i in 0..12 { n += parse_json(x).len(); } n }";
        let long = json!(format!("[{}1]", "1,".repeat(1_900)));
        assert_eq!(called(heavy, long).await, (Ok(json!(12 * 1_901)), false));
        // A function that goes on when it is stopped ends no other way.
        let swallows = "fn run(x) { let a = []; for i in 0..900 { a += 900 - i; } a.sort(|a, b| a - b); a[0] }";
        assert_eq!(called(swallows, json!(0)).await, (Ok(json!(1)), false));
        for (body, code) in [("loop {}", "script_limit"), ("x.y", "script_failed"), ("|a| a", "")] {
            assert_eq!(spawn_with_room(fault_code(body)).await.unwrap(), code, "{body}");
        }
    }

    async fn fault_code(body: &'static str) -> &'static str {
        let script = compiled(&format!("fn run(x) {{ {body} }}")).unwrap();
        let called = script.call_at_once("run", |_| vec![json!({}).into()], Secrets::default()).await;
        called.result.err().map_or("", |e| e.code)
    }

    #[tokio::test]
    async fn what_the_first_try_made_of_a_secret_is_forgotten() {
        let secret = Arc::new(SecretString::from("s3cret-canary"));
        let script = compiled("fn run(x) { let s = base64(x); for i in 0..5000 {} s }").unwrap();
        let called = spawn_with_room(async move {
            let secrets = Secrets::lend([("token", &secret)]);
            let given = |secrets: &Secrets| vec![json!(secrets.placeholder("token")).into()];
            script.call_at_once("run", given, secrets).await
        });
        let called = called.await.unwrap();
        let said = called.result.unwrap().into_text().unwrap_or_default();
        assert!(said.starts_with("{{secret:made-1:"), "{said}");
        assert_eq!(called.secrets.reveal(&said), "czNjcmV0LWNhbmFyeQ==");
    }

    #[tokio::test]
    async fn scripts_that_loop_hold_up_nobody_elses() {
        let loops: Vec<_> = (0..4).map(|_| compiled("fn run(x) { loop {} }").unwrap().for_whom("loops")).collect();
        let many = loops.iter().cycle().take(40).cloned().map(|script| {
            spawn_with_room(async move {
                script.call_at_once("run", |_| vec![json!(1).into()], Secrets::default()).await.result.is_err()
            })
        });
        let many: Vec<_> = many.collect();
        for n in 0..50 {
            assert_eq!(called("fn run(x) { x + 1 }", json!(n)).await, (Ok(json!(n + 1)), true));
        }
        // Whoever had to wait for those would have waited for all of them.
        assert!(many.iter().any(|loops| !loops.is_finished()));
        many.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

mod with_secrets {
    use secrecy::SecretString;

    use super::*;

    const VALUE: &str = "s3cret-canary/+";

    async fn lent(expression: &str) -> (String, Secrets) {
        let secret = Arc::new(SecretString::from(VALUE));
        let secrets = Secrets::lend([("token", &secret)]);
        let placeholder = secrets.placeholder("token");
        let script = compiled(&format!("fn run(x) {{ {expression} }}")).unwrap();
        let evaluation = script.call("run", vec![json!(placeholder)], secrets).await;
        let said = evaluation.result.unwrap_or_else(|e| panic!("{expression}: {e}"));
        (said.as_str().unwrap().to_owned(), evaluation.secrets)
    }

    #[tokio::test]
    async fn a_script_uses_a_secret_and_never_sees_it() {
        for (expression, expected) in [
            ("x", VALUE.to_owned()),
            ("\"Bearer \" + x", format!("Bearer {VALUE}")),
            ("url_encode(x)", "s3cret-canary%2F%2B".to_owned()),
            ("base64(\"u:\" + x)", base64_of(&format!("u:{VALUE}"))),
            ("basic_auth(\"u\", x)", format!("Basic {}", base64_of(&format!("u:{VALUE}")))),
            ("url_encode(base64(x))", base64_of(VALUE).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")),
        ] {
            let (said, secrets) = lent(expression).await;
            assert!(!said.contains("canary"), "{expression} shows {said}");
            assert_eq!(secrets.reveal(&said), expected, "{expression}");
            assert!(!secrets.cover(&secrets.reveal(&said)).contains("canary"), "{expression}");
        }
    }

    #[tokio::test]
    async fn a_signature_is_made_of_the_value() {
        let (by_placeholder, _) = lent("hmac_sha256(x, \"text\")").await;
        let by_value = value("hmac_sha256(x, \"text\")", json!(VALUE)).await;
        assert_eq!(json!(by_placeholder), by_value);
    }

    #[tokio::test]
    async fn a_forged_or_old_placeholder_stays_text() {
        let secret = Arc::new(SecretString::from(VALUE));
        let old = Secrets::lend([("token", &secret)]).placeholder("token");
        let secrets = Secrets::lend([("token", &secret)]);
        for forged in ["{{secret:token}}", "{{secret:token:00000000000000000000000000000000}}", &old] {
            assert_eq!(secrets.reveal(forged), forged);
        }
    }

    #[tokio::test]
    async fn what_comes_back_is_hidden_again() {
        let secret = Arc::new(SecretString::from(VALUE));
        let secrets = Secrets::lend([("token", &secret)]);
        let mut hidden = format!("you sent {VALUE}");
        secrets.hide(&mut hidden);
        assert_eq!(hidden, format!("you sent {}", secrets.placeholder("token")));
    }

    fn base64_of(text: &str) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    }
}
