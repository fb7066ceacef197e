import assert from "node:assert/strict";
import { agree, type AgreementOptions, requireAgreement } from "./agreement.ts";

/** A person who types, one piece after another, and then nothing more. */
function person(pieces: readonly string[], isTerminal = true, ends = false) {
  const said: string[] = [];
  let isCancelled = false;
  const bytes = pieces.map((text) => new TextEncoder().encode(text));
  const readable = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = bytes.shift();
      if (next !== undefined) controller.enqueue(next);
      else if (ends) controller.close();
    },
    cancel() {
      isCancelled = true;
    },
  }, { highWaterMark: 0 });
  const options: AgreementOptions = {
    kind: "aloha",
    hasAgreed: false,
    keyboard: { isTerminal: () => isTerminal, readable },
    say: (line) => said.push(line),
    signal: new AbortController().signal,
  };
  return { options, said, wasCancelled: () => isCancelled };
}

Deno.test("agree() waits for Enter at a terminal and gives the keyboard back", async () => {
  const { options, said, wasCancelled } = person(["yes", " please\n"]);
  await agree(options);
  assert.match(said[0], /^Press Enter/);
  assert.ok(wasCancelled());
});

Deno.test("agree() asks nobody about emulated arms, or after --yes", async () => {
  const { options, said } = person([], false);
  await agree({ ...options, kind: "emulated" });
  await agree({ ...options, hasAgreed: true });
  assert.deepEqual(said, []);
});

Deno.test("agree() refuses real arms where nobody can agree", async () => {
  const { options } = person(["\n"], false);
  const refusal = { name: "UsageError", message: /^Nobody can agree .* --yes\.$/ };
  assert.throws(() => requireAgreement(options), refusal);
  await assert.rejects(agree(options), refusal);
});

Deno.test("agree() takes the end of the input, and a signal, for a no", async () => {
  await assert.rejects(agree(person([" "], true, true).options), /ended without an Enter/);
  const abort = new AbortController();
  const { options, wasCancelled } = person([]);
  const asked = agree({ ...options, signal: abort.signal });
  const reason = new Error("Stopped");
  abort.abort(reason);
  await assert.rejects(asked, reason);
  assert.ok(wasCancelled());
  await assert.rejects(agree({ ...options, signal: abort.signal }), reason);
});
