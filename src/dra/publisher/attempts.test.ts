import { describe, expect, test } from "bun:test";
import { until } from "../../../test/support/until.ts";
import { KubeError } from "../../kube/errors.ts";
import { Attempts } from "./attempts.ts";

function anAttempts(times = { firstAttempt: 4, longestAttempt: 16 }) {
  const lines: string[] = [];
  const at = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  return { attempts: new Attempts(times, { debug: at("debug"), info: at("info"), error: at("error") }), lines };
}
const away = new KubeError("unavailable", "GET /x: connection refused");

describe("problems", () => {
  test("are logged as errors once a kind, and their end once", () => {
    const { attempts, lines } = anAttempts();
    attempts.fail("slice a", "create", away, 500);
    attempts.fail("slice b", "create", away, 500);
    attempts.fail("watch", "watch", new KubeError("forbidden", "GET /y: 403 no"), 500);
    expect(attempts.problem).toContain('"verbs":["list","watch"]');
    attempts.succeed("watch");
    expect(attempts.problem).toBe("GET /x: connection refused");
    attempts.keep((about) => about === "slice a");
    attempts.keep(() => false);
    attempts.succeed("watch");
    expect(attempts.problem).toBeNull();
    expect(lines).toEqual([
      "error cannot publish ResourceSlices; retrying",
      "debug cannot publish ResourceSlices; retrying",
      "error cannot publish ResourceSlices; retrying",
      "info ResourceSlices can be published again",
    ]);
  });

  test("are not what the end of the publisher aborts", () => {
    const { attempts, lines } = anAttempts();
    attempts.fail("watch", "watch", new KubeError("aborted", "GET /y: ended by the caller"), 500);
    expect([attempts.problem, lines]).toEqual([null, []]);
  });

  test("of the plugin's own are shown unchanged", () => {
    const { attempts } = anAttempts();
    attempts.fail("pass", null, new TypeError("a mistake"), 500);
    expect(attempts.problem).toBe("a mistake");
  });
});

describe("a step", () => {
  test("that fails is not tried before its wait is over, and then again", async () => {
    const { attempts } = anAttempts();
    let tries = 0;
    const step = () => attempts.try("node", () => (++tries < 3 ? Promise.reject(away) : Promise.resolve("x")));
    const failed = await step();
    expect(failed.value).toBeNull();
    expect(await step()).toEqual(failed);
    expect(tries).toBe(1);
    await until("it succeeds", async () => (await step()).value === "x");
    expect([tries, attempts.problem]).toEqual([3, null]);
  });

  test("that the server postpones waits as long", async () => {
    const { attempts } = anAttempts();
    const busy = new KubeError("unavailable", "GET /x: 429", { retryAfter: 30_000 });
    const { retryAt } = await attempts.try("node", () => Promise.reject(busy));
    expect(retryAt).toBeGreaterThan(performance.now() + 29_000);
  });
});
