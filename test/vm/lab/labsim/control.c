// SPDX-License-Identifier: GPL-2.0
/*
 * labsim adds to a real (emulated) PCI function what no emulated NIC has: auxiliary devices with an sfnum and a network
 * interface, and a devlink instance with an eswitch mode and representors. This file takes the commands, one in each write to
 * /sys/kernel/debug/labsim/ctl:
 *
 *   aux PCI MODULE TYPE ID SFNUM	add the auxiliary device MODULE.TYPE.ID below PCI, with a network interface
 *   devlink PCI COUNT		add the devlink instance pci/PCI; in switchdev mode it has the representors of its uplink and
 *				of COUNT VFs, and supports "devlink port add … flavour pcisf": an active port's function is
 *				the auxiliary device mlx5_core.sf.N, N from 4 on, with a devlink instance of its own, whose
 *				parameter enable_rdma is false
 *   wedge			make requests for an eswitch mode block, with the lock of the devlink instance held
 *   unwedge			let them continue
 *   clear			remove everything
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#include "labsim.h"

static DEFINE_MUTEX(lock);
static LIST_HEAD(subfunctions);
static struct dentry *debugfs;

static void clear(void)
{
	struct subfunction *sf, *next;

	list_for_each_entry_safe(sf, next, &subfunctions, list) {
		struct pci_dev *pdev = sf->pdev;

		subfunction_del(sf);
		pci_dev_put(pdev);
	}
	eswitches_clear();
}

static struct pci_dev *find_pci(const char *address)
{
	unsigned int domain, bus, slot, function;

	if (sscanf(address, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return NULL;
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
}

static int run(const char *command)
{
	char address[24], module[32], type[32];
	unsigned int id, number;
	struct subfunction *sf;
	struct pci_dev *pdev;
	bool auxiliary;
	int err;

	if (!strncmp(command, "wedge", 5) || !strncmp(command, "unwedge", 7)) {
		eswitches_wedge(command[0] == 'w');
		return 0;
	}
	if (!strncmp(command, "clear", 5)) {
		eswitches_wedge(false);
		clear();
		return 0;
	}
	auxiliary = sscanf(command, "aux %23s %31s %31s %u %u", address, module, type, &id, &number) == 5;
	if (!auxiliary && sscanf(command, "devlink %23s %u", address, &number) != 2)
		return -EINVAL;
	pdev = find_pci(address);
	if (!pdev)
		return -ENODEV;
	if (auxiliary) {
		sf = subfunction_new(pdev, module, type, id, number);
		err = PTR_ERR_OR_ZERO(sf);
		if (!err)
			list_add(&sf->list, &subfunctions);
	} else {
		err = eswitch_add(pdev, number);
	}
	if (err)
		pci_dev_put(pdev);
	return err;
}

static ssize_t ctl_write(struct file *file, const char __user *text, size_t length, loff_t *offset)
{
	char command[128];
	int err;

	if (length >= sizeof(command))
		return -EINVAL;
	if (copy_from_user(command, text, length))
		return -EFAULT;
	command[length] = 0;
	mutex_lock(&lock);
	err = run(command);
	mutex_unlock(&lock);
	return err ? err : length;
}

static const struct file_operations ctl_fops = { .owner = THIS_MODULE, .write = ctl_write };

static int __init labsim_init(void)
{
	debugfs = debugfs_create_dir("labsim", NULL);
	debugfs_create_file("ctl", 0200, debugfs, NULL, &ctl_fops);
	return 0;
}

static void __exit labsim_exit(void)
{
	debugfs_remove_recursive(debugfs);
	clear();
}

module_init(labsim_init);
module_exit(labsim_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Devices that no emulated NIC has, for tests");
