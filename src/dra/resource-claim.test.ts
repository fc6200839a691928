import { describe, expect, test } from "bun:test";
import { allocatedClaim, resourceClaims } from "./resource-claim.ts";

/** A claim as an API server of 1.37 gives it for a pod with an extended resource. */
const text = `{
  "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
  "metadata": {"name": "pod-a-extended-resources-x7k2p", "namespace": "default", "uid": "7d0e3a52-8f0d-4a51-9d3b-0f1f2d3c4b5a",
    "annotations": {"resource.kubernetes.io/extended-resource-claim": "true"}},
  "spec": {"devices": {"requests": [{"name": "container-0-request-0", "exactly": {"deviceClassName": "net.intel.com", "count": 1}}]}},
  "status": {"allocation": {"devices": {"results": [
    {"request": "container-0-request-0", "driver": "sriovdp.example.com", "pool": "node-a/0000-3b-00.0", "device": "0000-3b-02-1", "adminAccess": null},
    {"request": "gpu/big", "driver": "gpu.example.com", "pool": "node-a", "device": "gpu-0", "adminAccess": true, "shareID": "b"}]},
    "nodeSelector": {"nodeSelectorTerms": []}},
    "reservedFor": [{"resource": "pods", "name": "pod-a", "uid": "c"}]}}`;

describe("a claim of the API server", () => {
  test("gives what it was allocated, of all drivers", () => {
    expect(allocatedClaim(resourceClaims.parse(JSON.parse(text)))).toEqual({
      uid: "7d0e3a52-8f0d-4a51-9d3b-0f1f2d3c4b5a",
      namespace: "default",
      name: "pod-a-extended-resources-x7k2p",
      pods: [{ name: "pod-a", uid: "c" }],
      results: [
        {
          request: "container-0-request-0",
          driver: "sriovdp.example.com",
          pool: "node-a/0000-3b-00.0",
          device: "0000-3b-02-1",
          adminAccess: false,
          shareId: null,
        },
        {
          request: "gpu/big",
          driver: "gpu.example.com",
          pool: "node-a",
          device: "gpu-0",
          adminAccess: true,
          shareId: "b",
        },
      ],
    });
  });

  test.each([
    ["without status", (claim: Record<string, unknown>) => delete claim["status"]],
    ["without allocation", (claim: Record<string, unknown>) => (claim["status"] = {})],
  ])("%s is not allocated", (_, change) => {
    const claim = JSON.parse(text) as Record<string, unknown>;
    change(claim);
    expect(allocatedClaim(resourceClaims.parse(claim))).toBeNull();
  });

  test.each(["{}", '{"results":null}', '{"results":[]}'])("may be allocated no device at all: %s", (devices) => {
    const claim = { ...JSON.parse(text), status: { allocation: { devices: JSON.parse(devices) } } } as unknown;
    expect(allocatedClaim(resourceClaims.parse(claim))?.results).toEqual([]);
  });

  test("may be reserved for others than pods, and for none", () => {
    const reserved = (users: unknown) => {
      const claim = JSON.parse(text) as { status: Record<string, unknown> };
      claim.status["reservedFor"] = users;
      return allocatedClaim(resourceClaims.parse(claim))?.pods;
    };
    expect(reserved([{ apiGroup: "example.com", resource: "jobs", name: "a", uid: "b" }, 7, null])).toEqual([]);
    expect([reserved(null), reserved([])]).toEqual([[], []]);
  });

  test.each([
    "null",
    '{"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim","metadata":{"name":"a","namespace":"b"}}',
    '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"b","uid":"c"}}',
    '{"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim","metadata":{"name":"a","namespace":"b","uid":"c"},"status":{"allocation":{"devices":{"results":[{"request":"a"}]}}}}',
  ])("is not %s", (other) => {
    expect(() => resourceClaims.parse(JSON.parse(other))).toThrow();
  });
});
