import assert from "node:assert/strict";
import { Operator, type OperatorEvent } from "./operator.ts";

function create() {
  const errors: string[] = [];
  const events: OperatorEvent[] = [];
  const logger = { info() {}, warn() {}, error: (message: string) => void errors.push(message) };
  const operator = new Operator({ logger });
  operator.onEvent((event) => void events.push(event));
  return { operator, errors, events };
}

Deno.test("Operator.waitForStart() ends at a start, and not at one that came before", async () => {
  const { operator, events } = create();
  assert.equal(operator.start("HTTP"), false);
  const started = operator.waitForStart(new AbortController().signal);
  assert.equal(operator.isStartAwaited, true);
  assert.equal(operator.start("key press"), true);
  await started;
  assert.equal(operator.isStartAwaited, false);
  assert.deepEqual(events, [
    { kind: "start", source: "HTTP", wasAsked: false },
    { kind: "start", source: "key press", wasAsked: true },
  ]);
});

Deno.test("Operator.waitForStart() gives the signal's reason, and waits no more", async () => {
  const { operator } = create();
  const controller = new AbortController();
  const waiting = operator.waitForStart(controller.signal);
  const reason = new Error("the program ends");
  controller.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(operator.waitForStart(controller.signal), reason);
  assert.equal(operator.isStartAwaited, false);
  assert.equal(operator.start("HTTP"), false);
});

Deno.test("Operator.start() begins everything that waits", async () => {
  const { operator } = create();
  const { signal } = new AbortController();
  const both = Promise.all([operator.waitForStart(signal), operator.waitForStart(signal)]);
  assert.equal(operator.start("HTTP"), true);
  await both;
});

Deno.test("Operator.askVerdict() hears the last verdict since it was asked, and none after its end", () => {
  const { operator } = create();
  assert.equal(operator.success("HTTP"), false);
  const question = operator.askVerdict();
  assert.equal(question.answer, null);
  assert.equal(operator.success("HTTP"), true);
  assert.equal(question.answer, "success");
  assert.equal(operator.failure("HTTP"), true);
  assert.equal(question.answer, "failure");
  question[Symbol.dispose]();
  assert.equal(operator.isVerdictAwaited, false);
  assert.equal(operator.success("HTTP"), false);
  assert.equal(question.answer, "failure");
  using next = operator.askVerdict();
  assert.equal(next.answer, null);
});

Deno.test("Operator.stop() has told every listener when it returns, though one throws", () => {
  const { operator, events, errors } = create();
  operator.onEvent(() => {
    throw new Error("broken");
  });
  let last: OperatorEvent | undefined;
  const end = operator.onEvent((event) => void (last = event));
  operator.stop("the arm is too close", "HTTP");
  const stop = { kind: "stop", source: "HTTP", reason: "the arm is too close" };
  assert.deepEqual(last, stop);
  assert.deepEqual(events, [stop]);
  assert.deepEqual(errors, ["A listener to the operator's stop failed: Error: broken"]);
  end();
  operator.release("key press");
  assert.deepEqual(last, stop);
  assert.deepEqual(events[1], { kind: "release", source: "key press", wasAsked: true });
});

Deno.test("Operator.stop() begins and judges nothing", () => {
  const { operator } = create();
  const controller = new AbortController();
  const waiting = operator.waitForStart(controller.signal);
  using question = operator.askVerdict();
  operator.stop("enough", "HTTP");
  assert.equal(operator.isStartAwaited, true);
  assert.equal(question.answer, null);
  controller.abort(new Error("over"));
  return assert.rejects(waiting, /over/);
});
