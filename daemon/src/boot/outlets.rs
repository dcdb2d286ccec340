//! Makes the lanes at start: both ends of the RT thread, and what is handed to gateways.
use anyhow::Context;
use kadenz_config::machine::Machine;
use kadenz_handover::{
    CATALOG_REGION, EVENT_REGION, HEALTH_REGION, INCIDENT_REGION, Offer, REQUEST_REGION, RoleTable,
    STATE_REGION, Terms, mailbox_region, operate_inbound_layout, outbound_layout,
    plan_inbound_layout,
};
use kadenz_lanes::{BroadcastWriter, GaugeReader, GaugeWriter, Lanes, Sealing};
use servo_core::setup::Setup;
use shm_layout::SOURCES_MAX;
use shm_layout::catalog::CatalogAxis;

use super::machine::catalog;
use crate::rt::lanes::{LaneEnds, Wish};

/// All lanes of this daemon, with their ends.
pub struct Outlets {
    /// For the RT thread.
    pub ends: LaneEnds,
    /// For the RT thread's statistics.
    pub gauges: GaugeWriter<'static>,
    /// For what the mainland attributes.
    pub mainland_gauges: GaugeWriter<'static>,
    /// For what the saver could not save.
    pub saver_gauges: GaugeWriter<'static>,
    /// For what the mainland finds out about breaches of timing.
    pub incidents: BroadcastWriter<'static>,
    /// For the mainland to read statistics.
    pub health: GaugeReader<'static>,
    /// For it to see how many cycles were missed in all.
    pub mainland_health: GaugeReader<'static>,
    /// For gateways.
    pub offer: Offer,
    /// Who may have them.
    pub roles: RoleTable,
}

/// Creates and seals the lanes, writes the catalog. Gateways are told to keep off `loop_cpu`.
///
/// # Errors
/// What the kernel refuses (memory, seals), or a role's user or group that does not exist.
pub fn create(
    machine: &Machine,
    setup: &Setup,
    wish: &'static Wish,
    loop_cpu: usize,
) -> anyhow::Result<Outlets> {
    let axis_count = setup.axis_count;
    let outbound =
        Lanes::create("kadenz-outbound", outbound_layout(axis_count)?, Sealing::Outbound)?;
    let plan = Lanes::create("kadenz-plan", plan_inbound_layout(axis_count)?, Sealing::Inbound)?;
    let operate = Lanes::create("kadenz-operate", operate_inbound_layout()?, Sealing::Inbound)?;

    let (header, axes) = catalog(machine, setup);
    let mut block = header.as_words().to_vec();
    block.extend_from_slice(CatalogAxis::slice_as_words(&axes));
    outbound.write_block(CATALOG_REGION, &block)?;

    let mut readers = Vec::with_capacity(SOURCES_MAX);
    for slot in 0..SOURCES_MAX {
        readers.push(plan.mailbox_reader(&mailbox_region(slot))?);
    }
    let mailboxes =
        readers.try_into().map_err(|_| anyhow::anyhow!("one mailbox per source slot"))?;
    let ends = LaneEnds::new(
        outbound.ring_writer(STATE_REGION)?,
        outbound.ring_writer(EVENT_REGION)?,
        mailboxes,
        operate.ring_reader(REQUEST_REGION)?,
        wish,
        axis_count,
    );
    let terms = Terms {
        axis_count: u16::try_from(axis_count).context("axis count")?,
        period_ns: setup.period_ns,
        out_offset_ns: header.out_offset_ns,
        in_lead_ns: header.in_lead_ns,
        gateway_priority_fifo: machine.gateways.priority_fifo,
        loop_cpu: u16::try_from(loop_cpu).context("the loop's CPU")?,
        daemon_id: setup.daemon_id,
    };
    Ok(Outlets {
        ends,
        gauges: outbound.gauge_writer(HEALTH_REGION)?,
        mainland_gauges: outbound.gauge_writer(HEALTH_REGION)?,
        saver_gauges: outbound.gauge_writer(HEALTH_REGION)?,
        incidents: outbound.ring_writer(INCIDENT_REGION)?,
        health: outbound.gauge_reader(HEALTH_REGION)?,
        mainland_health: outbound.gauge_reader(HEALTH_REGION)?,
        offer: Offer {
            terms,
            outbound: outbound.peer_fd()?,
            plan_inbound: plan.peer_fd()?,
            operate_inbound: operate.peer_fd()?,
        },
        roles: role_table(machine)?,
    })
}

fn role_table(machine: &Machine) -> anyhow::Result<RoleTable> {
    let Some(roles) = &machine.roles else { return Ok(RoleTable::one_user()) };
    Ok(RoleTable {
        view: Some(uid_of("view", &roles.view)?),
        plan: Some(uid_of("plan", &roles.plan)?),
        operate: Some(uid_of("operate", &roles.operate)?),
        members: Some(gid_of(&roles.operate_group)?),
        one_user: false,
    })
}

fn uid_of(role: &str, user: &str) -> anyhow::Result<u32> {
    let found = nix::unistd::User::from_name(user)
        .with_context(|| format!("[roles] {role} = \"{user}\""))?;
    found
        .map(|user| user.uid.as_raw())
        .with_context(|| format!("[roles] {role} = \"{user}\": no such user; create it"))
}

fn gid_of(group: &str) -> anyhow::Result<u32> {
    let found = nix::unistd::Group::from_name(group)
        .with_context(|| format!("[roles] operate_group = \"{group}\""))?;
    found.map(|group| group.gid.as_raw()).with_context(|| {
        format!("[roles] operate_group = \"{group}\": no such group; `groupadd --system {group}`")
    })
}
