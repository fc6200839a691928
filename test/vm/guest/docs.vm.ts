// boot: topology=numa iommu=on memory=2048 limit=600 alone=yes
// Do the commands of docs/ run on a machine with IOMMU, and print what the pages say?
import { tryPages } from "./docs.ts";

tryPages("with IOMMU");
