// SPDX-License-Identifier: GPL-2.0
/* Simulates sub-functions: auxiliary devices with an sfnum below a PCI function, each with a network interface. */
#include <linux/auxiliary_bus.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "labsim.h"

static struct subfunction *to_subfunction(struct device *dev)
{
	return container_of(dev, struct subfunction, auxdev.dev);
}

static ssize_t sfnum_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", to_subfunction(dev)->sfnum);
}
static DEVICE_ATTR_RO(sfnum);

static struct attribute *subfunction_attrs[] = { &dev_attr_sfnum.attr, NULL };
ATTRIBUTE_GROUPS(subfunction);

static void subfunction_release(struct device *dev)
{
	kfree(to_subfunction(dev));
}

struct subfunction *subfunction_new(struct pci_dev *pdev, const char *module, const char *type, u32 id, u32 sfnum)
{
	struct subfunction *sf = kzalloc(sizeof(*sf), GFP_KERNEL);
	int err;

	if (!sf)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&sf->list);
	strscpy(sf->module, module, sizeof(sf->module));
	strscpy(sf->type, type, sizeof(sf->type));
	sf->sfnum = sfnum;
	sf->pdev = pdev;
	sf->auxdev.name = sf->type;
	sf->auxdev.id = id;
	sf->auxdev.dev.parent = &pdev->dev;
	sf->auxdev.dev.release = subfunction_release;
	sf->auxdev.dev.groups = subfunction_groups;
	err = auxiliary_device_init(&sf->auxdev);
	if (err) {
		kfree(sf);
		return ERR_PTR(err);
	}
	err = __auxiliary_device_add(&sf->auxdev, sf->module);
	if (err) {
		auxiliary_device_uninit(&sf->auxdev);
		return ERR_PTR(err);
	}
	sf->netdev = labsim_netdev_add(&sf->auxdev.dev, NULL);
	return sf;
}

void subfunction_del(struct subfunction *sf)
{
	list_del(&sf->list);
	labsim_netdev_del(sf->netdev);
	auxiliary_device_delete(&sf->auxdev);
	auxiliary_device_uninit(&sf->auxdev);
}
