//! The connection to RabbitMQ: made when it is needed, and again after it broke. On purpose without the
//! recovery of `lapin`: what was under way on a broken connection is not confirmed, and the relay sends it
//! again.

use icecore_client::BrokerError;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::Mutex;

/// Makes connections to one broker, one at a time.
pub(crate) struct Connector {
    uri: String,
    open: Mutex<Option<Open>>,
}

struct Open {
    connection: Connection,
    channel: Channel,
}

impl Connector {
    pub(crate) fn new(uri: String) -> Self {
        Self {
            uri,
            open: Mutex::new(None),
        }
    }

    /// The channel, which confirms what it takes.
    pub(crate) async fn channel(&self) -> Result<Channel, BrokerError> {
        let mut open = self.open.lock().await;
        let living = open.as_ref().filter(|open| open.is_living());
        if let Some(open) = living {
            return Ok(open.channel.clone());
        }
        *open = None;
        let made = Open::connect(&self.uri).await?;
        let channel = made.channel.clone();
        *open = Some(made);
        Ok(channel)
    }
}

impl Open {
    async fn connect(uri: &str) -> Result<Self, BrokerError> {
        let properties = ConnectionProperties::default();
        let properties = properties.with_connection_name("icecore relay".into());
        let connection = Connection::connect(uri, properties).await?;
        let channel = connection.create_channel().await?;
        let confirms = ConfirmSelectOptions::default();
        channel.confirm_select(confirms).await?;
        Ok(Self {
            connection,
            channel,
        })
    }

    fn is_living(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }
}
