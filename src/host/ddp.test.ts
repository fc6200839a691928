import { expect, test } from "bun:test";
import { DdpError } from "../../native/ethtool.ts";
import { type AskNic, ddpAnswer, readDdpProfiles } from "./ddp.ts";
import type { KernelFacts } from "./kernel.ts";
import type { PciFunction } from "./pci.ts";
import type { Functions } from "./snapshot.ts";
import type { ReadProblem } from "./read-problem.ts";

const address = "0000:3b:00.0" as PciFunction["address"];
const pf: PciFunction = {
  address,
  instance: "1",
  folder: "",
  entries: new Set(),
  pciClass: 2,
  vendor: "8086",
  product: "37d2",
  driver: "i40e",
  numaNode: 0,
  pcieRoot: null,
  acpiIndex: null,
  physfn: null,
  virtfns: new Map(),
};
const functions: Functions = { pci: new Map([[address, pf]]), auxiliary: [], own: new Map(), problems: [] };
const kernel = (index: number) =>
  ({ links: [{ index, name: "eno1", parentBus: "pci", parentDevice: address }] }) as unknown as KernelFacts;

test("a NIC without profiles, as X722, is queried once, and again only when its interface is another one", async () => {
  const queried: string[] = [];
  const ask: AskNic = async (name) => {
    queried.push(name);
    return { profile: null };
  };
  const known = new Map<string, string | null>();
  const problems: ReadProblem[] = [];
  for (const index of [5, 5, 5, 9])
    expect(await readDdpProfiles(functions, kernel(index), known, problems, ask)).toEqual(new Map());
  expect(queried).toHaveLength(2);
  expect(problems).toEqual([]);
});

test("a NIC that can't be queried now is queried again, and named", async () => {
  const answers = [null, { profile: "GTP" }];
  const known = new Map<string, string | null>();
  const problems: ReadProblem[] = [];
  const ask: AskNic = async () => answers.shift() ?? null;
  await readDdpProfiles(functions, kernel(5), known, problems, ask);
  expect(problems.map(({ key }) => key)).toEqual(["ddp 0000:3b:00.0"]);
  expect(await readDdpProfiles(functions, kernel(5), known, problems, ask)).toEqual(new Map([[address, "GTP"]]));
});

test.each([
  ["unsupported", '{"profile":null}'],
  ["busy", "throws"],
  ["denied", "throws"],
] as const)("of a NIC whose answer is %s the command says what can be remembered", (problem, expected) => {
  const read = () => {
    throw new DdpError(problem, "as simulated");
  };
  const said = () => {
    try {
      return ddpAnswer("eno1", "37d2", read);
    } catch {
      return "throws";
    }
  };
  expect(said()).toBe(expected);
});
