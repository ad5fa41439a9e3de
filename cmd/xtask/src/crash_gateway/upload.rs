//! Kills in the middle of an upload, of a body alone and of a form, with and without a token.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pop_units::Bytes;
use serde_json::Value;

use super::client::get;
use super::{Round, hit, moment, text_of};
use crate::abuse::door::{free, listens};
use crate::abuse::wire::{Heard, Until, connect, talk};
use crate::fleet::{Binary, CALL, Daemon, Role, count, text};
use crate::market::LONG;
use crate::sample;

const TOKEN: &str = "0123456789abcdef-uploads";
/// One piece of a body.
const PIECE: usize = 256 << 10;
/// What is uploaded after a kill.
const NEW: Bytes = Bytes::new(4 << 20);
/// What stands in the store before any.
const EARLIER: Bytes = Bytes::new(32 << 20);
/// A node that neither takes nor answers for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files of blocks are this large at most, and one may be half dead: `used` counts whole ones.
const SLACK: u64 = 8 << 20;

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    /// Without a length.
    Chunked,
    Multipart,
}

impl Form {
    fn what(self) -> &'static str {
        match self {
            Self::Raw => "the node, in an upload",
            Self::Chunked => "the node, in an upload in chunks",
            Self::Multipart => "the node, in an upload of a form",
        }
    }
}

struct Bed {
    daemon: Daemon,
    at: SocketAddr,
    folder: PathBuf,
    earlier: PathBuf,
    /// Where the earlier content is.
    path: String,
    size: Bytes,
    usual: Duration,
}

/// What the store holds.
#[derive(Debug, PartialEq, Eq)]
struct Holds {
    blocks: u64,
    live: u64,
    roots: Vec<(String, u64)>,
}

pub(super) fn rounds(binary: &Binary, folder: &Path, size: Bytes, rounds: u32) -> Result<Vec<Round>> {
    let mut bed = Bed::open(binary, folder, size)?;
    let mut done = Vec::new();
    for number in 0..rounds {
        let form =
            [Form::Raw, Form::Multipart, Form::Chunked].into_iter().cycle().nth(usize::try_from(number % 3)?);
        let form = form.context("a form")?;
        let round = hit(|| bed.kill(form)).with_context(|| {
            format!("round {}, {}; the node said\n{}", number + 1, form.what(), bed.daemon.log_tail())
        })?;
        done.push(round);
    }
    bed.daemon.stop()?;
    Ok(done)
}

impl Bed {
    fn open(binary: &Binary, folder: &Path, size: Bytes) -> Result<Self> {
        let at = free()?;
        let tokens = folder.join("tokens");
        std::fs::write(&tokens, format!("{TOKEN}\n"))?;
        let flags = [
            "--chain",
            "local",
            "--gateway-listen",
            &at.to_string(),
            "--upload-token-file",
            text_of(&tokens)?,
        ]
        .map(str::to_owned)
        .to_vec();
        let daemon = Daemon::start(binary, folder, Role { name: "uploads", flags, serves_chain: false })?;
        let earlier = folder.join("earlier.bin");
        sample::write_random(&earlier, EARLIER)?;
        daemon.call(&["put", text_of(&earlier)?], LONG)?;
        let root = text(&daemon.call(&["commit", "--cache-rf", "0"], CALL)?, "root")?;
        listens(at)?;
        let path = format!("/ipfs/{root}/earlier.bin");
        let mut bed =
            Self { daemon, at, folder: folder.to_owned(), earlier, path, size, usual: Duration::ZERO };
        bed.usual = bed.undisturbed()?;
        eprintln!("an undisturbed upload takes {:.2} s", bed.usual.as_secs_f64());
        Ok(bed)
    }

    fn undisturbed(&self) -> Result<Duration> {
        let file = self.folder.join("warm.bin");
        sample::write_random(&file, self.size)?;
        let begun = Instant::now();
        let root = created(&self.send(Form::Raw, &file)?)?;
        let took = begun.elapsed();
        self.forget(&root)?;
        std::fs::remove_file(file)?;
        Ok(took)
    }

    /// Uploads a file.
    fn send(&self, form: Form, file: &Path) -> Result<Heard> {
        talk(connect(self.at, Ipv4Addr::LOCALHOST)?, said(self.at, form, file)?, Until::Answer, PATIENCE)
    }

    /// Kills once; `None` when the upload was over before.
    fn kill(&mut self, form: Form) -> Result<Option<Round>> {
        let before = self.holds()?;
        let file = self.folder.join("upload.bin");
        sample::write_random(&file, self.size)?;
        let stream = connect(self.at, Ipv4Addr::LOCALHOST)?;
        let pieces = said(self.at, form, &file)?;
        let begun = Instant::now();
        let upload = std::thread::spawn(move || talk(stream, pieces, Until::Answer, PATIENCE));
        std::thread::sleep(moment(self.usual)?);
        let after = begun.elapsed();
        self.daemon.kill()?;
        let heard = upload.join().map_err(|_| anyhow::anyhow!("the client broke"))??;
        self.daemon.restart()?;
        listens(self.at)?;
        if heard.status() == 201 {
            self.kept(form, &heard, &file)?;
            return Ok(None);
        }
        ensure!(heard.status() == 0, "the client was told {}", heard.head());
        let staged = self.daemon.call(&["store"], CALL)?;
        let roots = roots(&self.daemon)?;
        ensure!(roots == before.roots, "roots were {:?} and are {roots:?}", before.roots);
        let now = self.holds()?;
        ensure!(now == before, "the store held {before:?} and holds {now:?}");
        let store = self.daemon.call(&["store"], CALL)?;
        let (used, live) = (count(&store, "used")?, count(&store, "live")?);
        ensure!(used <= live + SLACK, "{used} bytes are used for {live} live ones after gc");
        self.verify()?;
        self.anew()?;
        let notes = format!(
            "{} of {} were taken; used {} MiB at the start, {} MiB after gc, {} MiB live; a new one came in",
            Bytes::new(heard.said),
            self.size,
            count(&staged, "used")? >> 20,
            used >> 20,
            live >> 20
        );
        Ok(Some(Round { what: form.what(), after, notes }))
    }

    /// Checks that an upload whose client was told of success is there, and forgets it.
    fn kept(&self, form: Form, heard: &Heard, file: &Path) -> Result<()> {
        let root = created(heard)?;
        if form == Form::Multipart {
            let entry = roots(&self.daemon)?.into_iter().find(|(name, _)| *name == root);
            ensure!(entry.is_some(), "{root} was told of and is gone");
        } else {
            let got = get(self.at, &format!("/ipfs/{root}"), "1.1", Some(file))?;
            ensure!(got.is_file(file)?, "{root} was told of and is {got:?}");
        }
        self.forget(&root)
    }

    /// Reads every block, and the earlier content through the gateway.
    fn verify(&self) -> Result<()> {
        let report = self.daemon.call(&["gc", "--verify"], LONG)?;
        let verified = report.get("verified").context("gc --verify told nothing")?;
        ensure!(count(verified, "damaged_unused")? == 0, "damage: {verified}");
        let got = get(self.at, &self.path, "1.1", Some(&self.earlier))?;
        ensure!(got.is_file(&self.earlier)?, "the earlier content is {got:?}");
        Ok(())
    }

    /// Uploads something new and reads it.
    fn anew(&self) -> Result<()> {
        let file = self.folder.join("new.bin");
        sample::write_random(&file, NEW)?;
        let root = created(&self.send(Form::Raw, &file)?)?;
        let got = get(self.at, &format!("/ipfs/{root}"), "1.1", Some(&file))?;
        ensure!(got.is_file(&file)?, "the new upload is {got:?}");
        self.forget(&root)
    }

    fn forget(&self, root: &str) -> Result<()> {
        self.daemon.call(&["rm", root], CALL)?;
        self.daemon.call(&["gc"], LONG).map(|_| ())
    }

    fn holds(&self) -> Result<Holds> {
        self.daemon.call(&["gc"], LONG)?;
        let store = self.daemon.call(&["store"], CALL)?;
        let (blocks, live) = (count(&store, "blocks")?, count(&store, "live")?);
        Ok(Holds { blocks, live, roots: roots(&self.daemon)? })
    }
}

fn roots(daemon: &Daemon) -> Result<Vec<(String, u64)>> {
    let list = daemon.call(&["list"], CALL)?;
    let list = list.as_array().context("list is no list")?;
    let mut roots = list
        .iter()
        .map(|entry: &Value| Ok((text(entry, "root")?, count(entry, "size")?)))
        .collect::<Result<Vec<_>>>()?;
    roots.sort_unstable();
    Ok(roots)
}

fn created(heard: &Heard) -> Result<String> {
    ensure!(heard.status() == 201, "the upload was answered {:?} {}", heard.end, heard.head());
    heard.header("ipfs-hash").context("no Ipfs-Hash")
}

/// Returns a request that uploads a file, piece by piece.
fn said(at: SocketAddr, form: Form, file: &Path) -> Result<impl Iterator<Item = Vec<u8>> + Send + use<>> {
    let size = file.metadata()?.len();
    let part = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\r\n";
    let (before, behind) = match form {
        Form::Multipart => (part, "\r\n--b--\r\n"),
        Form::Raw | Form::Chunked => ("", ""),
    };
    let whole = size + u64::try_from(before.len() + behind.len())?;
    let more = match form {
        Form::Raw => format!("Content-Length: {whole}\r\n"),
        Form::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Form::Multipart => {
            format!("Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {whole}\r\n")
        }
    };
    let head =
        format!("POST / HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {TOKEN}\r\n{more}\r\n{before}");
    let mut file = File::open(file)?;
    let pieces = std::iter::from_fn(move || {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).unwrap_or(0);
        piece.truncate(read);
        (read > 0).then_some(piece)
    });
    let pieces = pieces.map(move |piece| match form {
        Form::Chunked => [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat(),
        Form::Raw | Form::Multipart => piece,
    });
    let end = if form == Form::Chunked { "0\r\n\r\n" } else { behind };
    Ok(std::iter::once(head.into_bytes()).chain(pieces).chain(std::iter::once(end.as_bytes().to_vec())))
}
