//! Frames of a WebSocket (RFC 6455 §5.2) as their bytes pass by in one direction: where one ends and the
//! next may be put in, and which are heartbeats. Payload is counted, never kept or looked at.

/// The connection goes away with its server (RFC 6455 §7.4.1).
pub const GOING_AWAY: u16 = 1001;
/// The service restarts: connecting again helps (IANA WebSocket close code registry).
pub const SERVICE_RESTART: u16 = 1012;
/// Connecting again at once does not help (same registry).
pub const TRY_AGAIN_LATER: u16 = 1013;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// Longest payload of a control frame (RFC 6455 §5.5).
const MOST_CONTROL: u64 = 125;
/// Longest header: two bytes, a length of eight, a mask of four.
const HEADER: usize = 14;

/// Follows one direction from its first byte.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that have come; 0 between frames.
    have: usize,
    /// Bytes of the payload that are to come.
    left: u64,
    is_heartbeat: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// A close frame has begun: it is the last one.
    Closing,
    /// These were no frames: nothing can be said of what follows.
    Lost,
}

impl Frames {
    /// Follows these bytes. Answers whether any of them is more than a heartbeat: a ping, a pong, an empty
    /// data frame.
    pub fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_active = false;
        while !bytes.is_empty() {
            let (is_more, rest) = self.step(bytes);
            is_active |= is_more;
            bytes = rest;
        }
        is_active
    }

    /// How many of these bytes belong to the frame that is under way, if it ends within them: none where it
    /// ended before, all where these are no frames.
    #[must_use]
    pub fn until_boundary(&self, bytes: &[u8]) -> Option<usize> {
        let (mut ahead, mut rest) = (self.clone(), bytes);
        loop {
            if ahead.state == State::Lost {
                return Some(bytes.len());
            }
            if ahead.is_between() {
                return Some(bytes.len() - rest.len());
            }
            if rest.is_empty() {
                return None;
            }
            (_, rest) = ahead.step(rest);
        }
    }

    /// Whether a frame may be put in here: the last one has ended, and was no close frame.
    #[must_use]
    pub fn may_speak(&self) -> bool {
        self.state == State::Open && self.is_between()
    }

    /// Whether all that has passed were whole frames, as far as it was frames.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state == State::Lost || self.is_between()
    }

    const fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Follows one byte of a header, or what there is of a payload.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> (bool, &'a [u8]) {
        if self.state == State::Lost {
            return (true, &[]);
        }
        if self.left > 0 {
            let here = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.left -= here as u64;
            return (!self.is_heartbeat, &bytes[here..]);
        }
        self.header[self.have] = bytes[0];
        self.have += 1;
        if self.have == self.header_length() {
            self.begin_payload();
        }
        (self.state == State::Lost, &bytes[1..])
    }

    /// Length of the header that has begun, as far as it is known.
    fn header_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let extended = match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn begin_payload(&mut self) {
        let extended = |length: usize| {
            self.header[2..2 + length]
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
        };
        let length = match self.header[1] & !MASKED {
            126 => extended(2),
            127 => extended(8),
            short => u64::from(short),
        };
        let opcode = self.header[0] & 0xF;
        let is_control = opcode & 0x8 != 0;
        let is_whole = self.header[0] & FIN != 0;
        let is_wrong = (is_control && (length > MOST_CONTROL || !is_whole)) || length >> 63 != 0;
        if is_wrong || self.state == State::Closing {
            self.state = State::Lost;
        } else if opcode == CLOSE {
            self.state = State::Closing;
        }
        self.is_heartbeat = matches!(opcode, PING | PONG);
        self.left = length;
        self.have = 0;
    }
}

/// A close frame with that code and reason, of which as much is taken as fits; masked, if it is a client's.
#[must_use]
pub fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    // The code takes two bytes of the payload.
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(&reason.as_bytes()[..end]);
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    let mut frame = vec![FIN | CLOSE];
    if let Some(mask) = mask {
        frame.push(MASKED | length);
        frame.extend(mask);
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
    } else {
        frame.push(length);
    }
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, length: u64, is_masked: bool) -> Vec<u8> {
        let mask = if is_masked { MASKED } else { 0 };
        let mut bytes = vec![first];
        match length {
            0..=125 => bytes.push(mask | u8::try_from(length).unwrap()),
            126..=0xFFFF => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if is_masked {
            bytes.extend([0xFF; 4]);
        }
        bytes.extend(vec![0x88; usize::try_from(length).unwrap()]);
        bytes
    }

    #[test]
    fn heartbeats_are_pings_pongs_and_empty_data() {
        for (first, length, is_active) in [
            (0x89, 0, false),
            (0x89, 125, false),
            (0x8A, 4, false),
            (0x81, 0, false),
            (0x82, 0, false),
            (0x00, 0, false),
            (0x81, 1, true),
            (0x02, 200, true),
            (0xC1, 70_000, true),
            (0x80, 3, true),
        ] {
            for is_masked in [false, true] {
                let mut frames = Frames::default();
                let bytes = frame(first, length, is_masked);
                assert_eq!(frames.pass(&bytes), is_active, "{first:x} {length}");
                assert!(frames.may_speak());
            }
        }
    }

    #[test]
    fn nothing_is_said_after_a_close_or_within_a_frame() {
        let mut frames = Frames::default();
        let ping = frame(0x89, 3, true);
        frames.pass(&ping[..8]);
        assert!(!frames.may_speak());
        assert_eq!(frames.until_boundary(&ping[8..]), Some(1));
        assert_eq!(frames.until_boundary(b""), None);
        frames.pass(&ping[8..]);
        assert!(frames.may_speak());
        assert_eq!(frames.until_boundary(&ping), Some(0), "it ended before");
        frames.pass(&close(1009, "too big", None));
        assert!(!frames.may_speak());
    }

    #[test]
    fn what_is_no_frame_counts_and_is_never_spoken_into() {
        for bytes in [
            frame(0x89, 126, false),
            frame(0x09, 1, false),
            [&[0x82, 127, 0x80][..], &[0; 7]].concat(),
            [close(1000, "", None), frame(0x81, 1, false)].concat(),
        ] {
            let mut frames = Frames::default();
            assert!(frames.pass(&bytes), "{bytes:?}");
            assert!(frames.pass(&frame(0x89, 0, false)));
            assert!(!frames.may_speak());
            assert_eq!(frames.until_boundary(&[0; 64]), Some(64));
        }
    }

    #[test]
    fn a_close_frame_is_one_and_its_reason_is_cut_between_characters() {
        assert_eq!(close(1001, "bye", None), b"\x88\x05\x03\xE9bye");
        let masked = close(1012, "", Some([1, 2, 3, 4]));
        assert_eq!(masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xF4 ^ 2]);
        let long = close(1001, &"é".repeat(100), None);
        assert_eq!((long.len(), long[1]), (2 + 2 + 122, 124));
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_into_reads_changes_nothing(
            kinds in prop::collection::vec((0_usize..4, 0_u64..300, any::<bool>()), 1..8),
            cuts in prop::collection::vec(1_usize..50, 1..60),
        ) {
            let stream: Vec<u8> = kinds
                .iter()
                .flat_map(|&(kind, length, is_masked)| {
                    let first = [0x81, 0x02, 0x89, 0x80][kind];
                    frame(first, if first == 0x89 { length % 126 } else { length }, is_masked)
                })
                .collect();
            let mut whole = Frames::default();
            let is_active = whole.pass(&stream);
            prop_assert!(whole.may_speak());
            let (mut cut, mut at, mut was_active) = (Frames::default(), 0, false);
            for length in cuts.iter().cycle() {
                let end = (at + length).min(stream.len());
                was_active |= cut.pass(&stream[at..end]);
                if end == stream.len() {
                    break;
                }
                if let Some(more) = cut.until_boundary(&stream[end..]) {
                    let mut ahead = cut.clone();
                    ahead.pass(&stream[end..end + more]);
                    prop_assert!(ahead.may_speak());
                }
                at = end;
            }
            prop_assert_eq!(was_active, is_active);
            prop_assert!(cut.may_speak());
        }

        #[test]
        fn any_bytes_are_followed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames::default();
            frames.pass(&bytes);
            let _ = frames.until_boundary(&bytes);
        }
    }
}
