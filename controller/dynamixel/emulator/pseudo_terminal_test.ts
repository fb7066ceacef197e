import assert from "node:assert/strict";
import { Libc } from "../builtin/libc.ts";
import { PseudoTerminal } from "./pseudo_terminal.ts";

/** The driver's end. Deno itself opens no device without all permissions. */
class Slave implements Disposable {
  readonly #libc = new Libc();
  readonly #fd: number;

  constructor({ path }: PseudoTerminal) {
    this.#fd = this.#libc.open(path);
    assert.ok(this.#fd >= 0);
  }

  write(bytes: Uint8Array<ArrayBuffer>): number {
    return this.#libc.write(this.#fd, bytes);
  }

  read(): Uint8Array {
    const buffer = new Uint8Array(4096);
    return buffer.subarray(0, Math.max(0, this.#libc.read(this.#fd, buffer)));
  }

  [Symbol.dispose](): void {
    this.#libc.close(this.#fd);
    this.#libc[Symbol.dispose]();
  }
}

const ignore = Deno.build.os !== "linux";

Deno.test({ name: "PseudoTerminal carries every byte unchanged both ways", ignore }, () => {
  using terminal = new PseudoTerminal();
  using slave = new Slave(terminal);
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.equal(terminal.read().length, 0);
  assert.equal(slave.write(bytes), 256);
  PseudoTerminal.waitForAny([terminal], 1000);
  assert.deepEqual(Uint8Array.from(terminal.read()), bytes);
  assert.equal(terminal.write(bytes), 256);
  assert.deepEqual(Uint8Array.from(slave.read()), bytes);
  assert.equal(terminal.read().length, 0, "nothing is echoed");
});

Deno.test({ name: "PseudoTerminal loses what nobody reads instead of waiting", ignore }, () => {
  using terminal = new PseudoTerminal();
  let taken = 0;
  for (let i = 0; i < 100; i++) taken += terminal.write(new Uint8Array(1024));
  assert.ok(taken > 1024 && taken < 100 * 1024, `${taken} bytes`);
});

Deno.test({
  name: "PseudoTerminal.waitForAny() waits for the right one, no longer than told",
  ignore,
}, () => {
  using first = new PseudoTerminal();
  using second = new PseudoTerminal();
  const start = performance.now();
  PseudoTerminal.waitForAny([first, second], 5.5);
  assert.ok(performance.now() - start >= 5);
  using slave = new Slave(second);
  slave.write(Uint8Array.of(7));
  PseudoTerminal.waitForAny([first, second], 10_000);
  assert.equal(first.read().length, 0);
  assert.deepEqual([...second.read()], [7]);
  assert.ok(performance.now() - start < 5_000);
});

/** Many more than the other tests of this process hold open at a time. */
const TERMINALS = 400;

Deno.test({ name: "PseudoTerminal gives its descriptors back", ignore }, () => {
  const count = () => {
    const args = ["-c", `ls /proc/${Deno.pid}/fd | wc -l`];
    const { stdout } = new Deno.Command("sh", { args }).outputSync();
    return Number(new TextDecoder().decode(stdout));
  };
  const before = count();
  for (let i = 0; i < TERMINALS; i++) {
    const terminal = new PseudoTerminal();
    terminal[Symbol.dispose]();
    terminal[Symbol.dispose]();
  }
  // Other tests of this process open and close descriptors meanwhile: a leak would be all of them.
  const after = count();
  assert.ok(after < before + TERMINALS / 2, `${before} descriptors before, ${after} after`);
});
