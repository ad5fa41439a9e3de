//! `pay`: payment channels.

use clap::Subcommand;
use pop_rpc::{Channel, ChannelParams, Direction, Error, NoParams, PaySubmitParams};
use pop_units::Lane;

use crate::cli::Context;
use crate::link;
use crate::output::{fields, table};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the channels
    List,
    /// Take a channel that exists on the chain into the books
    Track {
        /// The channel's address
        channel: String,
    },
    /// Submit the best vouchers of a channel
    Submit {
        /// The channel's address
        channel: String,
        /// One lane [default: all]
        #[arg(long, value_name = "N")]
        lane: Option<u64>,
    },
    /// Start the end of a channel
    Settle {
        /// The channel's address
        channel: String,
    },
    /// Collect a settled channel
    Collect {
        /// The channel's address
        channel: String,
    },
    /// Tell what was earned and spent
    Earnings,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Error> {
    let output = context.output;
    let client = link::open(&context.repo).await?;
    let channel = match command {
        Command::List => {
            let channels = client.pay_list(NoParams {}).await?;
            output.show(&channels, |channels| rows(channels));
            return Ok(());
        }
        Command::Earnings => {
            let earnings = client.pay_earnings(NoParams {}).await?;
            output.show(&earnings, |earnings| {
                fields(&[
                    ("earned", earnings.earned_atto.to_string()),
                    ("redeemed", earnings.redeemed_atto.to_string()),
                    ("collected", earnings.collected_atto.to_string()),
                    ("spent", earnings.spent_atto.to_string()),
                ])
            });
            return Ok(());
        }
        Command::Track { channel } => client.pay_track(ChannelParams { channel }).await?,
        Command::Submit { channel, lane } => {
            client.pay_submit(PaySubmitParams { channel, lane: lane.map(Lane::new) }).await?
        }
        Command::Settle { channel } => client.pay_settle(ChannelParams { channel }).await?,
        Command::Collect { channel } => client.pay_collect(ChannelParams { channel }).await?,
    };
    output.show(&channel, |channel| rows(std::slice::from_ref(channel)));
    Ok(())
}

fn rows(channels: &[Channel]) -> String {
    let row = |channel: &Channel| {
        let (direction, other) = match channel.direction {
            Direction::Outbound => ("pays", &channel.to),
            Direction::Inbound => ("paid by", &channel.from),
        };
        let settles = channel.settles_at.map(|epoch| format!("epoch {epoch}")).unwrap_or_default();
        vec![
            channel.channel.clone(),
            direction.to_owned(),
            other.clone(),
            channel.deposit_atto.to_string(),
            channel.best_voucher_atto.to_string(),
            channel.redeemed_atto.to_string(),
            channel.state.clone(),
            settles,
        ]
    };
    let head = ["channel", "", "whom", "deposit", "vouched", "redeemed", "state", "settles at"];
    match channels.is_empty() {
        true => "no channels".to_owned(),
        false => table(&head, &channels.iter().map(row).collect::<Vec<_>>()),
    }
}
