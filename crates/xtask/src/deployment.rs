//! The files that no container engine checks here: they are parsed and held to what the product
//! promises.

use crate::workspace;
use icecore_tests::Icecore;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// The compose file, as JSON.
fn compose() -> Value {
    let text = fs::read_to_string(workspace::root().join("docker-compose.yml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// The instructions of the Dockerfile's last stage, by their names.
fn last_stage() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(workspace::root().join("Dockerfile")).unwrap();
    let mut stage = BTreeMap::<String, Vec<String>>::new();
    for instruction in instructions(&text) {
        let (name, rest) = instruction.split_once(' ').unwrap();
        if name == "FROM" {
            stage.clear();
        }
        let entry = stage.entry(name.to_owned()).or_default();
        entry.push(rest.trim().to_owned());
    }
    stage
}

/// Instructions without comments, each on one line.
fn instructions(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(ToOwned::to_owned).collect()
}

/// A duration as compose says it, in seconds.
fn seconds(value: &Value) -> u64 {
    let text = value.as_str().unwrap().strip_suffix('s').unwrap();
    text.parse().unwrap()
}

#[test]
fn compose_keeps_the_data_in_a_volume_and_asks_for_its_health() {
    let compose = compose();
    let icecore = &compose["services"]["icecore"];
    assert_eq!(icecore["ports"], json!(["2113:2113"]));
    let volume = icecore["volumes"][0].as_str().unwrap();
    let (name, folder) = volume.split_once(':').unwrap();
    assert!(compose["volumes"].get(name).is_some(), "{name} is declared");
    let data = icecore["environment"]["ICECORE_DATA"].as_str().unwrap();
    assert!(data.starts_with(folder), "{data} lies in {folder}");
    let health = &icecore["healthcheck"];
    assert_eq!(health["test"][0], "CMD", "there is no shell in the image");
    assert!(seconds(&icecore["stop_grace_period"]) > 5);
}

#[test]
fn prometheus_asks_the_store() {
    let compose = compose();
    let prometheus = &compose["services"]["prometheus"];
    let after = &prometheus["depends_on"]["icecore"]["condition"];
    assert_eq!(after, "service_healthy");
    let config = prometheus["configs"][0]["source"].as_str().unwrap();
    let text = compose["configs"][config]["content"].as_str().unwrap();
    let config: Value = serde_saphyr::from_str(text).unwrap();
    let targets = &config["scrape_configs"][0]["static_configs"][0]["targets"];
    assert_eq!(*targets, json!(["icecore:2113"]));
}

#[test]
fn the_image_has_neither_shell_nor_root() {
    let stage = last_stage();
    let from = &stage["FROM"][0];
    assert!(
        from.contains("distroless") && from.ends_with(":nonroot"),
        "{from}"
    );
    assert_eq!(stage["USER"], ["nonroot"]);
    assert_eq!(stage["EXPOSE"], ["2113"]);
    assert!(!stage.contains_key("RUN"), "nothing can run in that stage");
    let compose = compose();
    let volume = &compose["services"]["icecore"]["volumes"][0];
    let folder = volume.as_str().unwrap().split_once(':').unwrap().1;
    assert_eq!(stage["VOLUME"], [folder]);
}

#[test]
fn image_and_compose_ask_for_health_in_the_same_way() {
    let stage = last_stage();
    let (_, command) = stage["HEALTHCHECK"][0].split_once("CMD ").unwrap();
    let command: Value = serde_json::from_str(command).unwrap();
    let entry: Value = serde_json::from_str(&stage["ENTRYPOINT"][0]).unwrap();
    assert_eq!(command[0], entry[0], "the binary of the image");
    let compose = compose();
    let test = compose["services"]["icecore"]["healthcheck"]["test"].clone();
    assert_eq!(
        test.as_array().unwrap()[1..],
        command.as_array().unwrap()[..]
    );
}

/// The command of the health check is one of the binary: it succeeds while the server serves.
#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_knows_whether_the_server_serves() {
    let compose = compose();
    let test = compose["services"]["icecore"]["healthcheck"]["test"].as_array();
    let command = test.unwrap()[2..].iter().map(|word| word.as_str().unwrap());
    let command: Vec<_> = command.collect();
    let directory = tempfile::tempdir().unwrap();
    let icecore = Icecore::new(icecore_tests::icecore());
    let server = icecore.serve(directory.path()).await.unwrap();
    let url = server.url();
    icecore.must(&server, &command).await.unwrap();
    server.stop().await.unwrap();
    let mut without = icecore.command(&command);
    let output = without.env("ICECORE_SERVER", url).output().await.unwrap();
    assert!(!output.status.success());
}

/// What the compose file sets of the server is what the server reads from its environment.
#[tokio::test(flavor = "multi_thread")]
async fn the_environment_of_the_image_is_understood() {
    let compose = compose();
    let environment = compose["services"]["icecore"]["environment"].as_object();
    let mut help = Icecore::new(icecore_tests::icecore()).command(&["serve", "--help"]);
    let help = String::from_utf8(help.output().await.unwrap().stdout).unwrap();
    for name in environment
        .unwrap()
        .keys()
        .filter(|name| *name != "RUST_LOG")
    {
        assert!(
            help.contains(&format!("[env: {name}=")),
            "{name} in:\n{help}"
        );
    }
}
