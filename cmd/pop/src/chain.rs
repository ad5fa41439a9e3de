//! `chain`: the chain that money lives on.

use clap::Subcommand;
use pop_rpc::{ChainAdvanceParams, Error, NoParams};

use crate::cli::Context;
use crate::link;
use crate::output::fields;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell its id, its epoch and where this node serves it
    Status,
    /// Move the embedded chain on
    Advance {
        /// The number of epochs
        epochs: u32,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Error> {
    let client = link::open(&context.repo).await?;
    let status = match command {
        Command::Status => client.chain_status(NoParams {}).await?,
        Command::Advance { epochs } => client.chain_advance(ChainAdvanceParams { epochs }).await?,
    };
    context.output.show(&status, |status| {
        let mut rows = vec![("chain", status.chain_id.clone()), ("epoch", status.epoch.to_string())];
        rows.extend(status.listen.iter().map(|listen| ("listen", listen.clone())));
        fields(&rows)
    });
    Ok(())
}
