// The API client against a simulated server: what a file of tests shares.

import { afterAll, beforeAll, beforeEach } from "bun:test";
import { getObject, listObjects } from "../../src/kube/api-client.ts";
import { KubeError } from "../../src/kube/errors.ts";
import { ApiServer } from "./api-server.ts";
import { accessTo, testSlices } from "./slices.ts";

/** The signal of a caller that does not end. */
export const live = new AbortController().signal;

/** A server for all tests of the calling file, without the objects "s" and "t" at the start of each, and calls to it. */
export function sharedApiServer() {
  const server = new ApiServer(testSlices);
  const access = accessTo(server);
  beforeAll(async () => {
    await server.start();
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    server.accepted = null;
    server.requests.length = 0;
    for (const name of ["s", "t"]) server.remove(name);
  });
  return {
    server,
    access,
    get: (name = "s", from = access, signal = live) => getObject(from, testSlices, { name }, signal),
    list: (from = access) => listObjects(from, testSlices, { fieldSelector: "spec.nodeName=a" }, live),
  };
}

/** The error that a request ends with. */
export async function errorOf(request: Promise<unknown>): Promise<KubeError> {
  const error: unknown = await request.then(
    () => "no error",
    (thrown: unknown) => thrown,
  );
  if (error instanceof KubeError) return error;
  throw error;
}
