//! What the server can do: clients ask when they connect, and leave out what is not in the answer.

use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::server_features::{SupportedMethod, SupportedMethods};
use crate::services::server_features_server::ServerFeatures;
use crate::services::{FILE_DESCRIPTOR_SET, MOUNTED};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};
use tonic::{Request, Response, Status};

/// The version whose calls are all here. Clients compare it with the first version that had something,
/// like the appends to several streams.
pub(crate) const VERSION: &str = "26.1.0";

/// The service. Its answer is always the same.
pub(crate) struct ServerFeaturesService {
    methods: SupportedMethods,
}

impl ServerFeaturesService {
    pub(crate) fn new() -> Self {
        let descriptors = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET);
        let descriptors = descriptors.expect("the descriptors are compiled with the code");
        let files = descriptors.file.iter();
        let methods = files.flat_map(|file| {
            let services = file.service.iter();
            services.flat_map(|service| supported(file, service))
        });
        Self {
            methods: SupportedMethods {
                methods: methods.collect(),
                event_store_server_version: VERSION.to_owned(),
            },
        }
    }
}

/// The methods of a service, if it is mounted.
fn supported(file: &FileDescriptorProto, service: &ServiceDescriptorProto) -> Vec<SupportedMethod> {
    let name = format!("{}.{}", file.package(), service.name());
    if !MOUNTED.contains(&name.as_str()) {
        return Vec::new();
    }
    let service_name = name.to_lowercase();
    let methods = service.method.iter().map(|method| {
        let method_name = method.name().to_lowercase();
        let features = features(&service_name, &method_name);
        SupportedMethod {
            features: features.iter().map(|&feature| feature.to_owned()).collect(),
            method_name,
            service_name: service_name.clone(),
        }
    });
    methods.collect()
}

/// What a method can do that it could not in its first version.
fn features(service: &str, method: &str) -> &'static [&'static str] {
    match (service, method) {
        ("event_store.client.persistent_subscriptions.persistentsubscriptions", _) => {
            &["stream", "all"]
        }
        ("event_store.client.streams.streams", "read") => &["position", "events"],
        ("event_store.client.streams.streams", "batchappend") => &["deadline_duration"],
        ("event_store.client.projections.projections", "create") => &["track_emitted_streams"],
        _ => &[],
    }
}

#[tonic::async_trait]
impl ServerFeatures for ServerFeaturesService {
    async fn get_supported_methods(
        &self,
        _request: Request<shared::Empty>,
    ) -> Result<Response<SupportedMethods>, Status> {
        Ok(Response::new(self.methods.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_announced_in_lower_case() {
        let methods = ServerFeaturesService::new().methods.methods;
        let find = |service: &str, method: &str| {
            let mut found = methods.iter();
            found.find(|m| m.service_name == service && m.method_name == method)
        };
        let batch = find("event_store.client.streams.streams", "batchappend").unwrap();
        assert_eq!(batch.features, ["deadline_duration"]);
        let groups = "event_store.client.persistent_subscriptions.persistentsubscriptions";
        for method in [
            "create",
            "read",
            "getinfo",
            "list",
            "replayparked",
            "restartsubsystem",
        ] {
            let features = &find(groups, method).unwrap().features;
            assert_eq!(*features, ["stream", "all"], "{method}");
        }
        assert!(
            find(
                "kurrentdb.protocol.v2.streams.streamsservice",
                "appendrecords"
            )
            .is_some()
        );
        let services = MOUNTED.map(str::to_lowercase);
        for service in &services {
            assert!(
                methods.iter().any(|m| m.service_name == *service),
                "{service}"
            );
        }
        assert!(methods.iter().all(|m| services.contains(&m.service_name)));
    }
}
