/**
 * The thread that serves emulated buses. It blocks while it waits for bytes, so that an answer is not
 * held up by an event loop, and lets the event loop turn after each wait for commands to come in.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { askForRealtime } from "../../threads/realtime.ts";
import type { EmulatorReply, EmulatorRequest } from "./emulator_messages.ts";
import { PseudoTerminal } from "./pseudo_terminal.ts";
import { ServedBus } from "./served_bus.ts";

declare const self: {
  onmessage: ((event: MessageEvent<EmulatorRequest>) => void) | null;
  postMessage(reply: EmulatorReply): void;
};

/** How often the servos move on and commands are looked for while nothing comes, in ms. */
const IDLE_MS = 2;

let buses: ServedBus[] = [];
let isStopping = false;

self.onmessage = ({ data }) => {
  switch (data.kind) {
    case "start":
      start(data);
      break;
    case "command":
      self.postMessage(answer(data));
      break;
    case "stop":
      isStopping = true;
  }
};

function start({ buses: specs, positions }: EmulatorRequest & { kind: "start" }): void {
  try {
    for (const [i, spec] of specs.entries()) {
      buses.push(new ServedBus(spec, new Int32Array(positions[i])));
    }
  } catch (error) {
    close();
    self.postMessage({ kind: "refused", message: sentenceOf(error) });
    return;
  }
  // Servos answer at once, whatever the machine that plays them has to do.
  askForRealtime("emulator");
  self.postMessage({ kind: "ready", ports: buses.map(({ port }) => port) });
  serve();
}

async function serve(): Promise<void> {
  while (!isStopping) {
    const terminals = buses.map(({ terminal }) => terminal).filter((t) => t !== undefined);
    const dueMs = Math.min(...buses.map(({ nextDueMs }) => nextDueMs));
    wait(terminals, Math.min(IDLE_MS, dueMs - performance.now()));
    for (const bus of buses) bus.serve(performance.now());
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  close();
  self.postMessage({ kind: "stopped" });
}

/** Wait for bytes, or only for time while every bus is unplugged. */
function wait(terminals: readonly PseudoTerminal[], timeoutMs: number): void {
  if (terminals.length > 0) PseudoTerminal.waitForAny(terminals, timeoutMs);
  else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, timeoutMs);
}

function answer({ call, bus, command }: EmulatorRequest & { kind: "command" }): EmulatorReply {
  try {
    const served = buses[bus];
    if (served === undefined) throw new RangeError(`bus ${bus}, expected 0–${buses.length - 1}`);
    return { kind: "done", call, value: served.command(command, performance.now()) };
  } catch (error) {
    return { kind: "failed", call, message: sentenceOf(error) };
  }
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function close(): void {
  for (const bus of buses) bus[Symbol.dispose]();
  buses = [];
}
