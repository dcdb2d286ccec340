//! Reads every cycle of a running machine and keeps account of what was promised to its user.
use kadenz_link::View;
use shm_layout::code::{axis_flag, state_flag};
use shm_layout::state::{AxisState, StateHeader};

/// Grid points in a row that motion bridges: it moves on by a period for each.
const SKIPS_BRIDGED_MAX: u32 = 10;
/// Relative slack of the definition of a jump.
const SLACK: f64 = 1.0 + 1e-9;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Records read.
    pub records: u64,
    /// Records missed by this reader (gateway restarts included).
    pub lost: u64,
    /// Largest following error, rad or m.
    pub following_error_max: f64,
    /// Jumps seen between consecutive records: what, with numbers.
    pub jumps: Vec<String>,
    /// Largest share of its velocity limit any axis has now, 0 ..= 1.
    pub speed_share: f64,
}

/// Judges record after record, wherever they come from.
#[derive(Default)]
pub struct Judge {
    limits: Vec<[f64; 3]>,
    last: Option<(StateHeader, Vec<AxisState>)>,
    account: Account,
}

impl Judge {
    /// Judges by velocity, acceleration and jerk limits per axis.
    #[must_use]
    pub fn new(limits: Vec<[f64; 3]>) -> Self {
        Self { limits, ..Self::default() }
    }

    /// What was seen so far.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// Judges the next record.
    pub fn judge(&mut self, header: &StateHeader, axes: &[AxisState]) {
        self.compare(header, axes);
        self.last = Some((*header, axes.to_vec()));
    }

    fn compare(&mut self, header: &StateHeader, axes: &[AxisState]) {
        self.account.records += 1;
        for axis in axes.iter().filter(|axis| axis.flags & axis_flag::ENABLED != 0) {
            self.account.following_error_max =
                self.account.following_error_max.max(axis.following_error.abs());
        }
        self.account.speed_share = axes
            .iter()
            .zip(&self.limits)
            .map(|(axis, limits)| axis.velocity_reference.abs() / limits[0])
            .fold(0.0, f64::max);
        let Some((before, axes_before)) = &self.last else { return };
        if before.daemon_id != header.daemon_id {
            return;
        }
        let step = header.cycle.saturating_sub(before.cycle);
        self.account.lost += step.saturating_sub(1);
        if step != 1 {
            return;
        }
        let bridged = if header.skipped > SKIPS_BRIDGED_MAX { 0 } else { header.skipped };
        let dt_s = header.period_ns as f64 * 1e-9 * f64::from(1 + bridged);
        for (index, ((new, old), limits)) in
            axes.iter().zip(axes_before).zip(&self.limits).enumerate()
        {
            let both = new.flags & old.flags & axis_flag::ENABLED != 0;
            if both && let Some(jump) = jump(new, old, *limits, dt_s) {
                let cycle = header.cycle;
                self.account.jumps.push(format!("cycle {cycle}, axis {index}: {jump}"));
            }
        }
    }
}

/// Reads every cycle through the view domain.
pub struct Watch {
    view: View,
    judge: Judge,
}

impl Watch {
    /// Watches through `view`.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self { view, judge: Judge::default() }
    }

    /// The view, for health and catalog.
    pub const fn view(&mut self) -> &mut View {
        &mut self.view
    }

    /// What was seen so far.
    #[must_use]
    pub const fn account(&self) -> &Account {
        self.judge.account()
    }

    /// The newest record.
    #[must_use]
    pub fn last(&self) -> Option<(&StateHeader, &[AxisState])> {
        self.judge.last.as_ref().map(|(header, axes)| (header, axes.as_slice()))
    }

    /// Whether everything stands, by the newest record.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.last().is_some_and(|(header, _)| header.flags & state_flag::AT_REST != 0)
    }

    /// Reads all that is waiting; gives how many records.
    ///
    /// # Errors
    /// What waiting does not heal.
    pub fn read(&mut self) -> anyhow::Result<usize> {
        if self.judge.limits.is_empty()
            && let Some(catalog) = self.view.catalog()?
        {
            self.judge.limits = catalog
                .axes
                .iter()
                .map(|axis| [axis.velocity_max, axis.acceleration_max, axis.jerk_max])
                .collect();
        }
        let mut count = 0;
        while let Some(sample) = self.view.next_state()? {
            self.judge.judge(sample.header(), sample.axes());
            count += 1;
        }
        Ok(count)
    }
}

/// The jump between two consecutive references, in words; `None` when there is none.
fn jump(
    new: &AxisState,
    old: &AxisState,
    [velocity, acceleration, jerk]: [f64; 3],
    dt_s: f64,
) -> Option<String> {
    let rounding = 1e-12 * (1.0 + new.position_reference.abs());
    let dp = (new.position_reference - old.position_reference).abs();
    let dv = (new.velocity_reference - old.velocity_reference).abs();
    let da = (new.acceleration_reference - old.acceleration_reference).abs();
    let position = dp > velocity * dt_s * SLACK + rounding;
    let others = dv > acceleration * dt_s * SLACK || da > jerk * dt_s * SLACK;
    (position || others).then(|| format!("|Δp| {dp:e}, |Δv| {dv:e}, |Δa| {da:e} in {dt_s} s"))
}
