// The service manager's end of sd_notify: a real datagram socket, at a path or under an abstract name.

import { rmSync } from "node:fs";
import { unixAddress } from "../../native/notify.ts";
import * as libc from "../../native/libc.ts";
import { until } from "./until.ts";

/** A bound socket; close() gives it up. */
export class NotifySocket {
  readonly name: string;
  /** The datagrams so far, each as its lines. */
  readonly received: string[][] = [];
  readonly #fd: number;
  readonly #buffer = new Uint8Array(65536);

  constructor(name: string) {
    const address = unixAddress(name);
    if (address === null) throw new Error(`no socket can be named ${name}`);
    this.name = name;
    this.#fd = libc.socket(libc.AF_UNIX, libc.SOCK_DGRAM | libc.SOCK_CLOEXEC | libc.SOCK_NONBLOCK, 0);
    libc.bind(this.#fd, address);
  }

  /** Takes what has arrived; all lines so far. */
  lines(): string[] {
    for (;;) {
      try {
        const { length } = libc.receive(this.#fd, this.#buffer, 0);
        this.received.push(new TextDecoder().decode(this.#buffer.subarray(0, length)).split("\n"));
      } catch (error) {
        if (error instanceof libc.SystemError && error.code === "EAGAIN") return this.received.flat();
        throw error;
      }
    }
  }

  /** Waits for a line, the `count`th that is like this. */
  async waitFor(pattern: RegExp, count = 1, within = 10_000): Promise<void> {
    await until(
      `the service manager receives ${pattern}`,
      () => this.lines().filter((line) => pattern.test(line)).length >= count,
      {
        within,
        found: () => this.lines().join("\n"),
      },
    );
  }

  close(): void {
    libc.close(this.#fd);
    if (this.name.startsWith("/")) rmSync(this.name, { force: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
