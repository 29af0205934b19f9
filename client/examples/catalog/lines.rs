//! Requests and answers over TCP, a line each, in order.

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 64 * 1_024;

/// What answers requests.
pub(crate) trait Service: Clone + Send + Sync + 'static {
    fn answer(&self, request: &str) -> impl Future<Output = String> + Send;
}

/// Serves until the process ends. Prints where, since port 0 means any that is free.
pub(crate) async fn serve(listen: &str, service: impl Service) -> Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen on {listen}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept().await?;
        // A caller that goes away ends its own task only.
        tokio::spawn(answer_all(connection, service.clone()));
    }
}

async fn answer_all(connection: TcpStream, service: impl Service) -> Result<()> {
    connection.set_nodelay(true)?;
    let (requests, mut answers) = connection.into_split();
    let mut requests = BufReader::new(requests);
    loop {
        let mut request = String::new();
        let mut limited = tokio::io::AsyncReadExt::take(&mut requests, REQUEST_BYTES_MAX);
        if limited.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        let answer = service.answer(request.trim()).await;
        answers.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}

/// Asks a service.
pub(crate) struct Caller {
    requests: OwnedWriteHalf,
    answers: Lines<BufReader<OwnedReadHalf>>,
}

impl Caller {
    pub(crate) async fn connect(service: &str) -> Result<Self> {
        let connection = TcpStream::connect(service)
            .await
            .with_context(|| format!("connect to {service}"))?;
        connection.set_nodelay(true)?;
        let (answers, requests) = connection.into_split();
        Ok(Self {
            requests,
            answers: BufReader::new(answers).lines(),
        })
    }

    pub(crate) async fn ask(&mut self, request: &str) -> Result<String> {
        let line = format!("{request}\n");
        self.requests.write_all(line.as_bytes()).await?;
        match self.answers.next_line().await? {
            Some(answer) => Ok(answer),
            None => bail!("the service went away"),
        }
    }
}

/// Cents as people read them.
pub(crate) fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
