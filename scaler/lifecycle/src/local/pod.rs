//! One pod: init containers in order, sidecars among them, then all containers; and the end of it.
//!
//! One task per running pod. When [`Pod::run`] returns, no process of the pod is alive.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Slot};
use super::container::{Ended, Probes, Restart, Runner};
use super::environment::{HOST, Identity, PortMap, Surroundings, declared_ports};
use super::listening;
use super::logs::Log;
use super::machine::Machine;
use super::mounts::Mounts;
use super::orphans::RunRecord;
use super::ports::Port;
use super::stop::Stop;
use super::volumes::{Folder, Volumes};

/// Step between two tries to prepare a pod (a full disk, say).
const PREPARE_AGAIN: Duration = Duration::from_secs(10);

/// Longest hold of a place among those that start at once: a slow start must not stop the others.
const START_PLACE: Duration = Duration::from_secs(5);

/// Default `terminationGracePeriodSeconds`.
const GRACE: Duration = Duration::from_secs(30);

/// Where the ports of a pod are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// On this machine's own address, each at a free port, and told when the init containers are done.
    Shared,
    /// On an address of 127.0.0.0/8 that no other pod has, as the containers declare them, and told at once.
    Own(Ipv4Addr),
}

/// One pod to run.
pub struct Pod {
    /// Where.
    pub machine: Arc<Machine>,
    /// Who.
    pub identity: Identity,
    /// What. Volumes that are neither emptyDirs nor in `folders` cannot be mounted.
    pub spec: PodSpec,
    /// Its volumes, but for emptyDirs.
    pub folders: Vec<Folder>,
    /// Reached how.
    pub address: Address,
    /// Told of everything.
    pub board: Arc<Board>,
    /// Until when.
    pub stop: Stop,
}

/// Time that a pod of this spec has for its end where nobody says otherwise.
#[must_use]
pub fn grace(spec: &PodSpec) -> Duration {
    let seconds = spec.termination_grace_period_seconds;
    seconds.map_or(GRACE, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    })
}

/// What a pod holds while it lives.
struct Prepared {
    record: RunRecord,
    volumes: Volumes,
    /// Of each init container.
    init_mounts: Vec<Mounts>,
    /// Of each other container.
    main_mounts: Vec<Mounts>,
    ports: Vec<Port>,
    map: Vec<PortMap>,
}

impl Pod {
    /// Runs the pod until all its containers ended for good, or until it is told to stop. When this
    /// returns, no process of it is alive and its emptyDirs are gone. Not cancel-safe.
    pub async fn run(self) {
        let board = &*self.board;
        let Some((place, mut prepared)) = self.prepare(board).await else {
            return self.machine.discard_scratch(&self.identity.uid);
        };
        if let Address::Own(address) = self.address {
            board.addressed(address, &prepared.map);
        }
        for port in &mut prepared.ports {
            port.hand_over();
        }
        let (init, main) = self.runners(board, &prepared);
        let done = CancellationToken::new();
        let keep_place = async {
            tokio::select! {
                () = tokio::time::sleep(START_PLACE) => {}
                () = board.first_ready().cancelled() => {}
                () = done.cancelled() => {}
            }
            drop(place);
        };
        let live = async {
            self.live(board, &prepared, &init, &main).await;
            done.cancel();
        };
        let sandbox = self.name();
        let listens = async {
            let told = async {
                board.first_ready().cancelled().await;
                if self.address == Address::Shared {
                    listening::watch(&sandbox, &prepared.map).await;
                }
            };
            done.run_until_cancelled(told).await;
        };
        tokio::join!(keep_place, listens, live);
        drop((init, main));
        self.machine.strays.end(&self.identity.uid).await;
        prepared.record.remove();
        drop(prepared.volumes);
        self.machine.discard_scratch(&self.identity.uid);
    }

    /// A place among the starting, ports and folders, as often as it takes; `None` if told to stop meanwhile.
    async fn prepare(&self, board: &Board) -> Option<(SemaphorePermit<'_>, Prepared)> {
        loop {
            let place = tokio::select! {
                biased; // an end beats a start
                () = self.stop.begun() => return None,
                // The semaphore is never closed.
                place = self.machine.starts.acquire() => place.ok()?,
            };
            match self.try_prepare() {
                Ok(prepared) => return Some((place, prepared)),
                Err(error) => {
                    let sandbox = self.name();
                    tracing::error!(%sandbox, %error, "cannot start the pod of {sandbox}, trying again: {error}");
                    board.cannot_start(&error);
                }
            }
            drop(place);
            tokio::select! {
                biased; // an end beats a start
                () = self.stop.begun() => return None,
                () = tokio::time::sleep(PREPARE_AGAIN) => {}
            }
        }
    }

    fn try_prepare(&self) -> Result<Prepared, String> {
        let machine = &*self.machine;
        let uid = &self.identity.uid;
        let volumes = Volumes::prepare(
            &machine.state,
            &machine.in_use,
            uid,
            &self.folders,
            &self.spec,
        )?;
        let init = self.spec.init_containers.iter().flatten();
        let init_mounts = init
            .map(|container| volumes.mounts(container))
            .collect::<Result<_, _>>()?;
        let main_mounts = self
            .spec
            .containers
            .iter()
            .map(|each| volumes.mounts(each))
            .collect::<Result<_, _>>()?;
        let declared = declared_ports(self.containers());
        let mut ports = Vec::with_capacity(declared.len());
        let mut map = Vec::with_capacity(declared.len());
        for (name, container) in declared {
            if let Address::Own(_) = self.address {
                map.push(PortMap {
                    name,
                    container,
                    local: container,
                });
                continue;
            }
            let port = machine
                .ports
                .reserve()
                .map_err(|error| format!("no port for {container}: {error}"))?;
            map.push(PortMap {
                name,
                container,
                local: port.number,
            });
            ports.push(port);
        }
        let record = RunRecord::create(&machine.state.run(), uid, grace(&self.spec))
            .map_err(|error| format!("the state folder cannot be written: {error}"))?;
        Ok(Prepared {
            record,
            volumes,
            init_mounts,
            main_mounts,
            ports,
            map,
        })
    }

    fn containers(&self) -> impl Iterator<Item = &Container> {
        // The first declared port is that of the first main container.
        self.spec
            .containers
            .iter()
            .chain(self.spec.init_containers.iter().flatten())
    }

    const fn ip(&self) -> Ipv4Addr {
        match self.address {
            Address::Shared => HOST,
            Address::Own(address) => address,
        }
    }

    /// For log lines.
    fn name(&self) -> String {
        format!("{}/{}", self.identity.namespace, self.identity.name)
    }

    fn runners<'a>(
        &'a self,
        board: &'a Board,
        prepared: &'a Prepared,
    ) -> (Vec<Runner<'a>>, Vec<Runner<'a>>) {
        let policy = match self.spec.restart_policy.as_deref() {
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ => Restart::Always,
        };
        // An init container that succeeded is done; one that failed is tried again unless Never.
        let init_policy = if policy == Restart::Never {
            Restart::Never
        } else {
            Restart::OnFailure
        };
        let init = self
            .spec
            .init_containers
            .iter()
            .flatten()
            .zip(&prepared.init_mounts)
            .enumerate();
        let init = init.map(|(index, (container, mounts))| {
            let restart = if container.restart_policy.is_some() {
                Restart::Always
            } else {
                init_policy
            };
            self.runner(
                board,
                prepared,
                container,
                mounts,
                (Slot::Init(index), restart),
            )
        });
        let main = self
            .spec
            .containers
            .iter()
            .zip(&prepared.main_mounts)
            .enumerate();
        let main = main.map(|(index, (container, mounts))| {
            self.runner(
                board,
                prepared,
                container,
                mounts,
                (Slot::Main(index), policy),
            )
        });
        (init.collect(), main.collect())
    }

    fn runner<'a>(
        &'a self,
        board: &'a Board,
        prepared: &'a Prepared,
        container: &Container,
        mounts: &Mounts,
        (slot, restart): (Slot, Restart),
    ) -> Runner<'a> {
        let machine = &*self.machine;
        let around = Surroundings {
            identity: &self.identity,
            address: self.ip(),
            ports: &prepared.map,
            inherited: &machine.inherited,
            volumes: &prepared.volumes.folders,
        };
        let invocation = around.invocation(container, mounts);
        let Identity {
            namespace, name, ..
        } = &self.identity;
        let path = machine.state.log(namespace, name, &container.name);
        let several = self.spec.containers.len() > 1 || matches!(slot, Slot::Init(_));
        let prefix = if several {
            format!("{namespace}/{name} {}", container.name)
        } else {
            self.name()
        };
        let mirror = machine.mirror.lock().clone().map(|tx| (tx, prefix.into()));
        Runner {
            name: container.name.clone(),
            slot,
            restart,
            probes: Probes::new(
                container,
                (self.ip(), &prepared.map),
                &invocation,
                mounts,
                &machine.search,
            ),
            invocation,
            log_path: path.display().to_string(),
            log: Log::new(path, mirror),
            board,
            record: &prepared.record,
            search: &machine.search,
            stop: &self.stop,
            grace: grace(&self.spec),
            started: CancellationToken::new(),
            sandbox: self.name(),
        }
    }

    /// From the first init container to the last end.
    async fn live(
        &self,
        board: &Board,
        prepared: &Prepared,
        init: &[Runner<'_>],
        main: &[Runner<'_>],
    ) {
        let is_sidecar = |runner: &&Runner<'_>| runner.restart == Restart::Always;
        let gates: Vec<CancellationToken> = init.iter().map(|_| CancellationToken::new()).collect();
        // Sidecars end after the containers they serve, within the same grace.
        let end_sidecars = CancellationToken::new();
        let sidecars = init
            .iter()
            .zip(&gates)
            .filter(|(runner, _)| is_sidecar(runner))
            .map(|(runner, gate)| {
                let end = &end_sidecars;
                async move {
                    tokio::select! {
                        biased; // an end beats a start
                        () = end.cancelled() => {}
                        () = gate.cancelled() => {
                            runner.run(end).await;
                        }
                    }
                }
            });
        let flow = async {
            if self.initialize(board, init, &gates).await {
                if self.address == Address::Shared {
                    board.addressed(HOST, &prepared.map);
                }
                board.initialized();
                join_all(main.iter().map(|runner| runner.run(self.stop.token()))).await;
            }
            end_sidecars.cancel();
        };
        tokio::join!(flow, join_all(sidecars));
    }

    /// Init containers in order; false if the main containers must not start.
    async fn initialize(
        &self,
        board: &Board,
        init: &[Runner<'_>],
        gates: &[CancellationToken],
    ) -> bool {
        for (runner, gate) in init.iter().zip(gates) {
            if runner.restart == Restart::Always {
                gate.cancel();
                tokio::select! {
                    biased; // an end beats a start
                    () = self.stop.begun() => return false,
                    () = runner.started.cancelled() => continue,
                }
            }
            match runner.run(self.stop.token()).await {
                Ended::Succeeded => {}
                Ended::Stopped => return false,
                Ended::Failed => {
                    board.init_failed();
                    return false;
                }
            }
        }
        !self.stop.has_begun()
    }
}
