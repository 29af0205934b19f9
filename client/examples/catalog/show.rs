//! Everything at once: a command service, query services, each a process of its own, and four sellers
//! who change prices and ask every reader for each change.

use crate::lines::{Caller, money};
use anyhow::{Context as _, Result, bail};
use futures::future::{join_all, try_join_all};
use std::env;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const SELLERS: u64 = 4;

/// A service that this program has started. It ends with this program.
struct Started {
    address: String,
    _process: Child,
}

pub(crate) async fn run(server: &str, readers: usize, changes: u64) -> Result<()> {
    // Says what is missing before four processes do.
    drop(crate::connect(server).await?);
    let commands = start(server, "commands").await?;
    println!("command service on {}", commands.address);
    let queries = try_join_all((0..readers).map(|_| start(server, "queries"))).await?;
    for reader in &queries {
        println!("query service on   {}", reader.address);
    }
    println!("\n{SELLERS} sellers change prices, {changes} times each, and ask every reader:");
    let sellers = (0..SELLERS).map(|seller| sell(seller, changes, &commands, &queries));
    let lags = try_join_all(sellers).await?;
    for (reader, query) in queries.iter().enumerate() {
        let mut lags: Vec<Duration> = lags
            .iter()
            .flat_map(|seller| seller[reader].clone())
            .collect();
        lags.sort_unstable();
        println!("  reader on {}  {}", query.address, told(&lags));
    }
    println!(
        "\nA lag is the time from the seller's answer to the moment at which the reader knows."
    );
    agree(&queries).await
}

/// One seller's day: changes the price of a product, and asks all readers for it at once. Gives the lags
/// that it has seen, for each reader.
async fn sell(
    seller: u64,
    changes: u64,
    commands: &Started,
    queries: &[Started],
) -> Result<Vec<Vec<Duration>>> {
    let mut commands = Caller::connect(&commands.address).await?;
    let readers = queries
        .iter()
        .map(|reader| Caller::connect(&reader.address));
    let mut readers = try_join_all(readers).await?;
    let mut lags = vec![Vec::new(); readers.len()];
    // The first is refused when an earlier show has listed the lamp, which is as well.
    for command in ["list", "price"] {
        let answer = commands
            .ask(&format!("{command} lamp-{seller} 10.00"))
            .await?;
        if answer.starts_with("error") {
            bail!(answer);
        }
    }
    for change in 1..=changes {
        let price = money(1_000 + change);
        let answer = commands
            .ask(&format!("price lamp-{seller} {price}"))
            .await?;
        let position = answer.strip_prefix("ok ").context(answer.clone())?;
        let query = format!("get lamp-{seller} after {position}");
        let answered = Instant::now();
        let asked = readers.iter_mut().map(|reader| async {
            let told = reader.ask(&query).await?;
            Ok::<_, anyhow::Error>((told, answered.elapsed()))
        });
        for (reader, asked) in join_all(asked).await.into_iter().enumerate() {
            let (told, lag) = asked?;
            if !told.starts_with(&format!("lamp-{seller} {price} ")) {
                bail!("a reader was asked for {price} and told {told}");
            }
            lags[reader].push(lag);
        }
    }
    Ok(lags)
}

/// All readers tell the same of every product.
async fn agree(queries: &[Started]) -> Result<()> {
    for seller in 0..SELLERS {
        let asked = queries.iter().map(|reader| async {
            let mut reader = Caller::connect(&reader.address).await?;
            reader.ask(&format!("get lamp-{seller}")).await
        });
        let told = try_join_all(asked).await?;
        if told.windows(2).any(|two| two[0] != two[1]) {
            bail!("the readers disagree: {told:?}");
        }
        println!("every reader: {}", told.first().context("no reader")?);
    }
    Ok(())
}

fn told(sorted: &[Duration]) -> String {
    let at = |percent: usize| {
        let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted
            .get(place)
            .map_or(0.0, |lag| lag.as_secs_f64() * 1_000.0)
    };
    let count = sorted.len();
    format!(
        "{count} changes, lag: median {:.2} ms, 99 % within {:.2} ms, longest {:.2} ms",
        at(50),
        at(99),
        at(100)
    )
}

/// Starts this very program as a service on a free port.
async fn start(server: &str, verb: &str) -> Result<Started> {
    let mut process = Command::new(env::current_exe()?)
        .args([verb, "--listen", "127.0.0.1:0", "--server", server])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {verb}"))?;
    let out = process.stdout.take().context("its output is a pipe")?;
    let first = BufReader::new(out).lines().next_line().await?;
    let address = first
        .as_deref()
        .and_then(|line| line.strip_prefix("listening on "));
    Ok(Started {
        address: address
            .with_context(|| format!("{verb} did not start"))?
            .into(),
        _process: process,
    })
}
