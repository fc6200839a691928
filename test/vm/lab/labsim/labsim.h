/* SPDX-License-Identifier: GPL-2.0 */
/* Declarations shared by the files of labsim. control.c describes the module. */
#ifndef LABSIM_H
#define LABSIM_H

#include <linux/auxiliary_bus.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <net/devlink.h>

/* netdevs.c */

struct net_device *labsim_netdev_add(struct device *parent, struct devlink_port *port);
void labsim_netdev_del(struct net_device *netdev);

/* subfunctions.c */

struct subfunction {
	struct auxiliary_device auxdev;
	struct list_head list;
	struct net_device *netdev;
	struct pci_dev *pdev;
	char module[32], type[32];
	u32 sfnum;
};

struct subfunction *subfunction_new(struct pci_dev *pdev, const char *module, const char *type, u32 id, u32 sfnum);
void subfunction_del(struct subfunction *sf);

/* eswitch.c */

struct eswitch {
	struct list_head list;
	struct devlink *devlink;
	struct pci_dev *pdev;
	u16 mode;
	int count;
	struct devlink_port *ports;
	struct net_device **representors;
	struct list_head sf_ports;
};

int eswitch_add(struct pci_dev *pdev, int count);
void eswitches_clear(void);
/* While set, requests for an eswitch mode block with the lock of the devlink instance held. */
void eswitches_wedge(bool now);

/* sf-ports.c */

int sf_port_new(struct devlink *devlink, const struct devlink_port_new_attrs *attrs, struct netlink_ext_ack *extack,
		struct devlink_port **port);
void sf_ports_free(struct eswitch *es);

/* The caller holds the lock of the devlink instance. */
static inline void driverinit_set(struct devlink *devlink, u32 id, bool value)
{
	devl_param_driverinit_value_set(devlink, id, (union devlink_param_value){ .vbool = value });
}

#endif
