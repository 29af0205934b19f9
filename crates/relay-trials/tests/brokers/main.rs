//! Relays against nats-server and rabbitmq-server: everything arrives, in order, also when relay or broker
//! are killed. Run by `xtask suite brokers`.

mod nats;
mod rabbitmq;
mod scenario;
