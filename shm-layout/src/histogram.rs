//! Log-linear histogram of durations: fixed size, known error, no allocation.

/// Sub-buckets per octave: a bucket is at most 1/32 (3.1 %) wide.
pub const SUB_BUCKETS: usize = 32;
/// Octaves above the linear part: up to 2^31 ns (2.1 s); longer ones land in the last bucket.
pub const OCTAVES: usize = 26;
/// Buckets in all.
pub const BUCKETS: usize = SUB_BUCKETS * (OCTAVES + 1);

const SUB_BITS: u32 = SUB_BUCKETS.ilog2();

/// Bucket a duration falls into: 0 ..< `BUCKETS`.
#[must_use]
pub const fn bucket_of(duration_ns: u64) -> usize {
    if duration_ns < SUB_BUCKETS as u64 {
        return duration_ns as usize;
    }
    let octave = duration_ns.ilog2().saturating_sub(SUB_BITS);
    let sub = (duration_ns >> octave) as usize & (SUB_BUCKETS - 1);
    let index = (octave as usize).saturating_add(1).saturating_mul(SUB_BUCKETS).saturating_add(sub);
    if index < BUCKETS { index } else { BUCKETS - 1 }
}

/// Largest duration that falls into a bucket (the value a percentile reports), ns.
#[must_use]
pub const fn upper_ns(bucket: usize) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket as u64;
    }
    let octave = (bucket / SUB_BUCKETS).saturating_sub(1);
    let sub = (bucket % SUB_BUCKETS).saturating_add(SUB_BUCKETS) as u64;
    if octave > 58 { u64::MAX } else { (sub.saturating_add(1) << octave).saturating_sub(1) }
}

/// The duration below which `permille` thousandths of the counted durations lie, ns; 0 when empty.
#[must_use]
pub fn percentile_ns(counts: &[u64], permille: u64) -> u64 {
    let total = counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
    let wanted = (u128::from(total).saturating_mul(u128::from(permille))).div_ceil(1000);
    let mut seen = 0u128;
    for (bucket, count) in counts.iter().enumerate() {
        seen = seen.saturating_add(u128::from(*count));
        if *count > 0 && seen >= wanted {
            return upper_ns(bucket);
        }
    }
    0
}
