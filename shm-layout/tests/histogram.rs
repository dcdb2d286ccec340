//! The histogram loses at most 1/32 of a duration and never a count.
use shm_layout::histogram::{BUCKETS, SUB_BUCKETS, bucket_of, percentile_ns, upper_ns};

#[test]
fn buckets_rise_and_hold_what_they_say() {
    let mut previous = 0;
    for shift in 0..31 {
        for step in 0..1000u64 {
            let ns = (1u64 << shift) + (step << shift) / 1000;
            let bucket = bucket_of(ns);
            assert!(bucket >= previous && bucket < BUCKETS, "{ns}");
            assert!(upper_ns(bucket) >= ns);
            assert!(upper_ns(bucket) as f64 <= ns as f64 * (1.0 + 1.0 / SUB_BUCKETS as f64) + 1.0);
            previous = bucket;
        }
    }
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
}

#[test]
fn percentiles_name_the_bucket_that_holds_them() {
    let mut counts = [0u64; BUCKETS];
    for ns in 1..=1000u64 {
        counts[bucket_of(ns)] += 1;
    }
    for (permille, exact) in [(500, 500.0), (990, 990.0), (999, 999.0), (1000, 1000.0)] {
        let got = percentile_ns(&counts, permille) as f64;
        assert!(got >= exact && got <= exact * 1.04, "{permille}: {got}");
    }
    assert_eq!(percentile_ns(&[0; BUCKETS], 500), 0);
}
