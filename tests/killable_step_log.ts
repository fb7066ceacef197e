/**
 * Writes a step log until it is killed: a program for a test. It prints how many cycles are on the disk.
 *
 * @module
 */

import { yieldToEventLoop } from "../common/yield_to_event_loop.ts";
import { TEST_HEADER, testRecord } from "../controller/step_log/testing.ts";
import { StepLogWriter } from "../controller/step_log/writer.ts";

if (import.meta.main) {
  await using writer = await StepLogWriter.open(Deno.args[0], TEST_HEADER);
  for (let step = 0;; step++) {
    writer.add(testRecord({ step }));
    if (step % 1000 !== 999) continue;
    await writer.flush();
    console.log(step + 1);
    await yieldToEventLoop();
  }
}
