// SPDX-License-Identifier: GPL-2.0
/*
 * Simulates the eswitch of a PF: a devlink instance with an eswitch mode, and in switchdev mode the representors of its uplink
 * and VFs. Legacy mode has none.
 */
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <net/devlink.h>

#include "labsim.h"

static LIST_HEAD(eswitches);

static void representors_del(struct eswitch *es)
{
	sf_ports_free(es);
	for (int i = 0; i < es->count && es->ports; i++) {
		labsim_netdev_del(es->representors[i]);
		devl_port_unregister(&es->ports[i]);
	}
	kfree(es->ports);
	kfree(es->representors);
	es->ports = NULL;
	es->representors = NULL;
}

static void representor_attrs_set(struct eswitch *es, int i)
{
	struct devlink_port_attrs attrs = { .switch_id.id_len = 8 };

	memset(attrs.switch_id.id, 0x10 + es->pdev->bus->number, attrs.switch_id.id_len);
	if (i == 0) {
		attrs.flavour = DEVLINK_PORT_FLAVOUR_PHYSICAL;
		attrs.phys.port_number = PCI_FUNC(es->pdev->devfn);
	}
	devlink_port_attrs_set(&es->ports[i], &attrs);
	if (i > 0)
		devlink_port_attrs_pci_vf_set(&es->ports[i], 0, PCI_FUNC(es->pdev->devfn), i - 1, false);
}

/* Entry 0 is the uplink's. Its interface is registered last so that its name does not sort first. */
static int representors_add(struct eswitch *es)
{
	int count = es->count, err;

	es->ports = kcalloc(count, sizeof(*es->ports), GFP_KERNEL);
	es->representors = kcalloc(count, sizeof(*es->representors), GFP_KERNEL);
	es->count = 0;
	err = es->ports && es->representors ? 0 : -ENOMEM;
	for (int i = 0; i < count && !err; i++) {
		representor_attrs_set(es, i);
		err = devl_port_register(es->devlink, &es->ports[i], 128 + i);
		if (err)
			break;
		es->count = i + 1;
	}
	for (int i = count - 1; i >= 0 && !err; i--)
		es->representors[i] = labsim_netdev_add(&es->pdev->dev, &es->ports[i]);
	if (err)
		representors_del(es);
	es->count = count;
	return err;
}

static DECLARE_WAIT_QUEUE_HEAD(wedge_queue);
static bool wedged;

void eswitches_wedge(bool now)
{
	WRITE_ONCE(wedged, now);
	wake_up_all(&wedge_queue);
}

static int eswitch_mode_get(struct devlink *devlink, u16 *mode)
{
	wait_event(wedge_queue, !READ_ONCE(wedged));
	*mode = ((struct eswitch *)devlink_priv(devlink))->mode;
	return 0;
}

static int eswitch_mode_set(struct devlink *devlink, u16 mode, struct netlink_ext_ack *extack)
{
	struct eswitch *es = devlink_priv(devlink);
	int err = 0;

	if (mode == es->mode)
		return 0;
	if (mode == DEVLINK_ESWITCH_MODE_SWITCHDEV)
		err = representors_add(es);
	else
		representors_del(es);
	if (!err)
		es->mode = mode;
	return err;
}

static int eswitch_info_get(struct devlink *devlink, struct devlink_info_req *req, struct netlink_ext_ack *extack)
{
	return devlink_info_version_running_put(req, "fw.mgmt", "1.2.3");
}

static const struct devlink_ops eswitch_ops = {
	.eswitch_mode_get = eswitch_mode_get,
	.eswitch_mode_set = eswitch_mode_set,
	.port_new = sf_port_new,
	.info_get = eswitch_info_get,
};

static const struct devlink_param eswitch_params[] = {
	DEVLINK_PARAM_GENERIC(ENABLE_RDMA, BIT(DEVLINK_PARAM_CMODE_DRIVERINIT), NULL, NULL, NULL),
};

int eswitch_add(struct pci_dev *pdev, int count)
{
	int err;
	struct devlink *devlink = devlink_alloc(&eswitch_ops, sizeof(struct eswitch), &pdev->dev);
	struct eswitch *es;

	if (!devlink)
		return -ENOMEM;
	es = devlink_priv(devlink);
	es->devlink = devlink;
	es->pdev = pdev;
	es->count = 1 + count;
	INIT_LIST_HEAD(&es->sf_ports);
	err = devlink_params_register(devlink, eswitch_params, ARRAY_SIZE(eswitch_params));
	if (err) {
		devlink_free(devlink);
		return err;
	}
	devl_lock(devlink);
	driverinit_set(devlink, DEVLINK_PARAM_GENERIC_ID_ENABLE_RDMA, false);
	devl_unlock(devlink);
	devlink_register(devlink);
	list_add(&es->list, &eswitches);
	return 0;
}

static void eswitch_del(struct eswitch *es)
{
	struct devlink *devlink = es->devlink;
	struct pci_dev *pdev = es->pdev;

	list_del(&es->list);
	devlink_unregister(devlink);
	devl_lock(devlink);
	representors_del(es);
	devl_unlock(devlink);
	devlink_params_unregister(devlink, eswitch_params, ARRAY_SIZE(eswitch_params));
	devlink_free(devlink);
	pci_dev_put(pdev);
}

void eswitches_clear(void)
{
	struct eswitch *es, *next;

	list_for_each_entry_safe(es, next, &eswitches, list)
		eswitch_del(es);
}
