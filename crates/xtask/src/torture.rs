//! The torture in its long form. What it does stands in `icecore-tests`; here is how long, and what is
//! said about it.

use anyhow::Result;
use clap::Args;
use icecore_tests::{Icecore, Kills, Overload};
use std::time::Instant;

/// How long it goes on.
#[derive(Args)]
pub(crate) struct TortureArgs {
    /// How often the server is killed
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    kills: u64,
    /// Decides what is written and when the server is killed, as far as processes can be told
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl TortureArgs {
    /// Goes through all of it and ends with a line of counts.
    pub(crate) async fn run(self, icecore: &Icecore) -> Result<()> {
        let Self { kills, seed } = self;
        let since = Instant::now();
        println!("{kills} kills, seed {seed}");
        let kills = Kills { kills, seed };
        let told = |so_far: &_| println!("{:>5} s  {so_far}", since.elapsed().as_secs());
        let survived = kills.run(icecore, told).await?;
        println!("overload");
        let withstood = Overload::FULL.run(icecore).await?;
        println!("torture: seed={seed} {survived}");
        println!("overload: {withstood}");
        Ok(())
    }
}
