//! The QoS 2 packet identifiers of one session that are received and not yet released.

/// From so many on a bit for each of the 65,536 takes no more room than a list: 4,096 × 2 bytes = 8 KiB = 65,536 bits.
const LIST_MAX: usize = 4_096;
const WORDS: usize = 65_536 / 64;

/// A set of packet identifiers, never larger than 8 KiB, whatever a client does. Most hold a few.
#[derive(Clone, Default)]
pub struct PacketIds(Form);

#[derive(Clone)]
enum Form {
    /// In ascending order.
    List(Vec<u16>),
    Bits(Box<[u64; WORDS]>),
}

impl Default for Form {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl PacketIds {
    /// Whether it is in the set.
    pub fn contains(&self, id: u16) -> bool {
        match &self.0 {
            Form::List(list) => list.binary_search(&id).is_ok(),
            Form::Bits(bits) => bits[usize::from(id) / 64] & (1 << (id % 64)) != 0,
        }
    }

    /// Puts it in; says whether it was not there before.
    pub fn insert(&mut self, id: u16) -> bool {
        match &mut self.0 {
            Form::List(list) => {
                let Err(place) = list.binary_search(&id) else { return false };
                if list.len() < LIST_MAX {
                    list.insert(place, id);
                } else {
                    let mut bits = Box::new([0; WORDS]);
                    for id in list.iter().chain(&[id]) {
                        bits[usize::from(*id) / 64] |= 1 << (id % 64);
                    }
                    self.0 = Form::Bits(bits);
                }
                true
            }
            Form::Bits(bits) => {
                let word = &mut bits[usize::from(id) / 64];
                let new = *word & (1 << (id % 64)) == 0;
                *word |= 1 << (id % 64);
                new
            }
        }
    }

    /// Takes it out; says whether it was there.
    pub fn remove(&mut self, id: u16) -> bool {
        match &mut self.0 {
            Form::List(list) => {
                let Ok(place) = list.binary_search(&id) else { return false };
                list.remove(place);
                if list.is_empty() {
                    list.shrink_to_fit();
                }
                true
            }
            Form::Bits(bits) => {
                let word = &mut bits[usize::from(id) / 64];
                let there = *word & (1 << (id % 64)) != 0;
                *word &= !(1 << (id % 64));
                there
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::List(list) => list.len(),
            Form::Bits(bits) => bits.iter().map(|word| word.count_ones() as usize).sum(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<u16> for PacketIds {
    fn from_iter<T: IntoIterator<Item = u16>>(ids: T) -> Self {
        let mut set = Self::default();
        for id in ids {
            set.insert(id);
        }
        set
    }
}

impl PartialEq for PacketIds {
    fn eq(&self, other: &Self) -> bool {
        (0..=u16::MAX).all(|id| self.contains(id) == other.contains(id))
    }
}

impl std::fmt::Debug for PacketIds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} packet ids", self.len())
    }
}
