//! Connections that are nearly right: whole messages, with something wrong in some of them.

use fastrand::Rng;

const METHODS: &[&str] = &[
    "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "X-Y!", "G@T", "get", "CONNECT",
];
const TARGETS: &[&str] = &[
    "/",
    "/a/b?c=d",
    "*",
    "http://h/p",
    "h:80",
    "/%20",
    "/\u{e9}",
    "/a b",
    "/a#b",
    "/\"<>",
    "",
    "//",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "HTTP/1.",
    "http/1.1", "",
];
const STATUSES: &[&str] = &[
    "200", "200", "200", "404", "204", "304", "100", "103", "101", "199", "600", "999", "099",
    "20", "2000", "abc",
];
const REASONS: &[&str] = &[" OK", " OK", "", " ", "  two", " \u{e9}", " a\tb", " \x01"];
const FIELDS: &[&str] = &[
    "Host: a",
    "host: b",
    "X-A: 1",
    "x-a:  2 ",
    "X-Empty:",
    "X-Tab:\t\t1\t",
    "X-Obs: \u{e9}",
    "Cookie: a=b; c=d",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: x-a",
    "connection: Keep-Alive, Close",
    "Connection:",
    "Upgrade: x",
    "Expect: 100-continue",
    "Content-Length: 0",
    "Content-Length: 05",
    "Trailer: x-t",
    "TE: trailers",
];
const WRONG_FIELDS: &[&str] = &[
    "Content-Length: 5, 5",
    "Content-Length: +5",
    "Content-Length: 6",
    "Content-Length: ",
    "Content-Length: 18446744073709551616",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding",
    ": x",
    "x y: z",
    "x\0: y",
    "X-Nul: \0",
    "X-Cr: a\rb",
    "X-Fold: a\r\n b",
    "X-Fold:\r\n\t",
    " X-Lead: a",
    "X-Del: \x7f",
    "\u{e9}: a",
    "",
];
const SIZES: &[&str] = &[
    "zz",
    "",
    "-1",
    "+1",
    "0x1",
    "1 ",
    "1\t",
    " 1",
    "1;a=b",
    "1;a=\"\r\n\"",
    "1;\x01",
    "1;a\n",
    "1;",
    "00000000000000001",
    "1_",
    "ffffffffffffffff",
    "fffffffffffffffff",
];
const ENDS: &[&str] = &[
    "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", "\n\r\n",
];

/// Requests, one after the other.
pub(crate) fn requests(rng: &mut Rng) -> Vec<u8> {
    several(rng, |rng, out| {
        let odds = odds(rng);
        let start = format!(
            "{} {} {}",
            pick(rng, METHODS, odds),
            pick(rng, TARGETS, odds),
            pick(rng, VERSIONS, odds)
        );
        message(rng, odds, &start, out);
    })
}

/// A response, after a few interim ones, before more than was asked for.
pub(crate) fn responses(rng: &mut Rng) -> Vec<u8> {
    several(rng, |rng, out| {
        let odds = odds(rng);
        let start = format!(
            "{} {}{}",
            pick(rng, VERSIONS, odds),
            pick(rng, STATUSES, 3),
            pick(rng, REASONS, odds)
        );
        message(rng, odds, &start, out);
    })
}

fn several(rng: &mut Rng, one: impl Fn(&mut Rng, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..rng.u8(1..4) {
        if rng.u8(..10) == 0 {
            out.extend_from_slice(pick(rng, ENDS, 2).as_bytes());
        }
        one(rng, &mut out);
    }
    if rng.u8(..8) == 0 {
        out.truncate(rng.usize(..=out.len()));
    }
    if rng.u8(..8) == 0 && !out.is_empty() {
        let at = rng.usize(..out.len());
        match rng.u8(..3) {
            0 => out[at] = rng.u8(..),
            1 => out.insert(at, rng.u8(..)),
            _ => drop(out.remove(at)),
        }
    }
    out
}

/// One in so many things of a message is wrong; in most messages none.
fn odds(rng: &mut Rng) -> usize {
    if rng.u8(..4) == 0 { 4 } else { usize::MAX }
}

/// Any of them one time in `odds`, otherwise one of the first two.
fn pick<'t>(rng: &mut Rng, texts: &[&'t str], odds: usize) -> &'t str {
    let many = if rng.usize(..odds) == 0 {
        texts.len()
    } else {
        2
    };
    texts[rng.usize(..many)]
}

fn message(rng: &mut Rng, odds: usize, start: &str, out: &mut Vec<u8>) {
    let mut line = |rng: &mut Rng, text: &str| {
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(pick(rng, ENDS, odds).as_bytes());
    };
    line(rng, start);
    let content: Vec<u8> = (0..rng.usize(..20)).map(|_| rng.u8(..)).collect();
    let is_chunked = rng.bool();
    let has_content = rng.u8(..3) > 0;
    let frames = rng.usize(..3);
    for at in 0..3 {
        for _ in 0..rng.u8(..3) {
            let is_wrong = rng.usize(..odds) == 0;
            let fields = if is_wrong { WRONG_FIELDS } else { FIELDS };
            let field = fields[rng.usize(..fields.len())];
            line(rng, field);
        }
        if at == frames && has_content && is_chunked {
            line(rng, "Transfer-Encoding: chunked");
        } else if at == frames && has_content {
            line(rng, &format!("Content-Length: {}", content.len()));
        }
    }
    line(rng, "");
    if has_content && is_chunked {
        chunks(rng, odds, &content, out);
    } else if has_content {
        out.extend_from_slice(&content);
    }
}

fn chunks(rng: &mut Rng, odds: usize, content: &[u8], out: &mut Vec<u8>) {
    let mut rest = content;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(rng.usize(1..=rest.len()));
        rest = later;
        let is_wrong = rng.usize(..odds) == 0;
        let size = if is_wrong {
            SIZES[rng.usize(..SIZES.len())].to_owned()
        } else {
            format!("{:x}", chunk.len())
        };
        let extension = if rng.u8(..6) == 0 { ";n=v" } else { "" };
        out.extend_from_slice(format!("{size}{extension}{}", pick(rng, ENDS, odds)).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(pick(rng, ENDS, odds).as_bytes());
    }
    out.extend_from_slice(if rng.bool() { b"0" } else { b"000" });
    out.extend_from_slice(pick(rng, ENDS, odds).as_bytes());
    for _ in 0..rng.u8(..2) {
        let is_wrong = rng.usize(..odds) == 0;
        let fields = if is_wrong {
            WRONG_FIELDS
        } else {
            &FIELDS[2..8]
        };
        out.extend_from_slice(fields[rng.usize(..fields.len())].as_bytes());
        out.extend_from_slice(pick(rng, ENDS, odds).as_bytes());
    }
    out.extend_from_slice(pick(rng, ENDS, odds).as_bytes());
}
