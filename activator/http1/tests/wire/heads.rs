//! Heads: what is one, what is none, and what is passed on of it.

use reveille_http1::{Asked, Fault, RequestHead, ResponseHead, Table};

use crate::trace::{Came, LIMITS, requests, responses};

fn request(head: &str) -> Option<Fault> {
    requests(head.as_bytes(), &[]).fault()
}

#[test]
fn what_is_no_head_is_a_fault() {
    for head in [
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / HTTP/0.9\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\nx a: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nx : 1\r\n\r\n",
        "GET / HTTP/1.1\r\n: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nx\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\x7fb\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n x: a\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
    ] {
        assert!(
            matches!(request(head), Some(Fault::Head(_))),
            "{head:?} {:?}",
            request(head)
        );
    }
    for head in [
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
    ] {
        let fault = responses(Asked::Other, head.as_bytes(), &[]).fault();
        assert!(matches!(fault, Some(Fault::Head(_))), "{head:?} {fault:?}");
    }
}

#[test]
fn a_head_has_its_limits() {
    let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(request(&fields(LIMITS.fields)), None);
    assert_eq!(
        request(&fields(LIMITS.fields + 1)),
        Some(Fault::TooManyFields)
    );

    let of = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(length - rest))
    };
    assert_eq!(request(&of(LIMITS.head_bytes)), None);
    assert_eq!(request(&of(LIMITS.head_bytes + 1)), Some(Fault::TooLong));
    let blank = "\r\n".repeat(LIMITS.head_bytes);
    assert_eq!(
        request(&format!("{blank}GET / HTTP/1.1\r\n\r\n")),
        Some(Fault::TooLong)
    );
}

#[test]
fn a_client_that_leaves_between_requests_has_closed_and_within_one_has_cut_it() {
    assert_eq!(requests(b"", &[]).0, [Came::Closed, Came::Left(0)]);
    assert_eq!(requests(b"\r\n\n", &[]).0, [Came::Closed, Came::Left(0)]);
    for cut in [
        "G",
        "GET / HTTP/1.1\r\nx: y\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhell",
    ] {
        assert_eq!(request(cut), Some(Fault::Truncated), "{cut:?}");
    }
}

/// What is written of a request's fields, but those called `gone`.
fn passed_on(head: &str) -> String {
    let (mut table, mut out) = (Table::default(), Vec::new());
    let (head, _) = RequestHead::parse(head.as_bytes(), 100, &mut table)
        .expect("a head")
        .expect("a whole one");
    head.fields.copy(|field| !field.is("gone"), &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn fields_go_on_as_they_came() {
    let head =
        "GET / HTTP/1.1\r\nHOST: a\r\nx-A:1\r\nGone: 1\r\nX-b:  two \r\ngone: 2\r\nLast:\r\n\r\n";
    assert_eq!(
        passed_on(head),
        "HOST: a\r\nx-A:1\r\nX-b:  two \r\nLast:\r\n"
    );
    assert_eq!(passed_on("GET / HTTP/1.1\r\ngone: 1\r\n\r\n"), "");
    assert_eq!(passed_on("GET / HTTP/1.1\r\n\r\n"), "");
}

#[test]
fn a_bare_line_feed_does_not_go_on() {
    let head = "GET / HTTP/1.1\na: 1\r\nb:2 \nc: 3\r\ngone: 4\nd: 5\n\n";
    assert_eq!(passed_on(head), "a: 1\r\nb: 2\r\nc: 3\r\nd: 5\r\n");
}

#[test]
fn a_folded_field_of_an_answer_goes_on_as_one_line_and_blanks_before_a_colon_do_not() {
    let came = b"HTTP/1.1 200 OK\r\na : 1\r\nb: 2\r\n\t3\r\n \r\n 4 \r\nc:\r\n d\r\ne:\r\n \r\nf: 6\r\n\r\n";
    let (mut table, mut out) = (Table::default(), Vec::new());
    let (head, length) = ResponseHead::parse(came, 100, &mut table)
        .expect("a head")
        .expect("a whole one");
    head.fields.copy(|_| true, &mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "a: 1\r\nb: 2 3 4\r\nc: d\r\ne: \r\nf: 6\r\n"
    );
    assert_eq!(length, came.len());
}
