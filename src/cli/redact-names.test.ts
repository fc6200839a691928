import { expect, test } from "bun:test";
import { redaction } from "./redact-names.ts";

const redact = redaction(
  [
    { pod: "shop/cart-7d", container: "app" },
    { pod: "shop/db", container: "app" },
    { pod: "4e0a-uid", container: "side" },
  ],
  "worker-1",
);

test("pods, containers and the node have other names, the same ones everywhere", () => {
  expect(redact('{"pod": "shop/cart-7d", "container": "app"} {"pod":"shop/db","container":"side"}')).toBe(
    '{"pod": "namespace-1/pod-1", "container": "container-1"} {"pod":"namespace-1/pod-2","container":"container-2"}',
  );
  expect(redact("allocated to shop/cart-7d and 4e0a-uid on worker-1.example")).toBe(
    "allocated to namespace-1/pod-1 and pod-3 on node.example",
  );
});

test("pods that only a log names are found by their field", () => {
  expect(redact("device released pod=other/web-0 resource=a.io/x")).toBe(
    "device released pod=namespace-2/pod-4 resource=a.io/x",
  );
});

test("parts of longer names stay, and a node without a name changes nothing", () => {
  expect(redact("worker-11 shop/db2 myshop/db")).toBe("worker-11 shop/db2 myshop/db");
  expect(redaction([], "")("nothing here")).toBe("nothing here");
});
