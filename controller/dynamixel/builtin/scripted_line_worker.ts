/**
 * The servos' end of a pseudo-terminal, for tests: servos with a plain memory that answer at once, and
 * spoil their answers as they are told. A thread of its own, because a bus blocks its thread.
 *
 * @module
 */

import { decodeRequest, type DynamixelRequest } from "../protocol/instructions.ts";
import { encodeFastStatus } from "../protocol/fast_status.ts";
import { BROADCAST_ID, encodeStatus } from "../protocol/packet.ts";
import { InstructionParser } from "../protocol/parser.ts";
import { STATUS_ERROR } from "../protocol/status_error.ts";
import { ORDER, type ScriptedServos, TABLE_BYTES } from "./scripted_line.ts";

declare const self: {
  onmessage: ((event: MessageEvent<ScriptedServos>) => void) | null;
  postMessage(reply: string): void;
};

const SYMBOLS = {
  posix_openpt: { parameters: ["i32"], result: "i32" },
  grantpt: { parameters: ["i32"], result: "i32" },
  unlockpt: { parameters: ["i32"], result: "i32" },
  ptsname_r: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
const O_RDWR_NOCTTY = 0o402;
const POLLIN = 1;

self.onmessage = ({ data }) => {
  const libc = Deno.dlopen("libc.so.6", SYMBOLS);
  const master = libc.symbols.posix_openpt(O_RDWR_NOCTTY);
  libc.symbols.grantpt(master);
  libc.symbols.unlockpt(master);
  const name = new Uint8Array(64);
  libc.symbols.ptsname_r(master, name, BigInt(name.length));
  // Held open, so that the master is not hung up before the bus opens the other end.
  const slave = libc.symbols.open(name, O_RDWR_NOCTTY);
  self.postMessage(new TextDecoder().decode(name.subarray(0, name.indexOf(0))));
  serve(libc.symbols, master, data);
  libc.symbols.close(master);
  const orders = new Int32Array(data.orders);
  Atomics.store(orders, ORDER.isUnplugged, 1);
  Atomics.notify(orders, ORDER.isUnplugged);
  libc.symbols.close(slave);
  libc.close();
  self.postMessage("closed");
};

function serve(
  libc: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"],
  master: number,
  { ids, model, firmware, orders: shared }: ScriptedServos,
): void {
  const orders = new Int32Array(shared);
  const tables = new Map(ids.map((id) => [id, new Uint8Array(TABLE_BYTES)]));
  const pollfd = new Int32Array([master, POLLIN]);
  const parser = new InstructionParser();
  const buffer = new Uint8Array(4096);
  const isThere = (id: number) => tables.has(id) && Atomics.load(orders, ORDER.vanishedId) !== id;
  const take = (order: number) => {
    const left = Atomics.load(orders, order);
    if (left > 0) Atomics.sub(orders, order, 1);
    return left > 0;
  };
  const send = (bytes: Uint8Array) => {
    if (take(ORDER.drops)) return;
    const sent = take(ORDER.garbage) ? Uint8Array.of(0xff, 0xff, 0x13, 0xfd, ...bytes) : bytes;
    if (take(ORDER.corruptions)) sent[sent.length - 3] ^= 0x10;
    libc.write(master, sent as Uint8Array<ArrayBuffer>, BigInt(sent.length));
  };

  const answer = (request: DynamixelRequest) => {
    // Before the answer is there, so that who has it sees itself counted.
    Atomics.add(orders, ORDER.requests, 1);
    const error = Atomics.load(orders, ORDER.errorByte);
    const slice = (id: number, address: number, length: number) =>
      tables.get(id)!.slice(address, address + length);
    switch (request.kind) {
      case "ping":
        for (const id of request.id === BROADCAST_ID ? ids : [request.id]) {
          const params = Uint8Array.of(model & 0xff, model >> 8, firmware);
          if (isThere(id)) send(encodeStatus(id, error, params));
        }
        break;
      case "read": {
        const { id, address, length } = request;
        if (!isThere(id)) break;
        if (address + length > TABLE_BYTES) send(encodeStatus(id, STATUS_ERROR.access));
        else send(encodeStatus(id, error, slice(id, address, length)));
        break;
      }
      case "write":
        if (!isThere(request.id)) break;
        tables.get(request.id)!.set(request.data, request.address);
        send(encodeStatus(request.id, error));
        break;
      case "syncWrite":
        for (const [id, data] of request.rows) tables.get(id)?.set(data, request.address);
        break;
      case "syncRead":
        for (const id of request.ids.filter(isThere)) {
          send(encodeStatus(id, error, slice(id, request.address, request.length)));
        }
        break;
      case "fastSyncRead": {
        const { address, length } = request;
        if (!request.ids.every(isThere)) break;
        send(encodeFastStatus(
          request.ids.map((id) => ({ id, error, data: slice(id, address, length) })),
        ));
        break;
      }
      case "reboot":
        if (!isThere(request.id)) break;
        tables.get(request.id)!.fill(0);
        send(encodeStatus(request.id, error));
        break;
    }
  };

  while (Atomics.load(orders, ORDER.unplug) === 0) {
    if (libc.poll(new Uint8Array(pollfd.buffer), 1n, 5) <= 0) continue;
    const count = Number(libc.read(master, buffer, BigInt(buffer.length)));
    for (const packet of parser.push(buffer.subarray(0, Math.max(0, count)))) {
      const request = decodeRequest(packet);
      if (request.kind !== "invalid") answer(request);
    }
  }
}
