//! `wallet`: keys and plain transfers.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use pop_rpc::{
    AddressParams, Client, Error, ErrorCode, NoParams, WalletImportParams, WalletNewParams, WalletPayParams,
};
use pop_units::AttoFil;
use serde::Serialize;

use crate::cli::Context;
use crate::exit::{self, fail};
use crate::link;
use crate::output::table;
use crate::place::absolute;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key
    New {
        /// Make it the default
        #[arg(long)]
        default: bool,
    },
    /// List the keys and what they hold
    List,
    /// Tell the default address, or change it
    Default {
        /// The address that becomes the default
        address: Option<String>,
    },
    /// Tell what an address holds
    Balance {
        /// The address [default: the default one]
        address: Option<String>,
    },
    /// Take a key in, in the hex JSON form of Lotus
    Import {
        /// The file, or - for stdin
        file: PathBuf,
        /// Make it the default
        #[arg(long)]
        default: bool,
    },
    /// Hand a key out, in the hex JSON form of Lotus
    Export {
        /// The address
        address: String,
        /// The file to write, readable by its owner only [default: stdout]
        file: Option<PathBuf>,
    },
    /// Pay plainly, outside every channel
    Pay {
        /// Who pays
        from: String,
        /// Who is paid
        to: String,
        /// How much, like "0.5 FIL"
        amount: AttoFil,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Error> {
    let output = context.output;
    let client = link::open(&context.repo).await?;
    match command {
        Command::New { default } => {
            let made = client.wallet_new(WalletNewParams { default }).await?;
            output.show(&made, |made| made.address.clone());
        }
        Command::List => {
            let keys = client.wallet_list(NoParams {}).await?;
            output.show(&keys, |keys| {
                let row = |key: &pop_rpc::KeyEntry| {
                    let default = if key.default { "default" } else { "" };
                    vec![key.address.clone(), key.balance_atto.to_string(), default.to_owned()]
                };
                table(&["address", "balance", ""], &keys.iter().map(row).collect::<Vec<_>>())
            });
        }
        Command::Default { address } => {
            let default = client.wallet_default(AddressParams { address }).await?;
            output.show(&default, |default| default.address.clone());
        }
        Command::Balance { address } => {
            let balance = client.wallet_balance(AddressParams { address }).await?;
            output.show(&balance, |balance| balance.balance_atto.to_string());
        }
        Command::Import { file, default } => {
            let key = read_key(&file).await?;
            let taken = client.wallet_import(WalletImportParams { key, default }).await?;
            output.show(&taken, |taken| taken.address.clone());
        }
        Command::Export { address, file } => export(&client, address, file, context).await?,
        Command::Pay { from, to, amount } => {
            let paid = client.wallet_pay(WalletPayParams { from, to, amount }).await?;
            output.show(&paid, |paid| format!("paid {} to {} ({})", paid.amount_atto, paid.to, paid.message));
        }
    }
    Ok(())
}

/// Reads the text of a key; never more than a key can be.
pub(crate) async fn read_key(file: &Path) -> Result<String, Error> {
    const LONGEST: u64 = 4096;
    let from = file.to_owned();
    let read = move || {
        use std::io::Read;
        let mut text = String::new();
        match from == Path::new("-") {
            true => std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)?,
            false => std::fs::File::open(&from)?.take(LONGEST).read_to_string(&mut text)?,
        };
        Ok(text.trim().to_owned())
    };
    let text =
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    text.map_err(|error| exit::file(file, &error))
}

async fn export(
    client: &Client,
    address: String,
    file: Option<PathBuf>,
    context: &Context,
) -> Result<(), Error> {
    let exported = client.wallet_export(AddressParams { address: Some(address) }).await?;
    let Some(file) = file else {
        context.output.show(&exported, |exported| exported.key.clone());
        return Ok(());
    };
    #[derive(Serialize)]
    struct Written {
        address: String,
        file: PathBuf,
    }
    let file = absolute(&file)?;
    write_new(&file, &exported.key).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => fail(
            ErrorCode::Refused,
            format!("{} exists", file.display()),
            "choose another name; keys are not overwritten",
        ),
        _ => exit::file(&file, &error),
    })?;
    let written = Written { address: exported.address, file };
    context.output.show(&written, |written| format!("wrote {}", written.file.display()));
    Ok(())
}

fn write_new(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}
