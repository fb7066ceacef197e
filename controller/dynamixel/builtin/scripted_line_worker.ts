/**
 * The servos' end of a pseudo-terminal, for tests: servos with a plain memory that answer at once, and
 * spoil their answers as they are told. A thread of its own, because a bus blocks its thread.
 *
 * @module
 */

import { PseudoTerminal } from "../emulator/pseudo_terminal.ts";
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

/** How often orders are looked at, in ms. */
const ORDERS_MS = 5;

self.onmessage = ({ data }) => {
  const orders = new Int32Array(data.orders);
  {
    using terminal = new PseudoTerminal();
    self.postMessage(terminal.path);
    serve(terminal, data);
  }
  Atomics.store(orders, ORDER.isUnplugged, 1);
  Atomics.notify(orders, ORDER.isUnplugged);
  self.postMessage("closed");
};

function serve(
  terminal: PseudoTerminal,
  { ids, model, firmware, orders: shared }: ScriptedServos,
): void {
  const orders = new Int32Array(shared);
  const tables = new Map(ids.map((id) => [id, new Uint8Array(TABLE_BYTES)]));
  const parser = new InstructionParser();
  const isThere = (id: number) => tables.has(id) && Atomics.load(orders, ORDER.vanishedId) !== id;
  const take = (order: number) => {
    const left = Atomics.load(orders, order);
    if (left > 0) Atomics.sub(orders, order, 1);
    return left > 0;
  };
  const waiting: { dueMs: number; bytes: Uint8Array<ArrayBuffer> }[] = [];
  const send = (bytes: Uint8Array) => {
    if (take(ORDER.drops)) return;
    const sent = take(ORDER.garbage) ? Uint8Array.of(0xff, 0xff, 0x13, 0xfd, ...bytes) : bytes;
    if (take(ORDER.corruptions)) sent[sent.length - 3] ^= 0x10;
    const delayMs = Atomics.load(orders, ORDER.delayMs);
    const dueMs = Math.max(performance.now() + delayMs, waiting.at(-1)?.dueMs ?? 0);
    waiting.push({ dueMs, bytes: sent as Uint8Array<ArrayBuffer> });
  };
  /** Send what is due; returns how long the next answer still waits. */
  const sendDue = () => {
    const nowMs = performance.now();
    while (waiting.length > 0 && waiting[0].dueMs <= nowMs) terminal.write(waiting.shift()!.bytes);
    return waiting.length > 0 ? waiting[0].dueMs - nowMs : Infinity;
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
    PseudoTerminal.waitForAny([terminal], Math.min(ORDERS_MS, sendDue()));
    for (const packet of parser.push(terminal.read())) {
      const request = decodeRequest(packet);
      if (request.kind !== "invalid") answer(request);
    }
  }
}
