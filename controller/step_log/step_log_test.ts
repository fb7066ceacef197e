import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { HOLD_REASONS, MAX_PLAN_STEPS, MOTION_RECORD } from "../motion/motion_memory.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { encodeHeader, hashLimits } from "./header.ts";
import { CYCLE, EVENT, EVENT_KINDS, MAX_EVENT_BYTES } from "./layout.ts";
import { parseStepLog, readStepLog } from "./reader.ts";
import { TEST_HEADER, testRecord } from "./testing.ts";
import { StepLogWriter } from "./writer.ts";

const { startMs } = TEST_HEADER;

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Bytes of a log with three cycles and two events among them. */
async function smallLog(folder: string): Promise<Uint8Array<ArrayBuffer>> {
  const path = join(folder, "small.tlog");
  {
    await using writer = await StepLogWriter.open(path, TEST_HEADER);
    writer.event("episode", "episode started", startMs - 1);
    writer.add(testRecord({ step: 0 }));
    writer.add(testRecord({ step: 1 }));
    writer.event("stop", "emergency stop by a key: ⏹", startMs + 30);
    writer.add(testRecord({ step: 2, planId: 0, hold: "emergency stop" }));
  }
  return await Deno.readFile(path);
}

const pose = fc.array(
  fc.oneof(
    fc.float({ min: Math.fround(-3.2), max: Math.fround(3.2), noNaN: true }),
    fc.constant(NaN),
  ),
  { minLength: ALOHA_DIM, maxLength: ALOHA_DIM },
);
const anyRecord = fc.record({
  deltaUs: fc.integer({ min: 0, max: 1e8 }),
  step: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  isStepEnd: fc.integer({ min: 0, max: 1 }),
  planId: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  planIndex: fc.integer({ min: -1, max: MAX_PLAN_STEPS - 1 }),
  hold: fc.integer({ min: 0, max: HOLD_REASONS.length - 1 }),
  refusal: fc.integer({ min: 0, max: 2 }),
  isRestart: fc.integer({ min: 0, max: 1 }),
  stateAge: fc.integer({ min: 0, max: 65535 }),
  wanted: pose,
  command: pose,
  measured: pose,
  clamps: fc.array(fc.integer({ min: 0, max: 127 }), {
    minLength: ALOHA_DIM,
    maxLength: ALOHA_DIM,
  }),
});

Deno.test("a step log gives back every record and event, in order", async () => {
  const entries = fc.array(
    fc.oneof(
      anyRecord,
      fc.record({
        kind: fc.constantFrom(...EVENT_KINDS),
        text: fc.string({ unit: "grapheme", maxLength: 40 }),
      }),
    ),
    { maxLength: 30 },
  );
  await inFolder(async (folder) => {
    let file = 0;
    await fc.assert(
      fc.asyncProperty(entries, async (entries) => {
        const path = join(folder, `${file++}`);
        const records: Float64Array[] = [], events: unknown[] = [];
        let timeUs = 0;
        {
          await using writer = await StepLogWriter.open(path, TEST_HEADER);
          for (const entry of entries) {
            if ("kind" in entry) {
              writer.event(entry.kind, entry.text, startMs + 5);
              events.push({ ...entry, timeMs: startMs + 5, cyclesBefore: records.length });
              continue;
            }
            timeUs += entry.deltaUs;
            const { step, isStepEnd, planId, planIndex, hold, refusal, isRestart } = entry;
            const head = [step, isStepEnd, planId, planIndex, hold, refusal, isRestart];
            const poses = [...entry.wanted, ...entry.command, ...entry.measured];
            const times = [startMs + timeUs / 1000, entry.stateAge / 10];
            const record = [times[0], ...head, times[1], ...poses, ...entry.clamps];
            records.push(Float64Array.from(record));
            writer.add(records[records.length - 1]);
          }
          assert.equal(writer.cycles, records.length);
        }
        const log = await readStepLog(path);
        assert.equal(log.incompleteTail, null);
        assert.deepEqual(log.header, TEST_HEADER);
        assert.deepEqual(log.events, events);
        assert.equal(log.cycles, records.length);
        records.forEach((record, i) => {
          const found = log.read(i);
          assert.ok(Math.abs(found[0] - record[0]) < 2e-3);
          assert.deepEqual(found.slice(1), record.slice(1));
        });
      }),
      { numRuns: 25 },
    );
  });
});

Deno.test("a step log that is cut off anywhere is read up to its last whole entry", async () => {
  await inFolder(async (folder) => {
    const bytes = await smallLog(folder);
    const { length: head } = encodeHeader(TEST_HEADER);
    const whole = parseStepLog(bytes);
    assert.deepEqual([whole.cycles, whole.events.length, whole.incompleteTail], [3, 2, null]);
    let entries = 0;
    for (let end = 0; end < bytes.length; end++) {
      if (end < head) {
        assert.throws(() => parseStepLog(bytes.subarray(0, end)), {
          name: "SyntaxError",
          message: `the header line has no end within the file's ${end} bytes`,
        });
        continue;
      }
      const log = parseStepLog(bytes.slice(0, end));
      const found = log.cycles + log.events.length;
      assert.ok(found === entries || found === entries + 1, `${found} entries of ${end} bytes`);
      entries = found;
      const rest = log.incompleteTail;
      assert.equal(rest === null ? end : rest.offset + rest.bytes, end);
      assert.ok(rest === null || rest.bytes < CYCLE.bytes);
    }
    assert.equal(entries, 4);
  });
});

Deno.test("a step log whose end is zeros, as a power cut leaves it, is read up to them", async () => {
  await inFolder(async (folder) => {
    const bytes = await smallLog(folder);
    const padded = new Uint8Array(bytes.length + 4096);
    padded.set(bytes);
    const log = parseStepLog(padded);
    assert.equal(log.cycles, 3);
    assert.deepEqual(log.incompleteTail, { offset: bytes.length, bytes: 4096 });
    padded[padded.length - 1] = 1;
    assert.throws(() => parseStepLog(padded), /the entry at byte \d+ has tag 0, expected 1/);
  });
});

Deno.test("parseStepLog() says where an entry is malformed, and how", async () => {
  await inFolder(async (folder) => {
    const bytes = await smallLog(folder);
    const event = encodeHeader(TEST_HEADER).length;
    const cycle = event + EVENT.text + "episode started".length;
    const cases: readonly (readonly [number, number, RegExp])[] = [
      [event, 7, /^the entry at byte \d+ has tag 7, expected 1 \(a cycle\) or 2 \(an event\)$/],
      [
        event + EVENT.kind,
        99,
        /^the event at byte \d+ is malformed: its kind is 99, expected 0–5$/,
      ],
      [event + EVENT.text, 0xff, /^the event at byte \d+ is malformed: its text is not UTF-8$/],
      [event + EVENT.timeMs + 7, 0x7f, /^the event at byte \d+ .* its time is (NaN|Infinity) ms$/],
      [cycle + CYCLE.flags, 0x0f, /^the cycle at byte \d+ .* its hold is reason 15, expected 0–8$/],
      [cycle + CYCLE.flags, 0x30, /^the cycle at byte \d+ .* its flags are 48, which no writer/],
      [cycle + CYCLE.planIndex + 1, 3, /its planIndex is 768, expected −1–511$/],
      [cycle + CYCLE.clamps + 2, 128, /its clamps\[2\] is 128, expected 0–127$/],
    ];
    for (const [at, value, message] of cases) {
      const wrong = bytes.slice();
      wrong[at] = value;
      if (at === event + EVENT.timeMs + 7) wrong[at - 1] = 0xf0;
      assert.throws(() => parseStepLog(wrong), { name: "SyntaxError", message }, `byte ${at}`);
    }
  });
});

Deno.test("parseStepLog() answers any change of a byte with a log or one sentence", async () => {
  await inFolder(async (folder) => {
    const bytes = await smallLog(folder);
    const place = fc.integer({ min: 0, max: bytes.length - 1 });
    fc.assert(
      fc.property(place, fc.integer({ min: 0, max: 255 }), (at, value) => {
        const changed = bytes.slice();
        changed[at] = value;
        try {
          const log = parseStepLog(changed);
          for (let i = 0; i < log.cycles; i++) log.read(i);
        } catch (error) {
          assert.ok(error instanceof SyntaxError, `${error}`);
        }
      }),
      { numRuns: 300 },
    );
  });
});

Deno.test("readStepLog() refuses what is no step log, or one of another version", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "log");
    const line = JSON.parse(new TextDecoder().decode(encodeHeader(TEST_HEADER)));
    const cases: readonly (readonly [string, RegExp])[] = [
      ["not JSON\n", /its first line is not JSON/],
      ["{}\n", /does not say format "tendon-step-log", version 1/],
      [`${JSON.stringify({ ...line, version: 2 })}\n`, /version 1: version: /],
      [
        `${JSON.stringify({ ...line, cycleBytes: 204 })}\n`,
        /its header's cycleBytes are not those/,
      ],
      [`${JSON.stringify({ ...line, rateHz: -1 })}\n`, /its header is wrong: rateHz: /],
      ["x".repeat(70_000), /the header line has no end within 65536 bytes/],
    ];
    for (const [text, message] of cases) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(readStepLog(path), { name: "SyntaxError", message });
    }
    await assert.rejects(readStepLog(join(folder, "none")), Deno.errors.NotFound);
  });
});

Deno.test("StepLogWriter writes 64 KiB by itself, the rest when asked, and stops at once", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "log");
    await using writer = await StepLogWriter.open(path, TEST_HEADER);
    for (let step = 0; step < 1000; step++) writer.add(testRecord({ step }));
    writer.event("note", "x".repeat(3 * MAX_EVENT_BYTES));
    await writer.flush();
    const flushed = await readStepLog(path);
    assert.deepEqual([flushed.cycles, flushed.incompleteTail], [1000, null]);
    assert.equal(flushed.events[0].text.length, MAX_EVENT_BYTES);
    await writer[Symbol.asyncDispose]();
    writer.add(testRecord({ step: 1000 }));
    assert.deepEqual([writer.cycles, writer.dropped, writer.failure], [1000, 1, null]);
    await assert.rejects(StepLogWriter.open(path, TEST_HEADER), Deno.errors.AlreadyExists);
  });
});

Deno.test("StepLogWriter drops and counts what a failing disk cannot take, and never throws", async () => {
  let writes = 0, closed = 0;
  const sink = {
    write(bytes: Uint8Array): Promise<number> {
      // The header and the first block fit, in two pieces each.
      if (++writes > 4) return Promise.reject(new Error("No space left on device"));
      return Promise.resolve(Math.ceil(bytes.length / (writes % 2 === 1 ? 2 : 1)));
    },
    close: () => void closed++,
  };
  {
    await using writer = await StepLogWriter.over(sink, "log", TEST_HEADER);
    for (let step = 0; step < 10; step++) writer.add(testRecord({ step }));
    await writer.flush();
    writer.event("fault", "the servo left_waist overheats");
    await assert.rejects(writer.flush(), {
      message: "Cannot write the step log log: No space left on device",
    });
    writer.add(testRecord({ step: 10 }));
    assert.deepEqual([writer.cycles, writer.dropped], [10, 1]);
    assert.match(`${writer.failure}`, /No space left/);
  }
  assert.deepEqual([writes, closed], [5, 1]);
});

Deno.test("StepLogWriter keeps at most 16 MiB for a disk that hangs", async () => {
  const gate = Promise.withResolvers<void>();
  let bytesWritten = 0;
  const sink = {
    write: async (bytes: Uint8Array) => {
      if (bytesWritten > 0) await gate.promise;
      bytesWritten += bytes.length;
      return bytes.length;
    },
    close: () => {},
  };
  await using writer = await StepLogWriter.over(sink, "log", TEST_HEADER);
  const record = testRecord({ step: 0 });
  for (let i = 0; i < 90_000; i++) writer.add(record);
  assert.equal(writer.cycles + writer.dropped, 90_000);
  assert.ok(writer.dropped > 0 && writer.cycles * CYCLE.bytes > 16 * 1024 * 1024);
  assert.ok(writer.cycles * CYCLE.bytes < 17 * 1024 * 1024);
  gate.resolve();
  await writer.flush();
  assert.equal(bytesWritten, encodeHeader(TEST_HEADER).length + writer.cycles * CYCLE.bytes);
});

Deno.test("a log whose writer is killed holds all that it had flushed, and is read", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "log");
    const script = fileURLToPath(new URL("../../tests/killable_step_log.ts", import.meta.url));
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--allow-read", "--allow-write", script, path],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    const flushed = Number.parseInt(new TextDecoder().decode(value));
    const log = await readStepLog(path);
    assert.ok(flushed > 0 && log.cycles >= flushed, `${log.cycles} cycles of ${flushed}`);
    for (let i = 0; i < log.cycles; i++) assert.equal(log.read(i)[MOTION_RECORD.step], i);
  });
});

Deno.test("a time that goes back or jumps is caught up with, and never stops the writer", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "log");
    const times = [0, 20, 10, 40, 1e10, 60, 1e10 + 20];
    {
      await using writer = await StepLogWriter.open(path, TEST_HEADER);
      times.forEach((timeMs, step) => writer.add(testRecord({ step, timeMs })));
      const wild = testRecord({ step: 7 });
      wild.fill(NaN);
      writer.add(wild);
      wild.fill(Infinity);
      writer.add(wild);
      wild.fill(-1e300);
      writer.add(wild);
    }
    const log = await readStepLog(path);
    assert.equal(log.cycles, times.length + 3);
    const found = Array.from(log.timesMs, (ms) => Math.round(ms - startMs));
    assert.deepEqual(found.slice(0, 4), [0, 20, 20, 40]);
    for (let i = 1; i < found.length; i++) assert.ok(found[i] >= found[i - 1]);
    assert.equal(log.read(0)[MOTION_RECORD.planIndex], 0);
  });
});

Deno.test("hashLimits() tells limits apart", () => {
  const hash = hashLimits(DEFAULT_LIMITS);
  assert.match(hash, /^[0-9a-f]{16}$/);
  assert.equal(hash, hashLimits(structuredClone(DEFAULT_LIMITS)));
  assert.notEqual(
    hash,
    hashLimits({ ...DEFAULT_LIMITS, maxCycleS: 0.9 * DEFAULT_LIMITS.maxCycleS }),
  );
});

Deno.test("encodeHeader() refuses what no reader would take", () => {
  assert.throws(
    () => encodeHeader({ ...TEST_HEADER, rateHz: NaN }),
    /Cannot begin a step log: rate/,
  );
  assert.throws(
    () => encodeHeader({ ...TEST_HEADER, prompt: "x".repeat(10_001) }),
    /Cannot begin a step log: prompt/,
  );
});
