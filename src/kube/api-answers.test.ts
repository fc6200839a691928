import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { errorOf, sharedApiServer } from "../../test/support/api-client.ts";
import { refuse, reply } from "../../test/support/api-server.ts";
import { aTestSlice } from "../../test/support/slices.ts";
import type { KubeError } from "./errors.ts";

const { server, access, get, list } = sharedApiServer();

describe("a refusal", () => {
  const answering = (code: number, reason: string, ...rest: [string?, object?, object?]) => {
    const [message = reason, details = {}, headers = {}] = rest;
    server.misbehave((_, response) => refuse(response, code, reason, message, { ...details }, { ...headers }));
  };

  test.each([
    [400, "BadRequest", "invalid"],
    [403, "Forbidden", "forbidden"],
    [405, "MethodNotAllowed", "invalid"],
    [409, "AlreadyExists", "alreadyExists"],
    [409, "Conflict", "conflict"],
    [410, "Expired", "expired"],
    [410, "Gone", "expired"],
    [422, "Invalid", "invalid"],
    [429, "TooManyRequests", "unavailable"],
    [500, "InternalError", "unavailable"],
    [503, "ServiceUnavailable", "unavailable"],
    [504, "Timeout", "unavailable"],
  ])("with %d %s is %s and quotes the server", async (code, reason, kind) => {
    answering(code, reason, "because of\u001b[31m\nthis");
    const error = await errorOf(get());
    expect(error.kind).toBe(kind as KubeError["kind"]);
    expect(error.message).toStartWith(
      `GET /apis/resource.k8s.io/v1/resourceslices/s: ${code} because of\\u001b[31m\\u000athis`,
    );
    expect(error.message).not.toContain("secret-token");
  });

  test("with 403 says what to do", async () => {
    answering(403, "Forbidden", 'resourceslices is forbidden: User "x" cannot get resource');
    expect((await errorOf(get())).message).toEndWith(
      "cannot get resource; grant this right to the identity of /etc/kubernetes/kubelet.conf (RBAC); no restart is needed",
    );
  });

  // A claim that is taken for gone frees its devices.
  test.each<[string, (name: string) => void]>([
    ["another object is not found", () => answering(404, "NotFound", "not found", { name: "other" })],
    ["no object is named", () => answering(404, "NotFound", "the server could not find the requested resource")],
    [
      "a proxy has no such page",
      () =>
        server.misbehave((_, response) => {
          response.writeHead(404, { "content-type": "text/html" });
          response.end("<html>not found: s</html>");
        }),
    ],
    [
      "the cluster has no such API",
      () => server.misbehave((_, response) => reply(response, 404, "404 page not found")),
    ],
  ])("with 404 because %s does not count as a deleted object", async (_, answer) => {
    answer("s");
    expect((await errorOf(get())).kind).toBe("notServed");
  });

  test("with 404 to a list says that the cluster is too old", async () => {
    answering(404, "NotFound");
    const { kind, message } = await errorOf(list());
    expect(kind).toBe("notServed");
    expect(message).toContain("requires Kubernetes 1.34");
  });

  test.each<[string, object, object, number | null]>([
    ["the header", {}, { "retry-after": "3" }, 3000],
    ["the details", { retryAfterSeconds: 2 }, {}, 2000],
    ["nothing", {}, {}, null],
    ["a date, which is ignored,", {}, { "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT" }, null],
    ["a header that is far too large", {}, { "retry-after": "999999999" }, 60_000],
    ["a negative number", { retryAfterSeconds: -1 }, {}, null],
  ])("with a retry time in %s keeps it", async (_, details, headers, wait) => {
    answering(429, "TooManyRequests", "", details, headers);
    expect((await errorOf(get())).retryAfter).toBe(wait);
  });

  test("with a megabyte of text is cut", async () => {
    server.misbehave((_, response) => {
      response.writeHead(500);
      response.end("x".repeat(1 << 20));
    });
    const { kind, message } = await errorOf(get());
    expect(kind).toBe("unavailable");
    expect(message.length).toBeLessThan(500);
  });
});

describe("an answer", () => {
  const raw = (text: string, headers = {}) =>
    server.misbehave((_, response) => {
      response.writeHead(200, headers);
      response.end(text);
    });

  test.each([
    ["HTML", "<html></html>"],
    ["nothing", ""],
    ["half an object", '{"metadata":{"name":"s"'],
    ["null", "null"],
    ["a list", "[]"],
    ["another object", JSON.stringify(aTestSlice("other"))],
    ["an object of another kind", '{"metadata":{"name":"s"}}'],
  ])("that is %s is malformed", async (_, text) => {
    raw(text);
    expect((await errorOf(get())).kind).toBe("malformed");
  });

  test.each([
    ["of one object", JSON.stringify(aTestSlice("s"))],
    ["without version", '{"kind":"ResourceSliceList","metadata":{},"items":[]}'],
    ["that is incomplete", '{"kind":"ResourceSliceList","metadata":{"resourceVersion":"1","continue":"x"},"items":[]}'],
    ["of other things", '{"kind":"ResourceSliceList","metadata":{"resourceVersion":"1"},"items":[{}]}'],
    ["of no things", '{"kind":"ResourceSliceList","metadata":{"resourceVersion":"1"},"items":[1]}'],
    ["that is invalid", '{"kind":"ResourceSliceList","metadata":{"resourceVersion":"1"},"items":5}'],
  ])("to a list %s is malformed", async (_, text) => {
    raw(text);
    expect((await errorOf(list())).kind).toBe("malformed");
  });

  test("to a list may have null items", async () => {
    raw('{"kind":"ResourceSliceList","metadata":{"resourceVersion":"1"},"items":null}');
    expect(await list()).toEqual({ items: [], resourceVersion: "1" });
  });

  test("that is not UTF-8 is malformed", async () => {
    server.misbehave((_, response) => {
      response.writeHead(200);
      response.end(Buffer.from([0x22, 0xff, 0xfe, 0x22]));
    });
    expect((await errorOf(get())).kind).toBe("malformed");
  });

  test("without an end is abandoned and its connection closed", async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const piece = Buffer.alloc(1 << 20, " ");
    server.misbehave((_, response) => {
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write(piece));
      };
      response.on("drain", more);
      response.on("close", resolve);
      more();
    });
    const { kind, message } = await errorOf(get());
    expect(kind).toBe("malformed");
    expect(message).toContain("the answer has more than 67108864 bytes");
    await closed;
  });

  test("that decompresses to too much is abandoned", async () => {
    const compressed = gzipSync(Buffer.alloc(65 << 20, " "));
    server.misbehave((_, response) => {
      response.writeHead(200, { "content-encoding": "gzip" });
      response.end(compressed);
    });
    expect((await errorOf(get())).kind).toBe("malformed");
  });

  test("that is cut short is unavailable", async () => {
    server.misbehave((_, response) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write('{"metadata":', () => response.destroy());
    });
    expect((await errorOf(get())).kind).toBe("unavailable");
  });

  test.each(["headers", "body"])("whose %s does not arrive in time is unavailable", async (part) => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    server.misbehave((_, response) => {
      response.on("close", resolve);
      if (part === "headers") return;
      response.writeHead(200);
      response.write("{");
    });
    const { kind, message } = await errorOf(get("s", { ...access, requestLimit: 1000 }));
    expect([kind, message]).toEqual(["unavailable", expect.stringContaining("no answer in time")]);
    await closed;
  });

  test.each(["headers", "body"])("is abandoned when the caller aborts before its %s", async (part) => {
    const caller = new AbortController();
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    server.misbehave((_, response) => {
      response.on("close", resolve);
      if (part === "headers") return caller.abort();
      response.writeHead(200);
      response.write("{", () => caller.abort());
    });
    expect((await errorOf(get("s", access, caller.signal))).kind).toBe("aborted");
    await closed;
  });

  test("is not requested when the caller has already ended", async () => {
    expect((await errorOf(get("s", access, AbortSignal.abort()))).kind).toBe("aborted");
    expect(server.requests).toEqual([]);
  });
});
