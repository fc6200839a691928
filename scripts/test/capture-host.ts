// `sriovdp capture` from a checkout: bun scripts/test/capture-host.ts > test/hosts/my-node.host
process.argv.splice(2, 0, "capture");
await import("../../src/main.ts");
