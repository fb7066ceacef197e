import assert from "node:assert/strict";
import { exchangeError } from "./exchange_fault.ts";
import { ERRNO } from "./libc.ts";
import { answerTimeoutMs, longestStatus } from "./line_timing.ts";
import { goneError, openError } from "./port_sentences.ts";

Deno.test("openError() says what to do about each reason", () => {
  const rows = [
    [ERRNO.ENOENT, "device", /no such device; plug in the adapter/],
    [ERRNO.ENXIO, "device", /no such device/],
    [ERRNO.EACCES, "device", /no permission; join its group .*dialout/],
    [ERRNO.EBUSY, "busy", /another program has it; end that program/],
    [ERRNO.EAGAIN, "busy", /another program has it/],
    [ERRNO.ENOTTY, "device", /no serial port; name the adapter's device/],
    [99, "device", /error 99 \(errno\); unplug the adapter/],
  ] as const;
  for (const [errno, fault, message] of rows) {
    const error = openError("/dev/ttyUSB0", errno);
    assert.equal(error.fault, fault);
    assert.match(error.message, message);
    assert.match(error.message, /^Cannot open \/dev\/ttyUSB0: /);
  }
});

Deno.test("goneError() and exchangeError() name the port and the servo", () => {
  assert.equal(goneError("/dev/ttyUSB0", "read from").fault, "device");
  assert.equal(
    exchangeError("ping", 4, "/dev/ttyUSB0", "timeout", 2).message,
    "Cannot ping servo 4 on /dev/ttyUSB0: no answer came (2 attempts); check its power, its cable " +
      "and its ID",
  );
});

Deno.test("answerTimeoutMs() adds the line, the return delay and the allowance", () => {
  assert.equal(longestStatus(0), 11);
  assert.equal(longestStatus(4), 17);
  const timing = { baudRate: 1_000_000, returnDelayMs: 0.5, latencyMs: 6 };
  // 23 bytes out, 9 × 17 bytes back, 10 µs each.
  assert.ok(Math.abs(answerTimeoutMs(timing, 23, 9, 4) - (1.76 + 4.5 + 6)) < 1e-9);
});
