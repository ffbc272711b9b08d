//! What the fake knows: objects, what happened to them, and what it is to do wrong.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::query::Asked;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Sandbox,
    Pod,
    Claim,
    Released,
    Policy,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Sandbox,
        Self::Pod,
        Self::Claim,
        Self::Released,
        Self::Policy,
    ];

    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Sandbox => "sandboxes",
            Self::Pod => "pods",
            Self::Claim => "sandboxclaims",
            Self::Released => "releasedclaims",
            Self::Policy => "scaledsandboxes",
        }
    }

    fn root(self) -> &'static str {
        match self {
            Self::Sandbox => "/apis/agents.x-k8s.io",
            Self::Pod => "/api",
            Self::Claim => "/apis/extensions.agents.x-k8s.io",
            Self::Released | Self::Policy => "/apis/reveille.dev",
        }
    }
}

/// A collection as somebody asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
}

/// Something that happened; a line of every watch that it concerns.
#[derive(Clone, Debug)]
pub(crate) struct Happening {
    pub(crate) number: u64,
    pub(crate) revision: u64,
    pub(crate) kind: Kind,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    Object(&'static str, Value),
    /// A line as it stands; ends the watch where empty.
    Raw(String),
}

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) part: String,
    pub(crate) code: u16,
    pub(crate) message: String,
    pub(crate) times: usize,
}

pub(crate) struct Store {
    objects: BTreeMap<(Kind, String), Value>,
    pub(crate) revision: u64,
    /// What happened before is forgotten: watches and tokens of before are answered 410.
    pub(crate) compacted: u64,
    /// A watch from before is told so in an event, not in the status of the answer.
    pub(crate) gone_in_event: bool,
    pub(crate) history: Vec<Happening>,
    /// Number of the last one.
    pub(crate) happenings: u64,
    pub(crate) served: BTreeMap<Kind, Vec<&'static str>>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) requests: Vec<String>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let version = |kind| match kind {
            Kind::Sandbox | Kind::Claim => "v1beta1",
            Kind::Pod => "v1",
            Kind::Released | Kind::Policy => "v1alpha1",
        };
        Self {
            objects: BTreeMap::new(),
            revision: 1,
            compacted: 0,
            gone_in_event: true,
            history: Vec::new(),
            happenings: 0,
            served: Kind::ALL.map(|kind| (kind, vec![version(kind)])).into(),
            refusals: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// Creates or replaces an object of namespace `agents`, unless it names another.
    pub(crate) fn put(&mut self, kind: Kind, mut object: Value) {
        self.revision += 1;
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(self.revision.to_string());
        if meta["namespace"].is_null() {
            meta["namespace"] = json!("agents");
        }
        let name = meta["name"].as_str().unwrap().to_owned();
        let before = self.objects.insert((kind, name), object.clone());
        let verb = if before.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.happened(kind, What::Object(verb, object));
    }

    pub(crate) fn delete(&mut self, kind: Kind, name: &str) {
        let gone = self.objects.remove(&(kind, name.to_owned()));
        let Some(mut object) = gone else {
            panic!("there is no {name}");
        };
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.happened(kind, What::Object("DELETED", object));
    }

    /// Takes an object away without a word.
    pub(crate) fn lose(&mut self, kind: Kind, name: &str) {
        self.revision += 1;
        self.objects.remove(&(kind, name.to_owned())).unwrap();
    }

    /// Sends a line as it stands to all who watch a kind.
    pub(crate) fn line(&mut self, kind: Kind, line: &str) {
        self.happened(kind, What::Raw(line.to_owned()));
    }

    /// Ends all watches of a kind.
    pub(crate) fn end(&mut self, kind: Kind) {
        self.line(kind, "");
    }

    pub(crate) fn bookmark(&mut self, kind: Kind) {
        let version = self.revision.to_string();
        let object = json!({"metadata": {"resourceVersion": version}});
        self.line(
            kind,
            &json!({"type": "BOOKMARK", "object": object}).to_string(),
        );
    }

    /// Forgets what happened so far.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.revision;
        self.history.clear();
    }

    fn happened(&mut self, kind: Kind, what: What) {
        self.happenings += 1;
        let happening = Happening {
            number: self.happenings,
            revision: self.revision,
            kind,
            what,
        };
        self.history.push(happening);
    }

    pub(super) fn refusal(&mut self, target: &str) -> Option<(u16, String)> {
        let fits = |refusal: &&mut Refusal| refusal.times > 0 && target.contains(&refusal.part);
        let refusal = self.refusals.iter_mut().find(fits)?;
        refusal.times -= 1;
        Some((refusal.code, refusal.message.clone()))
    }

    /// The discovery document of a group and version.
    pub(super) fn resources(&self, path: &str) -> Option<Value> {
        let (root, version) = path.rsplit_once('/')?;
        let here = self
            .served
            .iter()
            .filter(|(kind, versions)| kind.root() == root && versions.contains(&version));
        let list: Vec<Value> = here
            .map(|(kind, _)| json!({"name": kind.plural(), "verbs": ["get", "list", "watch"]}))
            .collect();
        (!list.is_empty()).then(|| json!({"kind": "APIResourceList", "resources": list}))
    }

    /// Which collection a path is of.
    pub(super) fn place(&self, path: &str) -> Option<Place> {
        let plural = path.rsplit('/').next()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural)?;
        let rest = path.strip_prefix(kind.root())?.strip_prefix('/')?;
        let parts: Vec<&str> = rest.split('/').collect();
        let (version, namespace) = match parts[..] {
            [version, _] => (version, None),
            [version, "namespaces", namespace, _] => (version, Some(namespace.to_owned())),
            _ => return None,
        };
        let served = self.served.get(&kind)?.contains(&version);
        served.then(|| Place {
            kind,
            version: version.to_owned(),
            namespace,
        })
    }

    /// A page of a list. A token says up to which name, and of when the list is.
    pub(super) fn page(&self, place: &Place, asked: &Asked) -> Result<Value, (u16, String)> {
        let (version, after) = match &asked.token {
            None => (self.revision, ""),
            Some(token) => {
                let (version, after) = token.split_once(':').unwrap();
                (version.parse().unwrap(), after)
            }
        };
        if version < self.compacted {
            return Err((410, "The provided continue parameter is too old".to_owned()));
        }
        let all = self.objects.iter().filter(|((kind, name), object)| {
            *kind == place.kind && name.as_str() > after && place.shows(object, asked)
        });
        let mut found: Vec<_> = all.take(asked.limit.saturating_add(1)).collect();
        let more = found.len() > asked.limit;
        found.truncate(asked.limit);
        let token = found
            .last()
            .filter(|_| more)
            .map(|((_, name), _)| format!("{version}:{name}"));
        let items: Vec<Value> = found
            .into_iter()
            .map(|(_, object)| place.seen(object))
            .collect();
        let meta = json!({"resourceVersion": version.to_string(), "continue": token});
        Ok(json!({"kind": "List", "metadata": meta, "items": items}))
    }
}

impl Place {
    /// Whether an object is of this collection and selected.
    pub(super) fn shows(&self, object: &Value, asked: &Asked) -> bool {
        let meta = &object["metadata"];
        let here = self
            .namespace
            .as_deref()
            .is_none_or(|it| meta["namespace"] == it);
        here && asked
            .label
            .as_ref()
            .is_none_or(|label| match label.split_once('=') {
                None => meta["labels"][label].is_string(),
                Some((label, value)) => meta["labels"][label] == value,
            })
    }

    /// An object in the words of this version.
    pub(super) fn seen(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if self.kind == Kind::Sandbox && self.version == "v1alpha1" {
            let spec = object["spec"].as_object_mut().unwrap();
            let mode = spec.remove("operatingMode");
            let asleep = mode.is_some_and(|mode| mode == "Suspended");
            spec.insert("replicas".to_owned(), json!(i32::from(!asleep)));
        }
        object
    }
}
