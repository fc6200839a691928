import { expect, test } from "bun:test";
import { parseAddress } from "./addresses.ts";

test.each([
  ["127.0.0.1:9808", { host: "127.0.0.1", port: 9808 }],
  ["[::1]:9808", { host: "::1", port: 9808 }],
  // A manifest writes the node's address in brackets, whichever kind it is of.
  ["[10.0.0.1]:9808", { host: "10.0.0.1", port: 9808 }],
  ["[fe80::1%eth0]:1", { host: "fe80::1%eth0", port: 1 }],
  ["node-1.example.com:65535", { host: "node-1.example.com", port: 65_535 }],
  [":9808", { host: "", port: 9808 }],
  ...[
    "",
    "9808",
    "h",
    "h:",
    "h:0",
    "h:65536",
    "h:-1",
    "::1:9808",
    "[::1]",
    "[h]:1",
    "http://h:1",
    "h:1/x",
    "a b:1",
  ].map((text) => [text, null] as const),
])("%j is the address %j", (text, address) => {
  expect(parseAddress(text)).toEqual(address);
});
