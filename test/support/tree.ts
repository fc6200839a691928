// How does a test write a node down, and unpack it?

export {
  attribute,
  device,
  type Entry,
  file,
  folder,
  format,
  formatKernelFacts,
  kernelFacts,
  kernelFactsName,
  link,
} from "../../src/host/tree.ts";
export { parse, unpack } from "../../src/host/recorded-tree.ts";
