// boot: topology=numa iommu=on init=systemd limit=300 alone=yes
// Do the commands of docs/ for systemd and udev run, and do VFs come as the pages say?
import { tryPages } from "./docs.ts";

tryPages("with systemd");
