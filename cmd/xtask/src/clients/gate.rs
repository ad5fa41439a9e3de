//! A small HTTP server that keeps one picture back until it is told that a page is done.
//!
//! Chromium prints the document and takes the screenshot at the load event, which waits for all pictures. Its
//! virtual time, made to wait for scripts, does not let videos run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Result;

/// A browser sends its short requests at once.
const REQUEST: Duration = Duration::from_secs(5);

/// Listens, answers in a thread of its own as long as the process runs, and returns where.
pub(super) fn open() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            let Ok((stream, is_over)) = asked(stream) else { continue };
            held.push(stream);
            if is_over {
                held.drain(..).for_each(answer);
            }
        }
    });
    Ok(at)
}

/// Reads a request; returns whether it says that the page is done.
fn asked(mut stream: TcpStream) -> std::io::Result<(TcpStream, bool)> {
    stream.set_read_timeout(Some(REQUEST))?;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") && request.len() < 16 * 1024 {
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(part.get(..read).unwrap_or_default());
    }
    let is_over = request.starts_with(b"GET /over");
    Ok((stream, is_over))
}

fn answer(mut stream: TcpStream) {
    // A browser that went away needs none.
    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
}
