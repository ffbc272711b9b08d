//! What a connection's bytes come to.

use reveille_http1::{
    Asked, Content, Fault, Fields, Framing, Heads, Length, Limits, Part, Table, Version,
};

pub(crate) const LIMITS: Limits = Limits {
    head_bytes: 512,
    fields: 20,
};

/// A head's fields, each with its value.
pub(crate) type Named = Vec<(String, Vec<u8>)>;

/// One thing that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Request(String, String, Version, Named, Framing),
    Response(u16, String, Version, Named, Framing),
    /// Content without its framing, and with it as it may be passed on.
    Content(Vec<u8>, Vec<u8>),
    Trailers(Named),
    End,
    Closed,
    Fault(Fault),
    /// More input is needed, or none of it is HTTP any longer: what is left.
    Left(usize),
}

/// All that came, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace(pub(crate) Vec<Came>);

/// What a client's `bytes` are that arrive in pieces which end at `cuts`, and then end.
pub(crate) fn requests(bytes: &[u8], cuts: &[usize]) -> Trace {
    let (mut heads, mut table) = (Heads::new(LIMITS), Table::default());
    Trace::of(bytes, cuts, |input, has_ended| {
        let Some((head, framing, taken)) = heads.request(input, has_ended, &mut table)? else {
            let is_closed = has_ended.then_some((input.len(), Came::Closed, None));
            return Ok(is_closed);
        };
        let (method, target) = (head.method.to_owned(), head.target.to_owned());
        let came = Came::Request(method, target, head.version, named(head.fields), framing);
        Ok(Some((
            taken,
            came,
            Some(Content::of(framing.length, LIMITS)),
        )))
    })
}

/// What the answer of a server is to a request that asked so.
pub(crate) fn responses(asked: Asked, bytes: &[u8], cuts: &[usize]) -> Trace {
    let (mut heads, mut table, mut is_over) = (Heads::new(LIMITS), Table::default(), false);
    Trace::of(bytes, cuts, |input, has_ended| {
        if is_over {
            return Ok(None);
        }
        let found = heads.response(asked, input, has_ended, &mut table)?;
        Ok(found.map(|(head, framing, taken)| {
            let reason = head.reason.to_owned();
            let came = Came::Response(
                head.status,
                reason,
                head.version,
                named(head.fields),
                framing,
            );
            is_over = !framing.is_interim(head.status);
            let has_content = is_over && framing.length != Length::Tunnel;
            let content = has_content.then(|| Content::of(framing.length, LIMITS));
            (taken, came, content)
        }))
    })
}

/// `None` stands for what leaves no trace.
fn came(part: Part<'_>) -> Option<Came> {
    Some(match part {
        Part::Data(data) => Came::Content(data.to_vec(), data.to_vec()),
        Part::Framing(bytes) => Came::Content(Vec::new(), bytes.to_vec()),
        Part::Extension => return None,
        Part::Trailers(fields) => Came::Trailers(named(fields)),
        Part::End => Came::End,
    })
}

/// Every field with its value.
pub(crate) fn named(fields: Fields<'_>) -> Named {
    let pair = |field: reveille_http1::Field<'_>| (field.name.to_owned(), field.value.to_vec());
    fields.iter().map(pair).collect()
}

/// A head, its length, and the content that follows it.
type Step = Result<Option<(usize, Came, Option<Content>)>, Fault>;

impl Trace {
    fn of(bytes: &[u8], cuts: &[usize], mut head: impl FnMut(&[u8], bool) -> Step) -> Self {
        let (mut trace, mut table) = (Self::default(), Table::default());
        let (mut at, mut content) = (0, None::<Content>);
        let ends = cuts.iter().copied().chain([bytes.len(), bytes.len()]);
        let last = cuts.len() + 1;
        for (piece, end) in ends.enumerate() {
            let has_ended = piece == last;
            loop {
                let input = &bytes[at..end.max(at)];
                let (taken, came) = match &mut content {
                    Some(reading) => match reading.next(input, has_ended, &mut table) {
                        Err(fault) => return trace.failed(fault),
                        Ok(None) => break,
                        Ok(Some((taken, part))) => {
                            if matches!(part, Part::End) {
                                content = None;
                            }
                            (taken, came(part))
                        }
                    },
                    None => match head(input, has_ended) {
                        Err(fault) => return trace.failed(fault),
                        Ok(None) => break,
                        Ok(Some((taken, came, follows))) => {
                            content = follows;
                            (taken, Some(came))
                        }
                    },
                };
                at += taken;
                let is_over = matches!(came, Some(Came::Closed));
                came.into_iter().for_each(|came| trace.add(came));
                if is_over {
                    break;
                }
            }
        }
        trace.0.push(Came::Left(bytes.len() - at));
        trace
    }

    fn failed(mut self, fault: Fault) -> Self {
        self.0.push(Came::Fault(fault));
        self
    }

    fn add(&mut self, came: Came) {
        match (self.0.last_mut(), came) {
            (Some(Came::Content(data, wire)), Came::Content(more, more_wire)) => {
                data.extend(more);
                wire.extend(more_wire);
            }
            (_, came) => self.0.push(came),
        }
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.0.iter().find_map(|came| match came {
            Came::Fault(fault) => Some(*fault),
            _ => None,
        })
    }

    /// The content of each message, without its framing.
    pub(crate) fn contents(&self) -> Vec<String> {
        let text = |came: &Came| match came {
            Came::Content(data, _) => Some(String::from_utf8_lossy(data).into_owned()),
            _ => None,
        };
        self.0.iter().filter_map(text).collect()
    }

    /// How the content may be passed on.
    pub(crate) fn wires(&self) -> Vec<String> {
        let text = |came: &Came| match came {
            Came::Content(_, wire) => Some(String::from_utf8_lossy(wire).into_owned()),
            _ => None,
        };
        self.0.iter().filter_map(text).collect()
    }

    /// The framing of each head.
    pub(crate) fn framings(&self) -> Vec<Framing> {
        let framing = |came: &Came| match came {
            Came::Request(.., framing) | Came::Response(.., framing) => Some(*framing),
            _ => None,
        };
        self.0.iter().filter_map(framing).collect()
    }

    /// How many messages came whole.
    pub(crate) fn ends(&self) -> usize {
        self.0.iter().filter(|came| **came == Came::End).count()
    }
}
