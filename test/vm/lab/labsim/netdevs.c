// SPDX-License-Identifier: GPL-2.0
/* Simulates network interfaces, which drop every packet. With a devlink port, an interface is that port's representor. */
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <net/devlink.h>

#include "labsim.h"

static netdev_tx_t labsim_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops labsim_netdev_ops = {
	.ndo_start_xmit = labsim_xmit,
	.ndo_set_mac_address = eth_mac_addr,
};

static void labsim_netdev_setup(struct net_device *netdev)
{
	ether_setup(netdev);
	netdev->netdev_ops = &labsim_netdev_ops;
	eth_hw_addr_random(netdev);
}

struct net_device *labsim_netdev_add(struct device *parent, struct devlink_port *port)
{
	struct net_device *netdev = alloc_netdev(0, "eth%d", NET_NAME_ENUM, labsim_netdev_setup);

	if (!netdev)
		return NULL;
	SET_NETDEV_DEV(netdev, parent);
	if (port)
		SET_NETDEV_DEVLINK_PORT(netdev, port);
	if (register_netdev(netdev)) {
		free_netdev(netdev);
		return NULL;
	}
	return netdev;
}

void labsim_netdev_del(struct net_device *netdev)
{
	if (!netdev)
		return;
	unregister_netdev(netdev);
	free_netdev(netdev);
}
