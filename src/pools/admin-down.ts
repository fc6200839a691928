// What does an administratively down PF mean for its VFs? A fact of its driver: some take the port down, some leave it to the VFs.

import type { Port } from "../host/device.ts";

/** "takes down": VFs carry nothing. "keeps": VFs carry traffic as far as the cable does, and nothing shows whether it does. */
export type AdminDownEffect = "takes down" | "keeps";

interface Row {
  readonly effect: AdminDownEffect;
  /** The private flag link-down-on-close turns "keeps" around. */
  readonly hasFlag?: true;
  /** In switchdev mode the representors decide, and the state is unknown. */
  readonly legacyOnly?: true;
}

/**
 * Drivers by what their ndo_stop does, read in Linux 6.12 below drivers/net/ethernet. Drivers that are missing were not read or are unclear
 * from the source (fm10k, cxgb4: their switch or firmware decides): unknown.
 */
const drivers: Readonly<Record<string, Row>> = {
  // intel/i40e/i40e_main.c i40e_down: i40e_force_link_state only with LINK_DOWN_ON_CLOSE; VFs follow the physical link.
  i40e: { effect: "keeps", hasFlag: true },
  // intel/ice/ice_main.c ice_stop: ice_force_phys_link_state only with ICE_FLAG_LINK_DOWN_ON_CLOSE_ENA.
  ice: { effect: "keeps", hasFlag: true },
  // intel/ixgbe/ixgbe_main.c ixgbe_down: ixgbe_set_all_vfs disables VFs with __IXGBE_DOWN set, then the laser is turned off.
  ixgbe: { effect: "takes down" },
  // intel/igb/igb_main.c igb_down → igb_reset: VFRE and VFTE are cleared, igb_power_down_link turns the PHY off.
  igb: { effect: "takes down" },
  // mellanox/mlx5/core/en_main.c mlx5e_close → mlx5e_modify_admin_state: port down, and in legacy mode the uplink vport too.
  mlx5_core: { effect: "takes down", legacyOnly: true },
  // mellanox/mlx4/fw.c mlx4_CLOSE_PORT_wrapper: an Ethernet port is closed only when no function uses it any more.
  mlx4_core: { effect: "keeps" },
  // broadcom/bnxt/bnxt.c bnxt_hwrm_shutdown_link: returns without a command while there are VFs (unless firmware manages it).
  bnxt_en: { effect: "keeps" },
  // sfc/efx_common.c efx_stop_all: queues alone; the port belongs to the management controller.
  sfc: { effect: "keeps" },
  // qlogic/qede/qede_main.c qede_unload: set_link with link_up false resets the port's link.
  qede: { effect: "takes down" },
  // hisilicon/hns3/hns3pf/hclge_main.c hclge_ae_stop: MAC disabled, PHY stopped.
  hns3: { effect: "takes down" },
  // pensando/ionic/ionic_lif.c ionic_stop: queues alone; the port's state is set at probe and by ethtool.
  ionic: { effect: "keeps" },
  // netronome/nfp/nfp_net_common.c nfp_net_netdev_close: nfp_port_configure clears the port's ifup state.
  nfp: { effect: "takes down" },
  // marvell/octeontx2/af/rvu_cgx.c rvu_cgx_start_stop_io: the MAC stops when the last of PF and VFs stops.
  rvu_nicpf: { effect: "keeps" },
  // emulex/benet/be_main.c be_close: filters and queues alone.
  be2net: { effect: "keeps" },
};

/** What a rule decides about a port: whether it carries no traffic (null: unknown), and why. */
export interface RuleResult {
  readonly isDown: boolean | null;
  /** The end of a sentence, behind the name of the port. */
  readonly rule: string;
}

/** What it means for VFs that their PF's interface is administratively down. */
export function adminDownRule({ driver, isSwitchdev, linkDownOnClose }: Port): RuleResult {
  const name = driver ?? "no driver";
  const row = driver !== null && Object.hasOwn(drivers, driver) ? drivers[driver] : undefined;
  if (!row || (row.legacyOnly && isSwitchdev)) {
    const where = row ? `${name} in switchdev mode` : name;
    return {
      isDown: null,
      rule: `is administratively down; whether ${where} then stops its VFs is unknown, so it does not count`,
    };
  }
  if (row.effect === "takes down") {
    return { isDown: true, rule: `is administratively down, and ${name} takes its VFs down with it` };
  }
  if (row.hasFlag && linkDownOnClose === true) {
    return {
      isDown: true,
      rule: `is administratively down, and its private flag link-down-on-close takes the link down`,
    };
  }
  return { isDown: null, rule: `is administratively down; ${name} keeps the port's link up, so it does not count` };
}
