/**
 * For tests: writes rows whose numbers are all alike into a record and a ring, as fast as it can.
 *
 * @module
 */

import { SharedRecord, type SharedRecordMemory } from "./shared_record.ts";
import { SharedRing, type SharedRingMemory } from "./shared_ring.ts";

/** What the thread shall do. */
export interface WriterOrder {
  /** Record to write. */
  readonly record: SharedRecordMemory;
  /** Ring to fill. */
  readonly ring: SharedRingMemory;
  /** Rows to write. */
  readonly rows: number;
}

declare const self: {
  onmessage: ((event: MessageEvent<WriterOrder>) => void) | null;
  postMessage(message: string): void;
};

self.onmessage = ({ data }) => {
  const record = new SharedRecord(data.record);
  const ring = new SharedRing(data.ring);
  const values = new Float64Array(record.length);
  for (let row = 1; row <= data.rows; row++) {
    values.fill(row + 0.25);
    record.write(values);
    // A full ring refuses a row: it is offered again, so that the reader sees every one.
    while (!ring.push(values)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0.01);
  }
  self.postMessage("done");
};
