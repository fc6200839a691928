// SPDX-License-Identifier: GPL-2.0
/*
 * Simulates the devlink ports of sub-functions, made by "devlink port add": each has a representor, an address and a state, and
 * is numbered as mlx5 does it.
 */
#include <linux/etherdevice.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <net/devlink.h>

#include "labsim.h"

/* A port with its representor and, while it is active, its function. Protected by the devlink lock. */
struct sf_port {
	struct devlink_port port;
	struct list_head list;
	struct eswitch *es;
	struct net_device *representor;
	struct subfunction *function;
	struct devlink *devlink;
	u32 sfnum, id;
	u8 address[ETH_ALEN];
};

static int sf_reload_down(struct devlink *devlink, bool netns_change, enum devlink_reload_action action,
			  enum devlink_reload_limit limit, struct netlink_ext_ack *extack)
{
	return 0;
}

static int sf_reload_up(struct devlink *devlink, enum devlink_reload_action action, enum devlink_reload_limit limit,
			u32 *performed, struct netlink_ext_ack *extack)
{
	*performed = BIT(action);
	return 0;
}

static const struct devlink_ops sf_devlink_ops = {
	.reload_actions = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT),
	.reload_down = sf_reload_down,
	.reload_up = sf_reload_up,
};

static const struct devlink_param sf_params[] = {
	DEVLINK_PARAM_GENERIC(ENABLE_ETH, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL, NULL),
	DEVLINK_PARAM_GENERIC(ENABLE_RDMA, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL, NULL),
	DEVLINK_PARAM_GENERIC(ENABLE_VNET, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL, NULL),
};

/* The initial values of an mlx5 SF: a network interface, no RDMA, no vDPA */
static void sf_params_init(struct devlink *devlink)
{
	devl_lock(devlink);
	driverinit_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_ETH, true);
	driverinit_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_RDMA, false);
	driverinit_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_VNET, false);
	devl_unlock(devlink);
}

static void sf_deactivate(struct sf_port *sp)
{
	if (!sp->function)
		return;
	devlink_unregister(sp->devlink);
	devlink_params_unregister(sp->devlink, sf_params, ARRAY_SIZE(sf_params));
	devlink_free(sp->devlink);
	subfunction_del(sp->function);
	sp->function = NULL;
}

static int sf_activate(struct sf_port *sp)
{
	struct subfunction *sf;

	if (sp->function)
		return 0;
	sf = subfunction_new(sp->es->pdev, "mlx5_core", "sf", sp->id, sp->sfnum);
	if (IS_ERR(sf))
		return PTR_ERR(sf);
	sp->devlink = devlink_alloc(&sf_devlink_ops, 0, &sf->auxdev.dev);
	if (!sp->devlink || devlink_params_register(sp->devlink, sf_params, ARRAY_SIZE(sf_params))) {
		if (sp->devlink)
			devlink_free(sp->devlink);
		subfunction_del(sf);
		return -ENOMEM;
	}
	sf_params_init(sp->devlink);
	devlink_register(sp->devlink);
	sp->function = sf;
	return 0;
}

static void sf_port_free(struct sf_port *sp)
{
	sf_deactivate(sp);
	list_del(&sp->list);
	labsim_netdev_del(sp->representor);
	devl_port_unregister(&sp->port);
	kfree(sp);
}

static int sf_port_del(struct devlink *devlink, struct devlink_port *port, struct netlink_ext_ack *extack)
{
	sf_port_free(container_of(port, struct sf_port, port));
	return 0;
}

static int sf_address_get(struct devlink_port *port, u8 *address, int *length, struct netlink_ext_ack *extack)
{
	ether_addr_copy(address, container_of(port, struct sf_port, port)->address);
	*length = ETH_ALEN;
	return 0;
}

static int sf_address_set(struct devlink_port *port, const u8 *address, int length, struct netlink_ext_ack *extack)
{
	ether_addr_copy(container_of(port, struct sf_port, port)->address, address);
	return 0;
}

static int sf_state_get(struct devlink_port *port, enum devlink_port_fn_state *state, enum devlink_port_fn_opstate *opstate,
			struct netlink_ext_ack *extack)
{
	bool active = container_of(port, struct sf_port, port)->function;

	*state = active ? DEVLINK_PORT_FN_STATE_ACTIVE : DEVLINK_PORT_FN_STATE_INACTIVE;
	*opstate = active ? DEVLINK_PORT_FN_OPSTATE_ATTACHED : DEVLINK_PORT_FN_OPSTATE_DETACHED;
	return 0;
}

static int sf_state_set(struct devlink_port *port, enum devlink_port_fn_state state, struct netlink_ext_ack *extack)
{
	struct sf_port *sp = container_of(port, struct sf_port, port);

	if (state == DEVLINK_PORT_FN_STATE_ACTIVE)
		return sf_activate(sp);
	sf_deactivate(sp);
	return 0;
}

static const struct devlink_port_ops sf_port_ops = {
	.port_del = sf_port_del,
	.port_fn_hw_addr_get = sf_address_get,
	.port_fn_hw_addr_set = sf_address_set,
	.port_fn_state_get = sf_state_get,
	.port_fn_state_set = sf_state_set,
};

/* mlx5's numbering */
#define FIRST_SF_PORT 32768
#define FIRST_SF_ID 4

int sf_port_new(struct devlink *devlink, const struct devlink_port_new_attrs *attrs, struct netlink_ext_ack *extack,
		struct devlink_port **port)
{
	struct eswitch *es = devlink_priv(devlink);
	struct sf_port *sp, *other;
	u32 index = 0;
	int err;

	if (attrs->flavour != DEVLINK_PORT_FLAVOUR_PCI_SF || !attrs->sfnum_valid || es->mode != DEVLINK_ESWITCH_MODE_SWITCHDEV) {
		NL_SET_ERR_MSG(extack, "only flavour pcisf with an sfnum, and in switchdev mode");
		return -EOPNOTSUPP;
	}
	list_for_each_entry(other, &es->sf_ports, list) {
		if (other->sfnum == attrs->sfnum)
			return -EEXIST;
		index = max(index, other->id - FIRST_SF_ID + 1);
	}
	sp = kzalloc(sizeof(*sp), GFP_KERNEL);
	if (!sp)
		return -ENOMEM;
	sp->es = es;
	sp->sfnum = attrs->sfnum;
	sp->id = FIRST_SF_ID + index;
	devlink_port_attrs_pci_sf_set(&sp->port, 0, attrs->pfnum, attrs->sfnum, false);
	err = devl_port_register_with_ops(devlink, &sp->port, FIRST_SF_PORT + index, &sf_port_ops);
	if (err) {
		kfree(sp);
		return err;
	}
	list_add_tail(&sp->list, &es->sf_ports);
	sp->representor = labsim_netdev_add(&es->pdev->dev, &sp->port);
	*port = &sp->port;
	return 0;
}

void sf_ports_free(struct eswitch *es)
{
	struct sf_port *sp, *next;

	list_for_each_entry_safe(sp, next, &es->sf_ports, list)
		sf_port_free(sp);
}
