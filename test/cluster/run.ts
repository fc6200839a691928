// run.ts [--kubernetes VERSION] [--containerd RELEASE] [--only TESTS] [NAME…]: starts a Kubernetes cluster with one node, the lab's guest,
// and runs the tests of this folder against it, all or those whose file names contain a NAME; TESTS is a regular expression for the
// names of tests. nodes.test.ts starts a cluster of its own, on this machine, and runs first; scale.test.ts runs only if it is named. Where there
// can be no cluster all of them are counted as skipped.
// SRIOVDP_MULTUS names an executable of multus for the node in place of the lab's, one that finds devices of claims.
// Results: test-results/cluster/, with the logs of all programs and junit.xml.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { argumentsOf, oneOf } from "../../scripts/common/arguments.ts";
import manifest from "../../package.json" with { type: "json" };
import { runTests } from "../../scripts/test/run-tests.ts";
import { summaryLine } from "../../scripts/test/summary.ts";
import { missingPrograms } from "../packaging/needs.ts";
import { labFolder } from "../vm/boot.ts";
import { formatJUnit, type TestResult } from "../vm/junit.ts";
import { containerdReleases } from "../vm/profiles.ts";
import { type ClusterFacts, ownRelease } from "./cluster.ts";
import { serviceAddress, startControlPlane } from "./control-plane.ts";
import { GuestEnded, nodeAddress, runGuest } from "./guest.ts";
import { makeNamespace } from "./namespace.ts";

const root = join(import.meta.dir, "../..");
const results = join(root, "test-results/cluster");
const executable = process.env["SRIOVDP_EXECUTABLE"] ?? join(root, "dist/sriovdp");
const multus = process.env["SRIOVDP_MULTUS"] ?? null;
const imageName = `localhost/sriovdp:${manifest.version}`;

/** Milliseconds that one test may take: the emulated machine starts a pod in ten seconds, in a minute under load, and boots again in one. */
const timeout = 480_000;

const { values, positionals } = argumentsOf(
  "bun test/cluster/run.ts [--kubernetes VERSION] [--containerd 1.7|2] [--only TESTS] [NAME...]",
  {
    options: {
      kubernetes: { type: "string" },
      containerd: { type: "string", default: "1.7" },
      only: { type: "string" },
    },
    allowPositionals: true,
  },
);
const containerd = oneOf("--containerd", values.containerd, containerdReleases);

/** The release of Kubernetes, where it is not the lab's own. */
const release = values.kubernetes === ownRelease() ? null : (values.kubernetes ?? null);
/** The executable of Kubernetes. */
const kubernetes = join(labFolder, release === null ? "kubernetes" : `kubernetes-${release}`, "kubernetes");

async function main(): Promise<number> {
  rmSync(results, { recursive: true, force: true });
  mkdirSync(results, { recursive: true });
  const files = testFiles();
  const found: TestResult[] = [];
  for (const stage of [native, inGuest]) {
    const some = files.filter((path) => isNative(path) === (stage === native));
    if (some.length > 0) found.push(...(await stage(some).catch(withoutStart)));
  }
  writeFileSync(join(results, "junit.xml"), formatJUnit(found));
  for (const { name, outcome, seconds } of found) console.log(`${outcome.padEnd(7)} ${name} (${seconds.toFixed(1)} s)`);
  console.log(summaryLine(found));
  return found.some(({ outcome }) => outcome === "failed") ? 1 : 0;
}

/** What has failed where a stage could not run its tests. */
function withoutStart(error: Error): TestResult[] {
  console.error(error.message);
  const { message } = error;
  return [{ file: "test/cluster/run.ts", name: "the cluster starts", outcome: "failed", seconds: 0, message }];
}

/** "made", or why not: the lab with the guest, or the executable of Kubernetes alone. */
async function makeLab(target: "cluster" | "kubernetes"): Promise<string> {
  const missing = missingPrograms("ip", "nsenter", "setpriv", "unshare");
  if (missing !== null) return missing;
  const releases = release === null ? [] : [release];
  const further = target === "cluster" && containerd === "2" ? ["containerd-2", ...releases] : releases;
  const command = [join(root, "test/vm/lab/make.sh"), target, ...further];
  const status = await Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit"] }).exited;
  if (status === 77) return "this machine can't have the lab";
  if (status !== 0) throw new Error("the lab could not be made");
  return "made";
}

type Variables = Readonly<Record<string, string>>;

function runFile(path: string, variables: Variables, signal?: AbortSignal): Promise<TestResult[]> {
  const args = values.only === undefined ? [] : [`--test-name-pattern=${values.only}`];
  const report = join(results, "bun.xml");
  return runTests({ paths: [path], report, timeout, args, variables, ...(signal && { signal }) });
}

/** Runs the test files one after the other: given several, bun takes them in the order of the folder's entries. */
async function runFiles(paths: readonly string[], variables: Variables): Promise<TestResult[]> {
  const found: TestResult[] = [];
  for (const path of paths) found.push(...(await runFile(path, variables)));
  return found;
}

/** Runs the test files without a cluster, where each test is skipped. */
const withoutCluster = (paths: readonly string[], reason: string): Promise<TestResult[]> =>
  runFiles(paths, { SRIOVDP_NO_CLUSTER: reason });

/** Whether a test file starts its cluster itself. */
const isNative = (path: string): boolean => path.endsWith("/nodes.test.ts");

function requireExecutable(): void {
  if (!existsSync(executable)) throw new Error(`there is no ${executable}: build it first (npm run build)`);
}

/** Runs the test files that start their cluster themselves. */
async function native(paths: readonly string[]): Promise<TestResult[]> {
  const lab = await makeLab("kubernetes");
  if (lab !== "made") return withoutCluster(paths, lab);
  requireExecutable();
  return runFiles(paths, { SRIOVDP_KUBERNETES: kubernetes, SRIOVDP: executable });
}

/**
 * Runs the test files that need the guest. QEMU's emulation ends by a failed assertion now and then, on a busy machine: the files that had not ended
 * by then are run once more, in a new cluster.
 */
async function inGuest(paths: readonly string[]): Promise<TestResult[]> {
  const lab = await makeLab("cluster");
  if (lab !== "made") return withoutCluster(paths, lab);
  const ended = new Map<string, TestResult[]>();
  const run = () =>
    runInCluster(
      paths.filter((path) => !ended.has(path)),
      ended,
    );
  await run().catch(async (error: unknown) => {
    if (!(error instanceof GuestEnded)) throw error;
    console.log(`${error.message}; the tests that had not ended are run once more`);
    const log = join(results, "console.log");
    if (existsSync(log)) renameSync(log, join(results, "console-ended.log"));
    await run();
  });
  return [...ended.values()].flat();
}

// Those that boot the node again are last: they leave other VFs.
const places = [
  "manifests.test.ts",
  "dra-manifests.test.ts",
  "devices.test.ts",
  "sriov-cni.test.ts",
  "dra.test.ts",
  "lifecycle.test.ts",
  "migration.test.ts",
  "docs.test.ts",
  "reboot.test.ts",
  "scale.test.ts",
];

function testFiles(): string[] {
  const files = readdirSync(import.meta.dir).filter((name) => name.endsWith(".test.ts"));
  const wanted = files.filter((name) => positionals.length === 0 || positionals.some((part) => name.includes(part)));
  if (wanted.length === 0) throw new Error(`no test file is named like ${positionals.join(", ")}`);
  // What needs no node first
  return wanted.toSorted((a, b) => places.indexOf(a) - places.indexOf(b)).map((name) => `test/cluster/${name}`);
}

/** Starts a cluster and runs the test files in it; puts the results of each that ended into `ended`. */
async function runInCluster(paths: readonly string[], ended: Map<string, TestResult[]>): Promise<void> {
  requireExecutable();
  const image = join(results, "image.tar");
  const make = ["scripts/image/image.ts", "--executable", executable, "--tag", imageName, "--out", image];
  const made = Bun.spawnSync([process.execPath, ...make], { cwd: root, stdout: "ignore", stderr: "inherit" });
  if (!made.success) throw new Error("the container image can't be made");

  const share = join(results, "share");
  rmSync(share, { recursive: true, force: true });
  const aborted = new AbortController();
  const namespace = await makeNamespace([nodeAddress, serviceAddress], results);
  try {
    const controlPlane = await startControlPlane(namespace, kubernetes, join(results, "control-plane"));
    const nodeFiles = {
      image,
      imageName,
      containerd,
      kubelet: release === null ? null : kubernetes,
      multus,
      kubeconfig: controlPlane.kubeconfig("kubelet-lab"),
      multusKubeconfig: controlPlane.kubeconfig("admin"),
      sriovCni: process.env["SRIOVDP_SRIOV_CNI"] ?? null,
    };
    // The tests that need no node run while it boots.
    const guest = runGuest(namespace, nodeFiles, share, results);
    guest.catch(() => {}); // It is seen below.
    await controlPlane.ready;
    const facts: ClusterFacts = {
      namespace: namespace.pid,
      kubernetes,
      kubeconfig: controlPlane.kubeconfig("admin"),
      share,
      imageName,
      releases: { kubernetes: release ?? ownRelease(), containerd },
      hasClaimMultus: multus !== null,
      hasTime: positionals.some((part) => "scale.test.ts".includes(part)),
    };
    const variables = { SRIOVDP_CLUSTER: JSON.stringify(facts) };
    const runAll = async () => {
      for (const path of paths) {
        const found = await runFile(path, variables, aborted.signal);
        if (aborted.signal.aborted) return;
        ended.set(path, found);
      }
    };
    await Promise.race([runAll(), guest]);
  } catch (error) {
    aborted.abort();
    const console = join(results, "console.log");
    if (existsSync(console)) process.stdout.write(readFileSync(console, "utf8").split("\n").slice(-40).join("\n"));
    throw error;
  } finally {
    await namespace.stop();
    // What is large and rebuilt each time, and the pipes, at which a program that reads all files would wait
    for (const path of ["image.tar", "share/in", "share/wake-up.in", "share/wake-up.out", "control-plane", "node.ext4"])
      rmSync(join(results, path), { recursive: true, force: true });
  }
}

// Programs that were started end with this process.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));

process.exit(await main());
