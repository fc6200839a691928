// boot: topology=numa iommu=off limit=300 alone=yes
// Do the commands of docs/ that are for a machine without IOMMU run there, and print what the pages say?
import { tryPages } from "./docs.ts";

tryPages("without IOMMU");
