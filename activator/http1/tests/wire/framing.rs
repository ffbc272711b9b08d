//! Where messages end: RFC 9112 §6 and §7, and the ways to have two readers disagree about it.

use reveille_http1::{Asked, Fault, Framing, Length};

use crate::trace::{Came, requests, responses};

fn post(fields: &str, rest: &str) -> crate::trace::Trace {
    requests(
        format!("POST / HTTP/1.1\r\n{fields}\r\n{rest}").as_bytes(),
        &[],
    )
}

fn framing(fields: &str) -> Framing {
    let trace = post(fields, "");
    *trace
        .framings()
        .first()
        .unwrap_or_else(|| unreachable!("{trace:?}"))
}

#[test]
fn lengths_that_two_readers_might_take_differently_are_faults() {
    for fields in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: 5,\r\n",
        "content-length: ,5\r\n",
        "content-length: +5\r\n",
        "content-length: -5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 5\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length:\r\n",
        "content-length: 5\r\ncontent-length:\r\n",
        "content-length: x\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ] {
        let fault = post(fields, "5\r\nhello\r\n0\r\n\r\n").fault();
        assert!(
            matches!(fault, Some(Fault::Ambiguous(_))),
            "{fields:?} {fault:?}"
        );
    }
    for fields in [
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked;q=1\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding:\r\n",
    ] {
        assert_eq!(
            post(fields, "0\r\n\r\n").fault(),
            Some(Fault::Coding),
            "{fields:?}"
        );
    }
    let old = requests(
        b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &[],
    );
    assert!(matches!(old.fault(), Some(Fault::Ambiguous(_))));
}

#[test]
fn lengths_that_agree_are_one_and_do_not_go_on_as_they_came() {
    for fields in [
        "content-length: 5\r\nContent-Length: 5\r\n",
        "content-length: 5, 5\r\n",
    ] {
        let framing = framing_of_five(fields);
        assert!(framing.drops_length && framing.persists, "{fields:?}");
    }
    assert!(!framing_of_five("content-length: 5\r\n").drops_length);
    assert!(!framing_of_five("content-length: 005\r\n").drops_length);
}

fn framing_of_five(fields: &str) -> Framing {
    let trace = post(fields, "hello");
    assert_eq!(trace.contents(), ["hello"], "{fields:?}");
    trace.framings()[0]
}

#[test]
fn the_coding_overrules_the_length_and_nothing_follows_on_that_connection() {
    for fields in [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding: CHUNKED\r\nContent-Length: 3\r\n",
    ] {
        let trace = post(fields, "5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(trace.contents(), ["hello"]);
        let framing = trace.framings()[0];
        assert!(framing.drops_length && !framing.persists, "{framing:?}");
    }
}

#[test]
fn a_connection_goes_on_as_its_version_and_its_options_say() {
    let persists = |head: &str| requests(head.as_bytes(), &[]).framings()[0].persists;
    assert!(persists("GET / HTTP/1.1\r\n\r\n"));
    assert!(!persists("GET / HTTP/1.1\r\nconnection: x, Close\r\n\r\n"));
    assert!(!persists(
        "GET / HTTP/1.1\r\nconnection: x\r\nconnection: close\r\n\r\n"
    ));
    assert!(!persists("GET / HTTP/1.0\r\n\r\n"));
    assert!(persists("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n"));
    assert!(!persists(
        "GET / HTTP/1.0\r\nconnection: keep-alive, close\r\n\r\n"
    ));
}

#[test]
fn the_fields_of_the_hop_are_seen() {
    let seen = framing("connection: x-a, Upgrade\r\nexpect: 100-Continue\r\n");
    assert!(seen.upgrades && seen.expects_continue);
    let old = requests(
        b"GET / HTTP/1.0\r\nconnection: upgrade\r\nexpect: 100-continue\r\n\r\n",
        &[],
    );
    assert!(!old.framings()[0].upgrades && !old.framings()[0].expects_continue);
}

#[test]
fn chunks_that_are_none_are_faults() {
    for rest in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n",
        ";x\r\nhello\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "-5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5_0\r\nhello\r\n",
        "fffffffffffffffff\r\nhello\r\n",
        "00000000000000005\r\nhello\r\n",
        "5 \x01\r\nhello\r\n",
        "5 0\r\nhello\r\n",
        "5 a;b\r\nhello\r\n",
        "5;a\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "5;a\0\r\nhello\r\n",
        "5\nhello\n0\n\n",
        "5\r\rhello\r\n",
        "0\r\n\n",
        "0\r\n\rx",
    ] {
        let trace = post("transfer-encoding: chunked\r\n", rest);
        assert!(
            matches!(trace.fault(), Some(Fault::Chunk(_))),
            "{rest:?} {trace:?}"
        );
        assert_eq!(trace.ends(), 0, "{rest:?}");
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(17 * 1024));
    assert!(matches!(
        post("transfer-encoding: chunked\r\n", &long).fault(),
        Some(Fault::Chunk(_))
    ));
    let many = format!("{}0\r\n\r\n", "1;xxxxxxx\r\na\r\n".repeat(3000));
    assert!(matches!(
        post("transfer-encoding: chunked\r\n", &many).fault(),
        Some(Fault::Chunk(_))
    ));
    for rest in [
        "5\r\nhel",
        "5\r\nhello",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0\r\nx: y\r\n",
        "ffffffffffffffff\r\nx",
    ] {
        assert_eq!(
            post("transfer-encoding: chunked\r\n", rest).fault(),
            Some(Fault::Truncated),
            "{rest:?}"
        );
    }
}

#[test]
fn trailers_are_fields_with_the_limits_of_a_head() {
    let trace = post(
        "transfer-encoding: chunked\r\n",
        "1\r\na\r\n0\r\nDigest: x\r\nb:\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    );
    let named = vec![
        ("Digest".to_owned(), b"x".to_vec()),
        ("b".to_owned(), Vec::new()),
    ];
    assert!(trace.0.contains(&Came::Trailers(named)), "{trace:?}");
    assert_eq!(trace.ends(), 2);
    for (trailers, fault) in [
        ("x y: 1\r\n\r\n", Fault::Head("a field name")),
        (" folded: 1\r\n\r\n", Fault::Head("a field name")),
        ("a: 1\r\n b\r\n\r\n", Fault::Head("a field name")),
    ] {
        let rest = format!("0\r\n{trailers}");
        assert_eq!(
            post("transfer-encoding: chunked\r\n", &rest).fault(),
            Some(fault),
            "{trailers:?}"
        );
    }
    for trailers in ["a: 1\n\r\n", "a: 1\r\n\n"] {
        let fault = post(
            "transfer-encoding: chunked\r\n",
            &format!("0\r\n{trailers}"),
        )
        .fault();
        assert_eq!(fault, Some(Fault::Chunk("a trailer")), "{trailers:?}");
    }
    let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(21));
    assert_eq!(
        post("transfer-encoding: chunked\r\n", &many).fault(),
        Some(Fault::TooManyFields)
    );
    let long = format!("0\r\na: {}\r\n\r\n", "b".repeat(600));
    assert_eq!(
        post("transfer-encoding: chunked\r\n", &long).fault(),
        Some(Fault::TooLong)
    );
}

#[test]
fn pipelined_requests_are_each_its_own() {
    let trace = requests(
        b"POST /1 HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc\r\nPOST /2 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
          1\r\nd\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n\r\n",
        &[],
    );
    assert_eq!(trace.ends(), 3);
    assert_eq!(trace.contents(), ["abc", "d"]);
    assert_eq!(trace.0.last(), Some(&Came::Left(0)));
}

#[test]
fn an_answer_ends_as_its_status_its_request_and_its_fields_say() {
    let of = |asked, head: &str| responses(asked, format!("{head}\r\n").as_bytes(), &[]);
    let length = |asked, head: &str| of(asked, head).framings()[0].length;
    let five = "content-length: 5\r\n";
    let ok = "HTTP/1.1 200 OK\r\n";
    assert_eq!(
        length(Asked::Other, &format!("{ok}{five}")),
        Length::Exactly(5)
    );
    assert_eq!(
        length(Asked::Head, &format!("{ok}{five}")),
        Length::Exactly(0)
    );
    assert_eq!(
        length(Asked::Head, &format!("{ok}transfer-encoding: chunked\r\n")),
        Length::Exactly(0)
    );
    assert_eq!(
        length(Asked::Connect, &format!("{ok}{five}")),
        Length::Tunnel
    );
    assert_eq!(
        length(Asked::Connect, &format!("HTTP/1.1 407 No\r\n{five}")),
        Length::Exactly(5)
    );
    assert_eq!(
        length(Asked::Other, &format!("HTTP/1.1 304 Same\r\n{five}")),
        Length::Exactly(0)
    );
    assert_eq!(
        length(Asked::Other, &format!("HTTP/1.1 204 None\r\n{five}")),
        Length::Exactly(0)
    );
    assert_eq!(
        length(Asked::Other, "HTTP/1.1 101 Switching\r\n"),
        Length::Tunnel
    );
    assert_eq!(length(Asked::Other, ok), Length::UntilClose);
    assert_eq!(
        length(
            Asked::Other,
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n"
        ),
        Length::UntilClose
    );
    assert!(!of(Asked::Other, ok).framings()[0].persists);
    let both = of(
        Asked::Other,
        &format!("{ok}{five}transfer-encoding: chunked\r\n"),
    )
    .framings()[0];
    assert!(both.length == Length::Chunked && both.drops_length && !both.persists);
}

#[test]
fn interim_answers_come_before_the_answer() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 408 Unasked\r\n\r\n";
    let trace = responses(Asked::Other, bytes, &[]);
    let statuses: Vec<u16> = trace
        .0
        .iter()
        .filter_map(|came| match came {
            Came::Response(status, ..) => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [100, 103, 200]);
    assert_eq!(trace.ends(), 1);
    // What nobody asked for is left where it is.
    assert_eq!(trace.0.last(), Some(&Came::Left(24)));
}

#[test]
fn what_follows_a_switch_is_left_to_who_asked_for_it() {
    let trace = responses(
        Asked::Other,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nbytes",
        &[],
    );
    assert_eq!(trace.0.last(), Some(&Came::Left(5)));
    assert_eq!(trace.ends(), 0);
}

#[test]
fn an_answer_until_close_is_whole_when_the_server_closes() {
    let trace = responses(Asked::Other, b"HTTP/1.1 200 OK\r\n\r\nall of it", &[20]);
    assert_eq!(trace.contents(), ["all of it"]);
    assert_eq!(trace.ends(), 1);
    let cut = responses(
        Asked::Other,
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nall of it",
        &[],
    );
    assert_eq!(cut.fault(), Some(Fault::Truncated));
    assert_eq!(
        responses(Asked::Other, b"", &[]).fault(),
        Some(Fault::Truncated)
    );
}
