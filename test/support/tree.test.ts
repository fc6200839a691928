import { describe, expect, test } from "bun:test";
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { attribute, device, type Entry, file, folder, format, link, parse, unpack } from "./tree.ts";

const text = `# A node
sys/bus/pci/devices/0000:3b:02.1 -> ../../../devices/pci0000:3a/0000:3b:02.1
sys/devices/pci0000:3a/0000:3b:02.1/vendor = 0x8086
sys/devices/pci0000:3a/0000:3b:02.1/msi_irqs/
dev/vfio/12 c

netlink.json |
  {
    "links": []

  }

sys/devices/pci0000:3a/0000:3b:02.1/acpi_index = ""
`;

const entries: readonly Entry[] = [
  link("sys/bus/pci/devices/0000:3b:02.1", "../../../devices/pci0000:3a/0000:3b:02.1"),
  attribute("sys/devices/pci0000:3a/0000:3b:02.1/vendor", "0x8086"),
  folder("sys/devices/pci0000:3a/0000:3b:02.1/msi_irqs"),
  device("dev/vfio/12"),
  file("netlink.json", '{\n  "links": []\n\n}\n'),
  file("sys/devices/pci0000:3a/0000:3b:02.1/acpi_index", ""),
];

const odd: readonly Entry[] = [
  file("a", "no newline at the end"),
  file("b", ""),
  file("c", "\n"),
  file("d", '"quoted"\n'),
  file("e", "tab\tand NUL\0\n"),
  file("f", Uint8Array.of(0xff, 0x22, 0x5c, 0x0a, 0xc3)),
  file("g", "two\nlines"),
  file("h", "two\n\nlines\n"),
  file("i", " spaces around \n"),
  file("j", "100 µs = much # not a remark\n"),
  file("k", "ends in empty lines\n\n\n"),
  folder("name with spaces"),
  folder('"'),
  folder("# no remark"),
  folder("a = b"),
  link("dangling link", "/no where"),
  link("x", ".."),
  device("dev/c c"),
  folder("z"),
];

describe("the text of a tree", () => {
  test("says what a person would read in it", () => expect(parse(text)).toEqual([...entries]));
  test("is the same after it was read and written", () => expect(parse(format(entries))).toEqual([...entries]));
  test("holds every name and every content", () => expect(parse(format(odd))).toEqual([...odd]));
  test("that can't be read is reported by its line", () => {
    expect(() => parse("a = b\nwhat is this\n")).toThrow("line 2 is no entry: what is this");
  });
});

test("an unpacked tree holds what the text says", () => {
  const into = mkdtempSync(`${tmpdir()}/tree-`);
  try {
    unpack([...entries, ...odd], into);
    expect(readlinkSync(`${into}/sys/bus/pci/devices/0000:3b:02.1`)).toBe("../../../devices/pci0000:3a/0000:3b:02.1");
    expect(readFileSync(`${into}/sys/devices/pci0000:3a/0000:3b:02.1/vendor`, "utf8")).toBe("0x8086\n");
    expect(lstatSync(`${into}/sys/devices/pci0000:3a/0000:3b:02.1/msi_irqs`).isDirectory()).toBe(true);
    expect(lstatSync(`${into}/dev/vfio/12`).isFile()).toBe(true);
    expect(new Uint8Array(readFileSync(`${into}/f`))).toEqual(Uint8Array.of(0xff, 0x22, 0x5c, 0x0a, 0xc3));
  } finally {
    rmSync(into, { recursive: true });
  }
});
