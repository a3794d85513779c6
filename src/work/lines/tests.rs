//! Requests and replies as text.

use super::message::{reply, request, shown};
use super::*;
use crate::gearman::Assignment;

#[test]
fn replies_have_one_key_each() {
    let cases = [
        (r#"{"data":"a"}"#, Reply::Data("a".to_owned())),
        (r#"{ "status" : [3, 10] }"#, Reply::Status(3, 10)),
        (r#"{"warning":"w"}"#, Reply::Warning("w".to_owned())),
        (r#"{"result":"\u00e4\n"}"#, Reply::Result("ä\n".to_owned())),
        (r#"{"result_base64":"/wA="}"#, Reply::ResultBase64(Base64(vec![255, 0]))),
        (r#"{"fail":true}"#, Reply::Fail(True)),
        (r#"{"exception":"e"}"#, Reply::Exception("e".to_owned())),
    ];
    for (line, wanted) in cases {
        assert_eq!(reply(line.as_bytes()), Ok(wanted), "{line}");
    }
}

#[test]
fn what_is_no_reply_is_shown_with_the_reason() {
    for bad in [
        "",
        "hello",
        "[]",
        "{}",
        r#"{"fail":false}"#,
        r#"{"result":1}"#,
        r#"{"result":"a","fail":true}"#,
        r#"{"result_base64":"*"}"#,
        r#"{"status":[1]}"#,
        r#"{"status":[-1,2]}"#,
        r#"{"outcome":"a"}"#,
    ] {
        let why = reply(bad.as_bytes()).unwrap_err();
        let begin = format!("the program answered '{}': ", shown(bad.as_bytes()));
        assert!(why.starts_with(&begin) && why.len() > begin.len(), "{why}");
    }
}

#[test]
fn a_long_line_is_shown_in_part() {
    assert_eq!(shown(&[b'x'; 1000]), format!("{}…", "x".repeat(120)));
    assert_eq!(shown(b"a\tb\xff\r"), "a\\tb\u{fffd}");
}

#[test]
fn a_payload_that_is_no_text_is_sent_in_base64() {
    let check = |payload: &'static [u8], wanted: &str| {
        let job = Assignment::for_test("H:x:1", "f", payload);
        let line = String::from_utf8(request(&job).unwrap()).unwrap();
        assert_eq!(
            line,
            format!("{{\"handle\":\"H:x:1\",\"function\":\"f\",\"unique\":\"u\",{wanted}}}\n")
        );
    };
    check(b"a\"\nb", r#""payload":"a\"\nb""#);
    check(b"\xff\x00", r#""payload_base64":"/wA=""#);
}
