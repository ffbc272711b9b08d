//! However a connection's bytes are split, what they are is the same; and nothing that comes makes it panic.

use proptest::prelude::*;
use reveille_http1::Asked;

use crate::trace::{requests, responses};

/// Pieces of HTTP/1.1, whole, broken, and at the limits.
const PARTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "HEAD * HTTP/1.0\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "GET  / HTTP/1.1\r\n",
    "GET / HTTP/2.0\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200\r\n",
    "HTTP/1.0 404 Not Found\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early\r\nlink: a\r\n\r\n",
    "HTTP/1.1 101 Switching\r\n",
    "HTTP/1.1 204 None\r\n",
    "HTTP/1.1 099 Low\r\n",
    "Host: a\r\n",
    "host:b\n",
    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    "Content-Length: 5\r\n",
    "content-length: 5, 5\r\n",
    "content-length: 6\r\n",
    "content-length: 0\r\n",
    "content-length: +5\r\n",
    "content-length:\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "transfer-encoding : chunked\r\n",
    "connection: close\r\n",
    "connection: keep-alive, x-a\r\n",
    "expect: 100-continue\r\n",
    "x-fold: a\r\n b\r\n",
    "x-fold:\r\n\t\r\n",
    "x-empty:\r\n",
    "x-blank: \t \r\n",
    "x a: 1\r\n",
    "x-nul: \0\r\n",
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ";",
    ":",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "5\nhello\n",
    "0\r\n",
    "0\r\n\r\n",
    "00;x\r\nt: 1\r\n\r\n",
    "fffffffffffffffff\r\n",
    "hello",
    "\u{e9}",
    "5\r\nhel",
    "lo\r\n0",
    "g\r\n",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        9 => (0..PARTS.len()).prop_map(|part| PARTS[part].as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(part, 0..14).prop_map(|parts| parts.concat())
}

fn cuts(length: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..=length, 0..6).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![1 => Just(Asked::Head), 1 => Just(Asked::Connect), 5 => Just(Asked::Other)]
}

fn bytes_and_cuts() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    bytes().prop_flat_map(|bytes| (Just(bytes.clone()), cuts(bytes.len())))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_the_same_however_they_are_split((bytes, cuts) in bytes_and_cuts()) {
        let (whole, split) = (requests(&bytes, &[]), requests(&bytes, &cuts));
        prop_assert!(whole == split, "{whole:?}\n{split:?}");
    }

    #[test]
    fn responses_are_the_same_however_they_are_split(asked in asked(), (bytes, cuts) in bytes_and_cuts()) {
        let (whole, split) = (responses(asked, &bytes, &[]), responses(asked, &bytes, &cuts));
        prop_assert!(whole == split, "{whole:?}\n{split:?}");
    }
}

#[test]
fn a_request_byte_by_byte_is_the_same_request() {
    let bytes = b"\r\nPOST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;e=\"v\"\r\nabc\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\nhost: b\r\n\r\n";
    let cuts: Vec<usize> = (0..bytes.len()).collect();
    let trace = requests(bytes, &cuts);
    assert_eq!(trace, requests(bytes, &[]));
    assert_eq!(trace.ends(), 2);
}
