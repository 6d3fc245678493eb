//! A body on its way: read in parts, counted, hashed and looked at as it passes, in bounded memory.
//!
//! Bytes are kept as the segments that arrived and never gathered into one buffer. Before a part is read its room is
//! taken from one [`Memory`] that all transfers share; the room goes back when the part is dropped, which is after the
//! bucket has it. A part that is held can be sent again, so this is what is done while there is room.
//!
//! Where room is short, a part [flows](Coming::Flows): it is sent while it comes, and holds half a megabyte. So does one that
//! has waited for room for half a second, and one that has been filling for as long while others wait: the slow give
//! way to the fast, and nobody is slower than its own source. What is of unknown length cannot flow, because a part's
//! length goes ahead of it; its parts are held, and wait for room in turn. Waiting always ends, since full parts leave
//! by themselves and others flow.
//!
//! `intake` reads the body; `memory` is the room, `segments` what stands in it, `flow` the narrow channel of a part that
//! is not held; `pairing` is where two transfers have their bytes hashed at once.

mod flow;
mod intake;
mod memory;
mod pairing;
mod segments;

pub use flow::{Flow, Sink, flow};
pub use intake::Intake;
pub use memory::Memory;
use memory::Room;
pub use pairing::Pairing;
pub use segments::Segments;

use crate::media::{Ending, Inspection};
use crate::receipt::{Checksums, Receipt};

/// One part of a body, with the room that it takes.
#[derive(Debug)]
pub struct Portion {
    /// The bytes.
    pub segments: Segments,
    /// Their checksums.
    pub checksums: Checksums,
    /// Whether the body ends with it.
    pub is_last: bool,
    /// Given back when this is dropped.
    _room: Room,
}

/// What the next part is.
#[derive(Debug)]
pub enum Coming {
    /// All of it is in hand.
    Held(Portion),
    /// It has this many bytes, more than none; they are to be [poured](Intake::pour), and cannot be had again.
    Flows(u64),
}

/// What was poured.
#[derive(Clone, Copy, Debug)]
pub struct Poured {
    /// The checksums of all that passed.
    pub checksums: Checksums,
    /// Whether the body ends with it.
    pub is_last: bool,
}

/// A body that came to its end.
#[derive(Debug)]
pub struct Arrival {
    /// What was counted.
    pub receipt: Receipt,
    /// What it is.
    pub inspection: Inspection,
    /// Whether HTTP marked the end; if not, it may have been cut there.
    pub ending: Ending,
}
