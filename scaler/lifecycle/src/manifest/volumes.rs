//! What volumes must be to be folders.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use reveille_crds::key::is_label;
use reveille_crds::sandbox::VolumeClaimTemplate;
use serde_json::Value;

use super::{Place, Report};

pub(super) fn check_templates(place: &Place, vcts: &[VolumeClaimTemplate], report: &mut Report) {
    let mut names = HashSet::new();
    for (index, vct) in vcts.iter().enumerate() {
        let field = format!("spec.volumeClaimTemplates[{index}].metadata.name");
        let name = vct.metadata.name.as_deref().unwrap_or_default();
        if !is_label(name) {
            report.add(
                place,
                field,
                format!("{name:?} cannot name a volume; write a-z, 0-9 and '-'"),
            );
        } else if !names.insert(name) {
            report.add(place, field, format!("{name:?} is used twice"));
        }
    }
}

pub(super) fn check_mounts(
    place: &Place,
    spec: &PodSpec,
    vcts: &[VolumeClaimTemplate],
    report: &mut Report,
) {
    let mut names: HashSet<&str> = vcts
        .iter()
        .filter_map(|vct| vct.metadata.name.as_deref())
        .collect();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let templated = names.contains(volume.name.as_str());
        if !templated && volume.empty_dir.is_none() {
            let field = format!("spec.podTemplate.spec.volumes[{index}]");
            report.add(place, field, unsupported(volume));
        }
        names.insert(&volume.name);
    }
    let init = spec.init_containers.iter().flatten().enumerate();
    for (index, container) in init {
        mounts(
            place,
            &format!("initContainers[{index}]"),
            container,
            &names,
            report,
        );
    }
    for (index, container) in spec.containers.iter().enumerate() {
        mounts(
            place,
            &format!("containers[{index}]"),
            container,
            &names,
            report,
        );
    }
}

fn unsupported(volume: &Volume) -> String {
    let instead = if volume.secret.is_some()
        || volume.config_map.is_some()
        || volume.projected.is_some()
    {
        "Secrets, ConfigMaps and projected volumes need a cluster; write emptyDir and let the command fill it, or remove it"
    } else if volume.persistent_volume_claim.is_some() {
        "a PersistentVolumeClaim needs a cluster; write spec.volumeClaimTemplates"
    } else {
        "only emptyDir and volumeClaimTemplates are folders on this machine; write one of them"
    };
    let kind = serde_json::to_value(volume)
        .ok()
        .and_then(|value| match value {
            Value::Object(fields) => fields
                .into_iter()
                .map(|(field, _)| field)
                .find(|field| field != "name"),
            _ => None,
        });
    format!(
        "volume {:?} is of type {}: {instead}",
        volume.name,
        kind.as_deref().unwrap_or("none")
    )
}

fn mounts(
    place: &Place,
    field: &str,
    container: &Container,
    names: &HashSet<&str>,
    report: &mut Report,
) {
    let mut paths = HashSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let mut add = |part: &str, text: String| {
            report.add(
                place,
                format!("spec.podTemplate.spec.{field}.volumeMounts[{index}].{part}"),
                text,
            );
        };
        if !names.contains(mount.name.as_str()) {
            add(
                "name",
                format!(
                    "there is no volume {:?}; add it to spec.volumeClaimTemplates or as an emptyDir",
                    mount.name
                ),
            );
        }
        let path = mount.mount_path.trim_end_matches('/');
        if path.is_empty() || !path.starts_with('/') || climbs(path) {
            add(
                "mountPath",
                format!(
                    "{:?} cannot be mapped; write an absolute path below / without '..'",
                    mount.mount_path
                ),
            );
        } else if !paths.insert(path.to_owned()) {
            add(
                "mountPath",
                format!("{path:?} is mounted twice in this container"),
            );
        }
        if mount
            .sub_path
            .as_deref()
            .is_some_and(|sub| sub.starts_with('/') || climbs(sub))
        {
            add(
                "subPath",
                "leaves the volume; write a relative path without '..'".to_owned(),
            );
        }
        if mount.sub_path_expr.is_some() {
            add(
                "subPathExpr",
                "is not known on this machine; write subPath".to_owned(),
            );
        }
    }
    if let Some(devices) = &container.volume_devices
        && !devices.is_empty()
    {
        let field = format!("spec.podTemplate.spec.{field}.volumeDevices");
        report.add(
            place,
            field,
            "block devices need a cluster; write volumeMounts",
        );
    }
}

fn climbs(path: &str) -> bool {
    path.contains('\0') || path.split('/').any(|part| part == "..")
}
