import assert from "node:assert/strict";
import { consoleLogger, type LogLevel } from "./logger.ts";

function record(level?: LogLevel) {
  const lines: string[] = [];
  const logger = consoleLogger({
    name: "learner",
    level,
    now: () => new Date("2026-01-31T12:00:00.000Z"),
    write: (line) => lines.push(line),
  });
  return { lines, logger };
}

Deno.test("consoleLogger() writes time, level and source", () => {
  const { lines, logger } = record();
  logger.info("Ready.");
  logger.error("Failed.");
  assert.deepEqual(lines, [
    "2026-01-31T12:00:00.000Z INFO  learner: Ready.",
    "2026-01-31T12:00:00.000Z ERROR learner: Failed.",
  ]);
});

Deno.test("consoleLogger() drops what is less urgent than its level", () => {
  const { lines, logger } = record("warn");
  logger.info("a");
  logger.warn("b");
  logger.error("c");
  assert.equal(lines.length, 2);
});

Deno.test("consoleLogger() indents further lines of a message", () => {
  const { lines, logger } = record();
  logger.warn("one\ntwo");
  assert.match(lines[0], /one\n {2}two$/);
});
