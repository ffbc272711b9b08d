//! What is passed on reads back as what came.

use proptest::prelude::*;
use reveille_http1::{Asked, RequestHead, Table, write};

use crate::trace::{requests, responses};

#[test]
fn chunks_go_on_as_they_came_without_their_extensions() {
    let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    for (came, wire) in [
        ("5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        (
            "005\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n",
            "005\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n",
        ),
        (
            "5;a=b;c=\"d;e\"\r\nhello\r\n0;x\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("5 \t\r\nhello\r\n0 ; x\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let trace = requests(format!("{head}{came}").as_bytes(), &[]);
        assert_eq!(trace.wires(), [wire], "{came:?}");
        assert_eq!(trace.ends(), 1);
    }
}

fn token() -> impl Strategy<Value = String> {
    "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}"
}

fn value() -> impl Strategy<Value = String> {
    "([!-~][ -~\t]{0,20}[!-~])?"
}

fn content() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_head_that_is_passed_on_is_the_same_head(
        method in token(),
        target in "/[!-~]{0,20}",
        fields in proptest::collection::vec(("x-", token(), "[ \t]{0,2}", value(), prop_oneof!["\r\n", "\n"]), 0..12),
        kept in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let lines = fields.iter().map(|(x, name, blank, value, end)| format!("{x}{name}:{blank}{value}{blank}{end}"));
        let came = format!("{method} {target} HTTP/1.1\r\n{}\r\n", lines.collect::<String>());
        let (mut table, mut again) = (Table::default(), Table::default());
        let (head, length) = RequestHead::parse(came.as_bytes(), 100, &mut table).expect("a head").expect("whole");
        prop_assert_eq!(length, came.len());

        let (mut out, mut keep) = (Vec::new(), kept.iter());
        write::request_line(head.method, head.target, &mut out);
        head.fields.copy(|_| *keep.next().expect("as many"), &mut out);
        out.extend_from_slice(b"\r\n");

        let (back, _) = RequestHead::parse(&out, 100, &mut again).expect("a head").expect("whole");
        prop_assert_eq!((back.method, back.target), (method.as_str(), target.as_str()));
        let expected: Vec<(String, &[u8])> = fields
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| **kept)
            .map(|((x, name, _, value, _), _)| (format!("{x}{name}"), value.as_bytes()))
            .collect();
        let found: Vec<(String, &[u8])> = back.fields.iter().map(|field| (field.name.to_owned(), field.value)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn content_in_chunks_is_the_same_content(pieces in content(), status in 200..600_u16) {
        prop_assume!(status != 204 && status != 304);
        let mut out = Vec::new();
        write::status_line(status, b"Well", &mut out);
        out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            write::chunk_size(piece.len(), &mut out);
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(write::LAST_CHUNK);
        let head = out.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;

        let trace = responses(Asked::Other, &out, &[]);
        let (data, wire) = (pieces.concat(), &out[head..]);
        let expected = [crate::trace::Came::Content(data, wire.to_vec()), crate::trace::Came::End];
        prop_assert_eq!(&trace.0[1..3], &expected);
    }
}
