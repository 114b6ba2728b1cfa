//! The store for people: its limit, what it costs the flash, and what is wrong.

use super::super::status::{FlashStatus, StoreStatus};
use super::{coded, counted, plain, size, started, told};
use crate::language::sheet::Sheet;
use crate::message;

/// The section of `status`.
pub(super) fn section(out: &mut Sheet, store: &StoreStatus) {
    out.title(message!("Store"));
    out.line(message!("folder"), plain(&store.path));
    let share = if store.max_bytes == 0 { 0.0 } else { store.bytes as f64 / store.max_bytes as f64 * 100.0 };
    let (bytes, limit, share) = (size(store.bytes), size(store.max_bytes), format!("{share:.1}"));
    out.line(
        message!("on disk"),
        message!("{bytes} of {limit} ({share} %)", bytes = bytes, limit = limit, share = share),
    );
    out.line(message!("commits"), counted(store.commits));
    flash(out, &store.flash);
    if let Some(reason) = &store.stalled {
        let text = message!(
            "{reason}; devices keep what is not acknowledged",
            reason = told(out, reason, store.stalled_message.as_ref())
        );
        out.line(message!("STALLED"), coded(text, &store.code));
    }
    if let Some(reason) = &store.index {
        out.line(
            message!("index behind"),
            message!("{reason}; nothing depends on it", reason = told(out, reason, store.index_message.as_ref())),
        );
    }
}

/// What storing costs the flash, as far as that is known.
fn flash(out: &mut Sheet, flash: &FlashStatus) {
    let stored = message!("{size} of records {since}", size = size(flash.stored), since = started());
    out.line(message!("stored"), stored);
    if !flash.unknown.is_empty() {
        let text = message!("not known: {reason}", reason = told(out, &flash.unknown, flash.unknown_message.as_ref()));
        out.line(message!("written to flash"), text);
        return;
    }
    let written = match (flash.written, flash.ratio) {
        (Some(written), Some(ratio)) => message!(
            "{size} for them, {ratio} bytes a byte (estimated)",
            size = size(written),
            ratio = format!("{ratio:.2}")
        ),
        (Some(written), None) => message!("{size} (estimated)", size = size(written)),
        _ => message!("too few commits have been measured yet"),
    };
    out.line(message!("written to flash"), written);
    if let Some(device) = flash.device_written {
        let text = message!("{size} written by everyone {since}", size = size(device), since = started());
        let text = match flash.device_a_day {
            Some(pace) => message!("{written}, {size} a day", written = text, size = size(pace)),
            None => text,
        };
        out.line(message!("by the device"), text);
    }
    if let Some(endurance) = flash.endurance {
        let life = match flash.years {
            Some(years) if years >= 100.0 => message!("more than 100 years"),
            Some(years) => message!("{years} years of a new card", years = format!("{years:.1}")),
            None => message!("not known yet"),
        };
        let text = message!("{life} at this pace ({size} can be written)", life = life, size = size(endurance));
        out.line(message!("flash life"), text);
    }
}
