//! The floor: the bodies written to one file, and `fdatasync` after each group. No numbers, no sums, no recovery.

use crate::queue::{Outcome, Queue};
use crate::readings::Readings;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::Path;

pub(crate) struct Bare {
    file: File,
    buffer: Vec<u8>,
}

impl Bare {
    pub(crate) fn open(folder: &Path) -> Outcome<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(folder.join("bare"))?;
        File::open(folder)?.sync_all()?;
        Ok(Self { file, buffer: Vec::new() })
    }
}

impl Queue for Bare {
    fn append(&mut self, readings: &Readings, from: u64, count: u64, _: u64) -> Outcome<()> {
        self.buffer.clear();
        (from..from + count).for_each(|number| readings.body(number, &mut self.buffer));
        self.file.write_all(&self.buffer)?;
        Ok(self.file.sync_data()?)
    }

    fn read(&mut self, readings: &Readings) -> Outcome<u64> {
        let mut reader = BufReader::with_capacity(256 * 1024, &self.file);
        let (mut number, mut left) = (0, self.file.metadata()?.len());
        while left > 0 {
            self.buffer.resize(readings.len(number), 0);
            reader.read_exact(&mut self.buffer)?;
            if !readings.is_body(number, &self.buffer) {
                return Err(format!("record {number} reads otherwise").into());
            }
            left -= self.buffer.len() as u64;
            number += 1;
        }
        Ok(number)
    }

    fn drain(&mut self, _: u64, _: u64) -> Outcome<()> {
        Err("a bare file cannot be drained".into())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}
