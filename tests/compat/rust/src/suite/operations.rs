//! What an operator asks a node: its version, gossip, figures, a scavenge, users.

use super::{done, new_name, settings};
use crate::db::operations::{Client as Operator, OperationalOptions, StatsOptions, VNodeState};
use crate::db::{Client, ClientSettings, Error};
use crate::words;
use anyhow::{Context as _, Result, ensure};

pub(super) async fn check(client: &Client) -> Result<()> {
    let operator = Operator::from(client.clone());
    a_node_tells_of_itself(&operator).await?;
    a_node_is_discovered().await?;
    maintenance(&operator).await?;
    there_are_no_users(&operator).await?;
    done("operations, monitoring, gossip, users");
    Ok(())
}

async fn a_node_tells_of_itself(operator: &Operator) -> Result<()> {
    let [member] = &operator.read_gossip().await?[..] else {
        anyhow::bail!("one node is one member");
    };
    ensure!(member.state == VNodeState::Leader && member.is_alive);
    ensure!(member.http_end_point == operator.current_selected_node().await?);
    let version = operator.server_version().await?.version();
    ensure!((version.major(), version.minor()) >= (26, 1), "{version}");
    let mut stats = operator.stats(&StatsOptions::default()).await?;
    let figures = stats.next().await?.0;
    let last = figures.get("es-lastPosition").context("no position")?;
    ensure!(last.parse::<u64>()? > 0);
    stats.next().await?;
    Ok(())
}

/// A connection that asks for the members first.
async fn a_node_is_discovered() -> Result<()> {
    let address = std::env::var("ICECORE")?;
    let discovering = format!("{}+discover://{address}?tls=false", words::SCHEME);
    let client = words::connect(discovering.parse::<ClientSettings>()?)?;
    let operator = Operator::from(client);
    let node = operator.current_selected_node().await?;
    ensure!(format!("{}:{}", node.host, node.port) == address);
    ensure!(!settings()?.is_secure_mode_enabled());
    Ok(())
}

async fn maintenance(operator: &Operator) -> Result<()> {
    let options = OperationalOptions::default();
    let scavenge = operator.start_scavenge(1, 0, &options).await?;
    ensure!(!scavenge.id().is_empty());
    let unknown = operator.stop_scavenge(new_name("scavenge"), &options).await;
    ensure!(
        matches!(unknown, Err(Error::ResourceNotFound)),
        "{unknown:?}"
    );
    operator.merge_indexes(&options).await?;
    operator.resign_node(&options).await?;
    operator.set_node_priority(1, &options).await?;
    operator.restart_persistent_subscriptions(&options).await?;
    let refused = operator.shutdown(&options).await;
    ensure!(
        matches!(refused, Err(Error::UnsupportedFeature)),
        "{refused:?}"
    );
    Ok(())
}

async fn there_are_no_users(operator: &Operator) -> Result<()> {
    let options = OperationalOptions::default();
    let created = operator.create_user("ada", "secret", "Ada", vec![], &options);
    let created = created.await;
    ensure!(
        matches!(created, Err(Error::UnsupportedFeature)),
        "{created:?}"
    );
    let found = operator.user_details("", &options).await?.next().await?;
    ensure!(found.is_none(), "{found:?}");
    for answer in [
        operator
            .update_user("ada", "secret", "Ada", vec![], &options)
            .await,
        operator.enable_user("ada", &options).await,
        operator.disable_user("ada", &options).await,
        operator
            .change_user_password("ada", "secret", "new", &options)
            .await,
        operator.reset_user_password("ada", "new", &options).await,
        operator.delete_user("ada", &options).await,
    ] {
        ensure!(matches!(answer, Err(Error::ResourceNotFound)), "{answer:?}");
    }
    Ok(())
}
