//! The list of runs: the one value that decides which runs count.
//!
//! ```text
//! varint  id of the next run
//! varint  number of runs, then for each, in the order of positions:
//!   varint  id, tier, first position, last position, blocks,
//!           parts of bloom, starts and chunks, streams, bytes of the log
//! ```

use super::run::RunInfo;
use crate::encoding::{Input, put_varint};

/// Which runs there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Ids from here on have never been used.
    pub(crate) next_id: u64,
    pub(crate) runs: Vec<RunInfo>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.next_id);
        put_varint(&mut out, self.runs.len() as u64);
        for run in &self.runs {
            let numbers = [
                run.id,
                run.tier.into(),
                run.first,
                run.last,
                run.blocks.into(),
                run.bloom_parts.into(),
                run.starts_parts.into(),
                run.chunks_parts.into(),
                run.streams,
                run.log_bytes,
            ];
            for number in numbers {
                put_varint(&mut out, number);
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input::new(bytes);
        let next_id = input.varint()?;
        let count = input.varint()?;
        let mut runs = Vec::new();
        for _ in 0..count {
            runs.push(decode_run(&mut input)?);
        }
        let ordered = runs.windows(2).all(|pair| pair[0].last < pair[1].first);
        let sound = runs
            .iter()
            .all(|run: &RunInfo| run.first <= run.last && run.id < next_id);
        (input.is_empty() && ordered && sound).then_some(Self { next_id, runs })
    }
}

fn decode_run(input: &mut Input<'_>) -> Option<RunInfo> {
    Some(RunInfo {
        id: input.varint()?,
        tier: input.varint()?.try_into().ok()?,
        first: input.varint()?,
        last: input.varint()?,
        blocks: input.varint()?.try_into().ok()?,
        bloom_parts: input.varint()?.try_into().ok()?,
        starts_parts: input.varint()?.try_into().ok()?,
        chunks_parts: input.varint()?.try_into().ok()?,
        streams: input.varint()?,
        log_bytes: input.varint()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn run()(id in 1..100_u64, tier: u8, first in 1..1_000_u64, more in 0..10_u64,
                 blocks: u32, bloom_parts: u32, starts_parts: u32, chunks_parts: u32,
                 streams: u64, log_bytes: u64) -> RunInfo {
            let last = first + more;
            RunInfo { id, tier, first, last, blocks, bloom_parts, starts_parts, chunks_parts,
                      streams, log_bytes }
        }
    }

    proptest! {
        #[test]
        fn manifests_round_trip(run in run()) {
            let manifest = Manifest { next_id: 100, runs: vec![run.clone()] };
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Some(manifest));
            let overlapping = Manifest { next_id: 100, runs: vec![run.clone(), run.clone()] };
            prop_assert_eq!(Manifest::decode(&overlapping.encode()), None);
            let reused = Manifest { next_id: run.id, runs: vec![run] };
            prop_assert_eq!(Manifest::decode(&reused.encode()), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Manifest::decode(&bytes);
        }
    }
}
