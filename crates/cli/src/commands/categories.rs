//! `icecore categories`: the categories of the streams.

use super::connect;
use crate::args::{ConnectionArgs, system_streams};
use crate::output::{Column, Listing, OutputArgs};
use anyhow::Result;
use clap::Args;
use icecore_client::ListCategories;

/// List categories: what stands before the first `-` of the streams' names
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore categories
  icecore read --all --category order")]
pub(crate) struct CategoriesArgs {
    /// Categories that begin with `$` too
    #[arg(long)]
    system: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: CategoriesArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let mut listing = Listing::new(args.output.format(), &[Column::Text("CATEGORY")]);
    let mut list = ListCategories {
        after: None,
        limit: 0,
        system: system_streams(args.system),
    };
    loop {
        let page = client.list_categories(list.clone()).await?;
        for category in &page.categories {
            let cells = vec![category.to_string()];
            listing.add(cells, |json| json.string("category", category.as_str()))?;
        }
        list.after = page.next_after;
        if list.after.is_none() {
            return listing.end("no categories");
        }
    }
}
