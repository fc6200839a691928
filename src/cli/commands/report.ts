// `report`: what does a bug report need? One archive: the node as capture prints it, the config without secrets, what the running plugin says of itself,
// versions, files and sockets. Every file is text, and names of pods and of the node are replaced.

import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { withoutSecrets } from "../../config/redact.ts";
import { limits } from "../../limits.ts";
import { readText } from "../../fs/read-text.ts";
import { captureNode } from "../../host/node-capture.ts";
import type { FullStatus } from "../../telemetry/plugin-status.ts";
import { counted, messageOf, oneLine } from "../../text.ts";
import { exitStatus, type Output, print, styleOf } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { pathsOf } from "../paths.ts";
import { answerLimits, askText } from "../plugin-socket.ts";
import { redaction } from "../redact-names.ts";
import { filesText, versionsText } from "../report-files.ts";
import { table } from "../table.ts";

/** A file of the archive. */
interface ReportFile {
  readonly name: string;
  readonly content: string;
  readonly text: string;
}

/** What the archive would hold, and what could not be had. */
interface Report {
  readonly files: readonly ReportFile[];
  readonly missing: readonly { readonly name: string; readonly reason: string }[];
}

/** `report`: writes the archive to a file or, for "-", to standard output; with --check it prints what would be in it. */
export async function report(line: CommandLine, output: Output): Promise<number> {
  const made = await collect(line);
  if (line.options.check) return show(made, line, output);
  const [target = `sriovdp-report-${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "")}.tar.gz`] = line.operands;
  if (target === "-" && output.columns !== null) {
    output.err("sriovdp: standard output is a terminal; redirect it, or name a file\n");
    return exitStatus.operatorMistake;
  }
  const archive = await packed(made);
  try {
    // Another user's file is not replaced, nor is one that another user made in a shared folder.
    if (target === "-") output.bytes(archive);
    else writeFileSync(target, archive, { mode: 0o600, flag: "wx" });
  } catch (error) {
    output.err(`sriovdp: ${oneLine(messageOf(error))}\n`);
    return exitStatus.failure;
  }
  const size = `${counted(made.files.length, "file")}, ${Math.ceil(archive.length / 1024)} KiB`;
  output.err(
    `wrote ${target === "-" ? "the report" : oneLine(target)}: ${size}; "sriovdp report --check" prints what is in it\n`,
  );
  for (const { name, reason } of made.missing) output.err(`note: without ${name}: ${oneLine(reason)}\n`);
  return exitStatus.ok;
}

/** A gzipped tar archive, its files in one folder. */
const packed = ({ files }: Report): Promise<Uint8Array> =>
  new Bun.Archive(Object.fromEntries(files.map(({ name, text }) => [`sriovdp-report/${name}`, text])), {
    compress: "gzip",
  }).bytes();

async function show({ files, missing }: Report, line: CommandLine, output: Output): Promise<number> {
  const data = {
    files: files.map(({ name, content, text }) => ({ name, bytes: Buffer.byteLength(text), content, text })),
    missing,
  };
  const rows = data.files.map(({ name, bytes, content }) => [name, String(bytes), content]);
  await print(output, line.options.output, data, () =>
    [
      table(["FILE", "BYTES", "CONTENT"], rows, styleOf(line, output)),
      ...missing.map(({ name, reason }) => `without ${name}: ${oneLine(reason)}\n`),
      // As head and tail set files apart. Only newlines of the text itself reach the terminal.
      ...files.map(({ name, text }) => `\n==> ${name} <==\n${text.split("\n").map(oneLine).join("\n")}`),
    ].join(""),
  );
  return exitStatus.ok;
}

/** Reads everything; what can't be had is a reason in its place, since a report is made where something is broken. */
async function collect(line: CommandLine): Promise<Report> {
  const paths = pathsOf(line);
  const found: { name: string; content: string; text: string }[] = [];
  const missing: { name: string; reason: string }[] = [];
  const add = async (name: string, content: string, read: () => Promise<string> | string) => {
    try {
      found.push({ name, content, text: await read() });
    } catch (error) {
      missing.push({ name, reason: messageOf(error) });
    }
  };
  const ask = (route: string) => askText(line, route, answerLimits.status);
  let status: FullStatus | null = null;
  await add("status.json", "what the running plugin says of itself", async () => {
    status = JSON.parse(await ask("/status")) as FullStatus;
    return `${JSON.stringify(status, null, 2)}\n`;
  });
  const seen = status as FullStatus | null;
  await add("metrics.txt", "the metrics of the running plugin", () => ask("/metrics"));
  await add("log.txt", "the last lines of the running plugin's log", () => ask("/log"));
  const configFile = line.given.has("config-file") ? paths.configFile : (seen?.config.file ?? paths.configFile);
  await add("config.json", "the config file without comments, values of additionalInfo blanked", () => {
    const shown = withoutSecrets(readText(configFile, limits.configBytes.max));
    if (shown === null) throw new Error(`${configFile} is not JSON; see "sriovdp validate"`);
    return shown;
  });
  await add("node.host", "the node as capture prints it, MACs and GUIDs replaced", async () => {
    const { text, problems } = await captureNode(paths.root);
    return [...problems.map(({ message }) => `# unreadable: ${oneLine(message)}\n`), text].join("");
  });
  await add("versions.txt", "versions of kernel, drivers, kubelet and runtime", () => versionsText(paths));
  await add("files.txt", "sockets and files that kubelet, plugin and runtime share", () => filesText(paths));
  const redact = redaction(
    [...(seen?.allocated ?? []), ...(seen?.retentions ?? [])],
    paths.root === "" ? hostname() : "",
  );
  return {
    files: found.map((each) => ({ ...each, text: redact(each.text) })),
    missing: missing.map(({ name, reason }) => ({ name, reason: redact(reason) })),
  };
}
