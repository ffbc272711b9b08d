//! The messages of a gRPC health check (`grpc.health.v1`, grpc/grpc `doc/health-checking.md`), as the kubelet
//! makes it for a `grpc` probe. Two messages of one field each need no code generator.

/// Where it is asked.
pub const PATH: &str = "/grpc.health.v1.Health/Check";
/// Most bytes of an answer that are worth reading: one is two bytes in a frame of five.
pub const LONGEST_ANSWER: usize = 1024;

/// Length of what stands before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Field 1 (`service`), of bytes that follow their length.
const SERVICE: u8 = 0x0a;
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// The framed `HealthCheckRequest` for a service; the empty name is the server itself.
#[must_use]
pub fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 8);
    if !service.is_empty() {
        message.push(SERVICE);
        let mut left = service.len();
        while left > 0x7f {
            message.push(0x80 | low(left));
            left >>= 7;
        }
        message.push(low(left));
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.append(&mut message);
    framed
}

/// Whether a framed `HealthCheckResponse` says `SERVING`.
#[must_use]
pub fn is_serving(framed: &[u8]) -> bool {
    let Some((prefix, message)) = framed.split_at_checked(PREFIX) else {
        return false;
    };
    let [compressed, length @ ..] = prefix else {
        return false;
    };
    let is_whole = length
        == u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
    *compressed == 0 && is_whole && status(message) == Some(SERVING)
}

/// The last value of field 1; fields that are not known are skipped, as protobuf has it.
fn status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let skip = match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skip..)?;
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn low(number: usize) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_the_service() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        assert_eq!(long.len(), 5 + 3 + 300);
    }

    #[test]
    fn only_a_whole_answer_that_says_serving_is_one() {
        let framed = |message: &[u8]| {
            let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            framed.extend_from_slice(message);
            framed
        };
        assert!(is_serving(&framed(&[8, 1])));
        // A field of later versions before it, of each kind there is.
        assert!(is_serving(&framed(&[0x12, 1, b'x', 8, 1])));
        assert!(is_serving(&framed(&[0x1d, 0, 0, 0, 0, 8, 1])));
        assert!(is_serving(&framed(&[0x11, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1])));
        for not_serving in [
            &[][..],
            &[8, 2],
            &[8, 0],
            &[8, 1, 8, 2],
            &[8],
            &[0x12, 9, 8, 1],
            &[0x0b],
            &[8, 0xff],
        ] {
            assert!(!is_serving(&framed(not_serving)), "{not_serving:?}");
        }
        let endless = [&[8][..], &[0xff; 20]].concat();
        for bad in [
            &[][..],
            &[0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 3, 8, 1],
            &endless,
        ] {
            assert!(!is_serving(bad), "{bad:?}");
        }
    }
}
