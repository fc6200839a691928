import { afterEach, beforeEach, describe, expect, setSystemTime, test } from "bun:test";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { aResult, claimOf, driver, factsOf, ids, pools } from "../../test/support/claims.ts";
import { claimedDevices, type PreparedClaim, prepareClaim } from "../allocation/claim.ts";
import { ClaimFiles } from "./claim-files.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/sriovdp-claims-`);
});
afterEach(() => {
  setSystemTime();
  rmSync(folder, { recursive: true, force: true });
});

const [one, two] = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"] as const;
const fileOf = (uid: string, of = driver) => `${of}-claim_${uid}.json`;

/** What is prepared for a claim with VFs of these indexes. */
function aPreparation(uid: string, ...indexes: readonly number[]): PreparedClaim {
  const claim = { ...claimOf(...indexes.map((index) => aResult("nics", ids(index)))), uid };
  return prepareClaim(claim, claimedDevices(claim, driver, pools), ({ id }) => factsOf(id), driver);
}

const aProcess = (): ClaimFiles => new ClaimFiles(folder, driver);

const why = (works: boolean, needs: string) => (works ? "" : ` (skipped: it needs ${needs})`);
const becomes = process.getuid?.() === 0 && Bun.which("setpriv") !== null;

/** The claims that a process without CAP_DAC_OVERRIDE sees after its start, as the plugin's container is one: "" and why not. */
function seenByUnprivileged(): string {
  const program = `
    const { ClaimFiles } = await import("${import.meta.dir}/claim-files.ts");
    const files = new ClaimFiles("${folder}", "${driver}");
    let failure = "";
    try { files.load(); } catch ({ code }) { failure = code; }
    console.log(failure, files.records().map(({ uid }) => uid).join());`;
  const without = "-dac_override,-dac_read_search";
  const options = [`--bounding-set=${without}`, `--inh-caps=${without}`];
  const { stdout, stderr } = Bun.spawnSync(["setpriv", ...options, process.execPath, "-e", program]);
  return stdout.toString().trim() || stderr.toString();
}

/** The claims that are prepared, each with its devices. */
const preparedIn = (files: ClaimFiles) =>
  Object.fromEntries(files.records().map(({ uid, devices }) => [uid, devices.map(({ id }) => id).join(",")]));

const visible = () =>
  readdirSync(folder)
    .filter((name) => !name.startsWith("."))
    .toSorted();

describe("the spec of a claim", () => {
  test("is a CDI spec of version 0.6.0 that only root can read, whatever the umask", () => {
    const before = process.umask(0);
    try {
      aProcess().write(aPreparation(one, 0));
    } finally {
      process.umask(before);
    }
    expect(readdirSync(folder)).toEqual([fileOf(one)]);
    expect(statSync(`${folder}/${fileOf(one)}`).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(`${folder}/${fileOf(one)}`, "utf8"))).toMatchObject({
      cdiVersion: "0.6.0",
      kind: `${driver}/claim`,
    });
  });

  test("is written into a folder that is made for it, and is found until it is removed", () => {
    const files = new ClaimFiles(`${folder}/made`, driver);
    expect([files.load(), files.records(), files.find(one)]).toEqual([[], [], null]);
    files.write(aPreparation(one, 0, 5));
    expect(files.find(one)?.record.devices.map(({ id }) => id)).toEqual([ids(0), ids(5)]);
    files.remove(one);
    expect([files.records(), files.find(one)]).toEqual([[], null]);
  });

  test("replaces that of another allocation of the claim: there are never two", () => {
    const files = aProcess();
    files.write(aPreparation(one, 0));
    files.write(aPreparation(one, 1));
    expect(readdirSync(folder)).toEqual([fileOf(one)]);
    expect(preparedIn(files)).toEqual({ [one]: ids(1) });
  });

  test("can be removed twice, and without having been there", () => {
    const files = aProcess();
    files.remove(two);
    files.write(aPreparation(one, 0));
    files.remove(one);
    files.remove(one);
    expect(visible()).toEqual([]);
    rmSync(folder, { recursive: true });
    files.remove(one);
  });

  test("that can't be written or removed is an error, and what was prepared stays", () => {
    const files = aProcess();
    files.write(aPreparation(one, 0));
    rmSync(`${folder}/${fileOf(one)}`);
    mkdirSync(`${folder}/${fileOf(one)}`);
    expect(() => files.remove(one)).toThrow("can't be removed");
    expect(preparedIn(files)).toEqual({ [one]: ids(0) });
    rmSync(folder, { recursive: true });
    writeFileSync(folder, "");
    expect(() => files.write(aPreparation(two, 1))).toThrow("ENOTDIR");
    // What is prepared can't be verified, and is not forgotten; a process that starts now knows nothing, and says so.
    expect(preparedIn(files)).toEqual({ [one]: ids(0) });
    expect(() => aProcess().load()).toThrow("ENOTDIR");
  });
});

describe("after a restart", () => {
  test("what was prepared is read back, and what was unprepared is not", () => {
    const before = aProcess();
    before.write(aPreparation(one, 0, 4));
    before.write(aPreparation(two, 1));
    before.remove(two);
    const files = aProcess();
    expect(files.load()).toEqual([]);
    expect(preparedIn(files)).toEqual({ [one]: ids(0, 4) });
    expect(files.restore()).toEqual([]);
  });

  test("specs that can't be read are removed, and those of others stay", () => {
    aProcess().write(aPreparation(one, 0));
    const text = readFileSync(`${folder}/${fileOf(one)}`, "utf8");
    const foreign = ["vendor.json", "sriov-dp-intel.com-net-pci-net.yaml", fileOf(two, "other.example.com"), "notes"];
    for (const name of foreign) writeFileSync(`${folder}/${name}`, text);
    writeFileSync(`${folder}/${fileOf(two)}`, text.slice(0, text.length / 2));
    // Another claim's spec under a second name would make its CDI devices ambiguous.
    writeFileSync(`${folder}/${fileOf("copy")}`, text);
    writeFileSync(`${folder}/${fileOf("empty")}`, "");
    writeFileSync(`${folder}/${fileOf("other")}`, text.replaceAll(driver, "other.example.com"));
    symlinkSync(`${folder}/vendor.json`, `${folder}/${fileOf("link")}`);
    Bun.spawnSync(["mkfifo", `${folder}/${fileOf("fifo")}`]);
    mkdirSync(`${folder}/${fileOf("folder")}`);
    const files = aProcess();
    expect(files.load().toSorted()).toEqual(
      ["copy", "empty", "fifo", "link", "other"]
        .map((uid) => fileOf(uid))
        .concat(fileOf(two))
        .toSorted(),
    );
    expect(preparedIn(files)).toEqual({ [one]: ids(0) });
    expect(visible().toSorted()).toEqual([...foreign, fileOf(one), fileOf("folder")].toSorted());
  });

  test.skipIf(!becomes)(
    `what was prepared is read also where nothing can be removed${why(becomes, "root, and setpriv")}`,
    () => {
      const before = aProcess();
      before.write(aPreparation(one, 0));
      before.write(aPreparation(two, 1));
      before.remove(two);
      writeFileSync(`${folder}/.${fileOf(two)}.7.8.tmp`, "");
      writeFileSync(`${folder}/${fileOf("damaged")}`, "");
      for (const name of readdirSync(folder)) utimesSync(`${folder}/${name}`, 0, 0);
      chmodSync(folder, 0o555);
      expect(seenByUnprivileged()).toBe(one);
    },
  );

  test.skipIf(!becomes)(
    `a spec that can't be read for its rights hides no other${why(becomes, "root, and setpriv")}`,
    () => {
      aProcess().write(aPreparation(one, 0));
      aProcess().write(aPreparation(two, 1));
      chmodSync(`${folder}/${fileOf(one)}`, 0);
      expect(seenByUnprivileged()).toBe(`EACCES ${two}`);
      expect(visible()).toEqual([fileOf(one), fileOf(two)]);
    },
  );

  test("no truncated spec is taken for a prepared claim", () => {
    aProcess().write(aPreparation(one, 0));
    const path = `${folder}/${fileOf(one)}`;
    const text = readFileSync(path, "utf8");
    for (let length = 0; length < text.length; length += 7) {
      writeFileSync(path, text.slice(0, length));
      const files = aProcess();
      expect([files.records(), files.load()]).toEqual([[], [fileOf(one)]]);
    }
  });

  test("temporary files of a process that was killed are removed when they are old", () => {
    const names = [`.${fileOf(one)}.7.8.tmp`, `..${driver}-claim_${one}.ended.7.8.tmp`, `.${fileOf(two)}.7.9.tmp`];
    for (const name of names) writeFileSync(`${folder}/${name}`, "");
    for (const name of names.slice(0, 2)) utimesSync(`${folder}/${name}`, 0, 0);
    aProcess().load();
    expect(readdirSync(folder)).toEqual(names.slice(2));
  });
});

describe("a claim that was unprepared", () => {
  const uidsOf = (records: readonly { readonly uid: string }[]) => records.map(({ uid }) => uid);

  test("is reserved for as long as a pod of it runs, also when another process prepared and ended it anew", () => {
    let running: ReadonlySet<string> | null = new Set(["uid-of-pod"]);
    const [files, other] = [0, 1].map(() => new ClaimFiles(folder, driver, () => running)) as [ClaimFiles, ClaimFiles];
    other.write(aPreparation(one, 0));
    expect(uidsOf(files.reserved())).toEqual([]);
    other.remove(one);
    expect(uidsOf(files.reserved())).toEqual([one]);
    running = new Set();
    expect([uidsOf(files.reserved()), uidsOf(files.ended())]).toEqual([[], [one]]);
    other.write(aPreparation(one, 0));
    other.setPods(one, [{ name: "next", uid: "uid-of-next" }]);
    other.remove(one);
    running = new Set(["uid-of-next"]);
    expect(uidsOf(files.reserved())).toEqual([one]);
    // Not visible for a moment.
    running = null;
    expect(uidsOf(files.reserved())).toEqual([]);
    running = new Set(["uid-of-next"]);
    expect(uidsOf(files.reserved())).toEqual([one]);
  });

  test("is not reserved by a mark of an earlier version, which has no record", () => {
    writeFileSync(`${folder}/.${driver}-claim_${one}.ended`, "");
    const files = new ClaimFiles(folder, driver, () => new Set(["uid-of-pod"]));
    expect([files.reserved(), files.ended()]).toEqual([[], []]);
  });
});

describe("a spec that somebody", () => {
  test.each([
    ["removed", (path: string) => rmSync(path)],
    ["emptied", (path: string) => writeFileSync(path, "")],
    ["replaced by another claim's", (path: string) => writeFileSync(path, JSON.stringify(aPreparation(two, 1).spec))],
    [
      "replaced by a link",
      (path: string) => {
        rmSync(path);
        symlinkSync("/dev/null", path);
      },
    ],
  ])("%s still counts, and is written again", (_, harm) => {
    const path = `${folder}/${fileOf(one)}`;
    const files = aProcess();
    files.write(aPreparation(one, 0));
    const text = readFileSync(path, "utf8");
    harm(path);
    expect(preparedIn(files)).toEqual({ [one]: ids(0) });
    expect(files.restore()).toEqual([fileOf(one)]);
    expect(readFileSync(path, "utf8")).toBe(text);
    expect([lstatSync(path).isFile(), statSync(path).mode & 0o777]).toEqual([true, 0o600]);
    expect(files.restore()).toEqual([]);
  });

  test("removed together with its folder is written again", () => {
    const files = aProcess();
    files.write(aPreparation(one, 0));
    rmSync(folder, { recursive: true });
    expect(files.restore()).toEqual([fileOf(one)]);
    expect(preparedIn(aProcess())).toEqual({ [one]: ids(0) });
  });

  test("made readable for others is left as it is: it is another's decision", () => {
    const files = aProcess();
    files.write(aPreparation(one, 0));
    chmodSync(`${folder}/${fileOf(one)}`, 0o640);
    expect(files.restore()).toEqual([]);
  });
});

describe("two processes", () => {
  test("see what the other one prepares and unprepares", () => {
    const [old, young] = [aProcess(), aProcess()];
    old.write(aPreparation(one, 0));
    young.load();
    expect(preparedIn(young)).toEqual({ [one]: ids(0) });
    young.write(aPreparation(two, 1));
    expect(preparedIn(old)).toEqual({ [one]: ids(0), [two]: ids(1) });
    old.write(aPreparation(two, 2));
    expect(preparedIn(young)[two]).toBe(ids(2));
    old.remove(one);
    expect(preparedIn(young)).toEqual({ [two]: ids(2) });
  });

  test("do not write a spec again that the other one removed, even when it was lost before", () => {
    const [old, young] = [aProcess(), aProcess()];
    for (const uid of [one, two]) old.write(aPreparation(uid, uid === one ? 0 : 1));
    young.load();
    rmSync(`${folder}/${fileOf(two)}`);
    for (const uid of [one, two]) old.remove(uid);
    expect([young.restore(), visible()]).toEqual([[], []]);
    young.write(aPreparation(one, 2));
    expect(preparedIn(old)).toEqual({ [one]: ids(2) });
    rmSync(`${folder}/${fileOf(one)}`);
    expect(old.restore()).toEqual([fileOf(one)]);
  });

  test("leave no secret of an unprepared claim, and after a while no trace", () => {
    const files = aProcess();
    files.write(aPreparation(one, 0));
    files.remove(one);
    const [trace = ""] = readdirSync(folder);
    expect(readFileSync(`${folder}/${trace}`, "utf8")).not.toContain("containerEdits");
    setSystemTime(Date.now() + 9 * 60_000);
    files.remove(two);
    expect(readdirSync(folder)).toEqual([trace]);
    setSystemTime(Date.now() + 2 * 60_000);
    files.remove(two);
    expect(readdirSync(folder)).toEqual([]);
  });
});
