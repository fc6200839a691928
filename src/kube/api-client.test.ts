import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { getEventListeners } from "node:events";
import { createServer as createProxy, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { errorOf, live, sharedApiServer } from "../../test/support/api-client.ts";
import { ApiServer } from "../../test/support/api-server.ts";
import { anAuthority, anIdentity, type Identity } from "../../test/support/certificates.ts";
import { accessTo, aTestSlice, testSlices } from "../../test/support/slices.ts";
import type { Access } from "./access.ts";
import { createObject, deleteObject, getObject, updateObject, validateObject } from "./api-client.ts";

const { server, access, get, list } = sharedApiServer();

/** A TLS server that requests client certificates and leaves everything else to `serve`. */
async function bareServer(
  serve: (socket: TLSSocket) => void,
): Promise<{ readonly url: string; readonly close: () => void }> {
  const { certificate, key } = anIdentity(server.authority, "kube-apiserver", ["127.0.0.1"]);
  const options = {
    cert: certificate,
    key,
    ca: server.authority.certificate,
    requestCert: true,
    rejectUnauthorized: false,
  };
  const tcp = createTlsServer(options, (socket) => {
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
  return { url: `https://127.0.0.1:${(tcp.address() as AddressInfo).port}`, close: () => tcp.close() };
}

describe("objects", () => {
  test("are created, read, listed, replaced and deleted", async () => {
    const created = await createObject(access, testSlices, aTestSlice("s"), live);
    expect(created.metadata.uid).toBeString();
    expect(await get()).toEqual(created);
    server.set(aTestSlice("t", "another"));
    const { items, resourceVersion } = await list();
    expect(items).toEqual([created]);
    expect(Number(resourceVersion)).toBeGreaterThan(Number(created.metadata.resourceVersion));
    const replaced = await updateObject(access, testSlices, { ...created, spec: { nodeName: "b" } }, live);
    expect(replaced).toMatchObject({ spec: { nodeName: "b" } });
    await deleteObject(access, testSlices, { name: "s", uid: created.metadata.uid ?? "" }, live);
    expect((await errorOf(get())).kind).toBe("notFound");
  });

  test("changed by someone else are not overwritten", async () => {
    const created = await createObject(access, testSlices, aTestSlice("s"), live);
    server.set({ ...created, metadata: { name: "s" } });
    expect((await errorOf(updateObject(access, testSlices, created, live))).kind).toBe("conflict");
  });

  test("are not replaced without a resourceVersion", async () => {
    server.set(aTestSlice("s"));
    const { kind, message } = await errorOf(updateObject(access, testSlices, aTestSlice("s"), live));
    expect([kind, message]).toEqual(["invalid", expect.stringContaining("has no resourceVersion")]);
    expect(server.requests).toEqual([]);
  });

  test("are validated and completed by the server without being created", async () => {
    server.admit = (object) => ({ ...object, spec: { nodeName: "changed" } });
    const { spec } = await validateObject(access, testSlices, aTestSlice("s"), live);
    server.admit = (object) => object;
    expect(spec.nodeName).toBe("changed");
    expect((await errorOf(get())).kind).toBe("notFound");
  });

  test("that exist are not created again", async () => {
    server.set(aTestSlice("s"));
    expect((await errorOf(createObject(access, testSlices, aTestSlice("s"), live))).kind).toBe("alreadyExists");
  });

  test("with the same name and another UID are not deleted", async () => {
    server.set(aTestSlice("s"));
    const uid = crypto.randomUUID();
    expect((await errorOf(deleteObject(access, testSlices, { name: "s", uid }, live))).kind).toBe("conflict");
    expect(await get()).toMatchObject({ metadata: { name: "s" } });
  });

  test("are addressed by group, version and namespace", async () => {
    await errorOf(getObject(access, testSlices, { name: "s", namespace: "default" }, live));
    expect(server.requests[0]?.path).toBe("/apis/resource.k8s.io/v1/namespaces/default/resourceslices/s");
    await errorOf(getObject(access, { ...testSlices, apiVersion: "v1" }, { name: "s" }, live));
    expect(server.requests[1]?.path).toBe("/api/v1/resourceslices/s");
  });

  test("are all read over one connection, and leave nothing at the caller's signal", async () => {
    server.set(aTestSlice("s"));
    await get();
    const before = server.connections;
    for (let count = 0; count < 50; count++) {
      await get();
      await errorOf(get("t"));
    }
    expect(server.connections).toBe(before);
    expect(getEventListeners(live, "abort")).toEqual([]);
  });

  test.each(["..", "a/b", "", "A", "a?b", "%2e", "-a", "a".repeat(254)])(
    "are never addressed by %p, which would be another path",
    async (name) => {
      expect((await errorOf(get(name))).kind).toBe("invalid");
      expect(server.requests).toEqual([]);
    },
  );
});

describe("authentication", () => {
  test("reads the token again for each request", async () => {
    server.set(aTestSlice("s"));
    server.accepted = new Set(["second"]);
    let token = "first";
    const rotating: Access = { ...access, read: () => ({ ...access.read(), token }) };
    const { kind, message } = await errorOf(get("s", rotating));
    expect(kind).toBe("unauthorized");
    expect(message).toContain("check that the credentials of /etc/kubernetes/kubelet.conf are current");
    expect(message).not.toContain("first");
    token = "second";
    expect(await get("s", rotating)).toMatchObject({ metadata: { name: "s" } });
  });

  test("uses a rotated client certificate on a new connection", async () => {
    const tcp = await bareServer((socket) => {
      socket.on("data", () => {
        const { subject } = socket.getPeerCertificate();
        const body = JSON.stringify(aTestSlice("s", socket.authorized ? String(subject.CN) : "nobody"));
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      });
    });
    const nodeNameFor = async (identity: Identity | null) => {
      const { spec } = await get("s", accessTo(server, { server: tcp.url, token: null, identity }));
      return spec.nodeName;
    };
    const [a, b] = ["a", "b"].map((name) => anIdentity(server.authority, `system:node:${name}`));
    if (!a || !b) throw new Error("no identities");
    expect(await nodeNameFor(a)).toBe("system:node:a");
    expect(await nodeNameFor(b)).toBe("system:node:b");
    expect(await nodeNameFor(null)).toBe("nobody");
    expect(await nodeNameFor(a)).toBe("system:node:a");
    tcp.close();
  });

  test("does not follow a redirect with the credentials", async () => {
    server.misbehave((_, response) => {
      response.writeHead(307, { location: `${server.url}/elsewhere` });
      response.end();
    });
    expect((await errorOf(get())).kind).toBe("malformed");
    expect(server.requests.map(({ path }) => path)).toEqual(["/apis/resource.k8s.io/v1/resourceslices/s"]);
  });
});

describe("a proxy from the environment", () => {
  const variables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];
  let proxied = 0;
  let proxy: Server;
  beforeAll(async () => {
    proxy = createProxy(() => {});
    proxy.on("connect", (_, socket) => {
      proxied++;
      socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    for (const name of variables) process.env[name] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    for (const name of variables) delete process.env[name];
    proxy.close();
  });

  test("is not used", async () => {
    server.set(aTestSlice("s"));
    await get();
    expect(proxied).toBe(0);
    // The proxy works: a plain fetch does use it.
    await fetch(server.url, { tls: { ca: server.authority.certificate } }).catch(() => {});
    expect(proxied).toBe(1);
  });
});

describe("a server", () => {
  test.each<[string, (own: ApiServer) => Parameters<ApiServer["start"]>[0], RegExp]>([
    ["of an unknown authority", () => anIdentity(anAuthority("unknown"), "a", ["127.0.0.1"]), /issuer|certificate/i],
    ["of an authority of the same name", () => anIdentity(anAuthority(), "a", ["127.0.0.1"]), /certificate/i],
    [
      "of another address",
      ({ authority }) => anIdentity(authority, "a", ["127.0.0.2", "localhost"]),
      /IP|altname|match/i,
    ],
    ["whose certificate expired", ({ authority }) => anIdentity(authority, "a", ["127.0.0.1"], [-2, -1]), /expired/i],
    [
      "whose certificate is of tomorrow",
      ({ authority }) => anIdentity(authority, "a", ["127.0.0.1"], [1, 2]),
      /not yet/i,
    ],
  ])("%s is not trusted and receives no token", async (_, identityOf, message) => {
    const other = new ApiServer(testSlices);
    await other.start(identityOf(other));
    try {
      const error = await errorOf(get("s", accessTo(other)));
      expect(error.kind).toBe("untrusted");
      expect(error.message).toMatch(message);
      expect(error.message).toContain("check the server and the CA of /etc/kubernetes/kubelet.conf");
      expect(other.requests).toEqual([]);
    } finally {
      await other.stop();
    }
  });

  test("is not trusted because of an environment variable", async () => {
    const other = await new ApiServer(testSlices).start(anIdentity(anAuthority("unknown"), "a", ["127.0.0.1"]));
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      expect((await errorOf(get("s", accessTo(other)))).kind).toBe("untrusted");
      // The variable works: a plain fetch does use it.
      expect((await fetch(other.url)).status).toBe(404);
    } finally {
      delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
      await other.stop();
    }
  });

  test("is trusted under its tls-server-name", async () => {
    const other = new ApiServer(testSlices);
    await other.start(anIdentity(other.authority, "a", ["kubernetes.default.svc"]));
    try {
      other.set(aTestSlice("s"));
      expect((await errorOf(get("s", accessTo(other)))).kind).toBe("untrusted");
      expect(await get("s", accessTo(other, { serverName: "kubernetes.default.svc" }))).toMatchObject({
        kind: "ResourceSlice",
      });
    } finally {
      await other.stop();
    }
  });

  test("with a rotated CA is trusted by the new CA only", async () => {
    server.set(aTestSlice("s"));
    await get();
    const { certificate } = anAuthority("next");
    expect((await errorOf(get("s", accessTo(server, { ca: certificate })))).kind).toBe("untrusted");
    await get("s", accessTo(server, { ca: `${certificate}${server.authority.certificate}` }));
  });

  test.each<[string, string | null]>([
    ["that closes at once", ""],
    ["that speaks no TLS", "HTTP/1.1 200 OK\r\n\r\n{}"],
    ["that sends nothing", null],
  ])("%s is unavailable", async (_, greeting) => {
    const tcp = createTcpServer((socket) => {
      socket.on("error", () => {});
      if (greeting !== null) socket.end(greeting);
    });
    await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
    const url = `https://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
    const error = await errorOf(get("s", { ...accessTo(server, { server: url }), requestLimit: 300 }));
    tcp.close();
    expect(error.kind).toBe("unavailable");
  });

  test.each([
    ["garbage", "\u0000\u0001garbage\r\n\r\n"],
    ["another protocol", "SSH-2.0-OpenSSH_10\r\n"],
    ["half a header", "HTTP/1.1 200 OK\r\ncontent-le"],
    ["an invalid status", "HTTP/1.1 abc OK\r\n\r\n"],
    ["an invalid length", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}"],
    ["invalid chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}"],
  ])("that answers with %s is unavailable", async (_, text) => {
    const tcp = await bareServer((socket) => socket.once("data", () => socket.end(text)));
    const error = await errorOf(get("s", { ...accessTo(server, { server: tcp.url }), requestLimit: 2000 }));
    tcp.close();
    expect(error.kind).toBe("unavailable");
  });

  test("that stopped is unavailable until it is back", async () => {
    const other = await new ApiServer(testSlices).start();
    other.set(aTestSlice("s"));
    await get("s", accessTo(other));
    await other.stop();
    const { kind, message } = await errorOf(get("s", accessTo(other)));
    expect([kind, message]).toEqual(["unavailable", expect.stringContaining("ECONNREFUSED")]);
    await other.start();
    expect(await get("s", accessTo(other))).toMatchObject({ metadata: { name: "s" } });
    await other.stop();
  });
});
