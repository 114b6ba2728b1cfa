//! `tidegate buffer export`: records as lines or as CBOR, to a file or a pipe.
//!
//! ```text
//! ndjson   a line each: the event as a flow gets it (`tidegate_protocol::event`)
//! csv      RFC 4180: a header, CRLF, UTF-8; a payload that is no UTF-8 stands as {"$base64":"…"}, as in an event
//! cbor     a CBOR sequence (RFC 8742): a map each, the payload as a byte string
//! ```
//! A file is written beside its name, synced, and renamed: whoever finds it under its name finds it whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tidegate::code::Code;
use tidegate::language::{Language, system};
use tidegate::message;
use tidegate::store::look::{Ask, End, Filter, Item, Record, time_source_word};
use tidegate::watch::render::number;
use tidegate_protocol::event::{Payload, classify, write_event, write_time};

use super::progress::Progress;
use super::source::{Stop, note};
use super::{Choice, Place};
use crate::command::{FAILED, Failure, leftover};

/// Bytes gathered before they are written.
const BUFFER: usize = 64 * 1024;

/// What to export, how, and where to.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// How each record is written
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// Write to this file instead of standard output; it appears under its name when it is whole
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    place: Place,
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// JSON, one event a line, as a flow gets them
    Ndjson,
    /// Comma-separated values (RFC 4180)
    Csv,
    /// A CBOR sequence of maps (RFC 8742), payloads as byte strings
    Cbor,
}

/// Exports.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let filter = args.choice.filter(None, language)?;
    let Some(path) = &args.output else {
        let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        let mut progress = Progress::new(false);
        return write(args, filter, &mut out, &mut progress, language).map(drop);
    };
    let beside = beside(path)?;
    remove_left_over(path);
    let failed = |error: io::Error| cannot_write(&beside, &error);
    let file = File::create_new(&beside).map_err(failed)?;
    let removed = Unfinished(&beside);
    let mut out = BufWriter::with_capacity(BUFFER, file);
    let mut progress = Progress::new(true);
    let records = write(args, filter, &mut out, &mut progress, language)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&beside, path).map_err(|error| cannot_write(path, &error))?;
    std::mem::forget(removed);
    sync_folder(path)?;
    let text = message!("{count} records written to {file}", count = number(records), file = path.display());
    note(&text.text(language));
    Ok(())
}

/// The name under which a file is written until it is whole.
fn beside(path: &Path) -> Result<PathBuf, Failure> {
    let Some(name) = path.file_name() else {
        return Err(message!("{path} is no file's name: write where to export to", path = path.display()).into());
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(hidden))
}

/// Removes what an export to the same file wrote until it was interrupted: there are payloads in it.
fn remove_left_over(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str());
    let process = |found: &str| found.strip_prefix('.')?.strip_prefix(name?)?.strip_prefix('.')?.parse().ok();
    leftover::remove(folder, process);
}

fn sync_folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let text = message!("cannot write {path}: {error}", path = path.display(), error = system::said(error));
    Failure::coded(FAILED, Code::CannotWrite, text)
}

/// A file that is removed unless it was finished.
struct Unfinished<'a>(&'a Path);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

/// Writes all records; says how many.
fn write(
    args: &Args,
    filter: Filter,
    out: &mut dyn Write,
    progress: &mut Progress,
    language: Language,
) -> Result<u64, Failure> {
    let mut line = Vec::new();
    let header = args.format == Format::Csv;
    if header && !sent(out.write_all(HEADER))? {
        return Ok(0);
    }
    let end = args.place.ask(language, &Ask::Records(filter), &mut |item| match item {
        Item::Record(record) => {
            line.clear();
            encode(args.format, &record, &mut line)?;
            if sent(out.write_all(&line))? { Ok(()) } else { Err(Stop::Enough) }
        }
        Item::Progress { done, total } => {
            progress.show(done, total);
            Ok(())
        }
        _ => Ok(()),
    });
    progress.clear();
    let Some(End::Records { records, damaged }) = end? else { return Ok(0) };
    sent(out.flush())?;
    if damaged > 0 {
        let text = message!(
            "{count} ranges on the way cannot be read: `tidegate buffer verify` names them",
            count = number(damaged)
        );
        note(&text.text(language));
    }
    Ok(records)
}

/// Whether it was taken; a reader that has gone away has read enough.
fn sent(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let text = message!("cannot write what is exported: {error}", error = system::said(&error));
            Err(Failure::coded(FAILED, Code::CannotWrite, text))
        }
    }
}

const HEADER: &[u8] = b"gateway,epoch,lane,seq,device,topic,time,time_source,payload\r\n";

fn encode(format: Format, record: &Record<'_>, line: &mut Vec<u8>) -> Result<(), Failure> {
    match format {
        Format::Ndjson => {
            write_event(line, &record.as_ref(), false);
            line.push(b'\n');
        }
        Format::Csv => csv(record, line),
        Format::Cbor => ciborium::into_writer(&CborRecord::new(record), line)?,
    }
    Ok(())
}

fn csv(record: &Record<'_>, line: &mut Vec<u8>) {
    let seq = record.seq.to_string();
    let mut time = Vec::new();
    write_time(&mut time, record.time_ms);
    let base64;
    let payload = match classify(&record.payload) {
        Payload::Json(_) | Payload::Text(_) => &record.payload[..],
        Payload::Binary(bytes) => {
            base64 = format!("{{\"$base64\":\"{}\"}}", STANDARD.encode(bytes));
            base64.as_bytes()
        }
    };
    let source = time_source_word(record.time_source);
    let texts = [&record.gateway, &record.epoch, &record.lane].map(|text| text.as_bytes());
    let rest = [seq.as_bytes(), record.device.as_bytes(), record.topic.as_bytes(), &time, source.as_bytes(), payload];
    for (index, field) in texts.into_iter().chain(rest).enumerate() {
        if index > 0 {
            line.push(b',');
        }
        csv_field(field, line);
    }
    line.extend_from_slice(b"\r\n");
}

/// A field as RFC 4180, section 2, has it: in quotes where it must be, quotes doubled.
fn csv_field(field: &[u8], line: &mut Vec<u8>) {
    if !field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        return line.extend_from_slice(field);
    }
    line.push(b'"');
    for &byte in field {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

/// A record as it stands in a CBOR sequence.
#[derive(Debug, Serialize)]
struct CborRecord<'a> {
    gateway: &'a str,
    epoch: &'a str,
    lane: &'a str,
    seq: u64,
    device: &'a str,
    topic: &'a str,
    time_ms: u64,
    time_source: &'static str,
    #[serde(with = "serde_bytes")]
    payload: &'a [u8],
}

impl<'a> CborRecord<'a> {
    fn new(record: &'a Record<'_>) -> Self {
        Self {
            gateway: &record.gateway,
            epoch: &record.epoch,
            lane: &record.lane,
            seq: record.seq,
            device: &record.device,
            topic: &record.topic,
            time_ms: record.time_ms,
            time_source: time_source_word(record.time_source),
            payload: &record.payload,
        }
    }
}

#[cfg(test)]
mod tests;
