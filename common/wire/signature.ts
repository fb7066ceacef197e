import { type HelloMessage, type Signature } from "./messages.ts";
import { PROTOCOL_VERSION } from "./protocol.ts";

/** Longest value quoted in a sentence, in UTF-16 units. */
const MAX_QUOTED_LENGTH = 120;

/**
 * Say what differs between two signatures.
 * @param learner What the learner expects.
 * @param controller What the controller has.
 * @returns One sentence with both values of every difference, or null if they are equal.
 */
export function describeDifference(learner: Signature, controller: Signature): string | null {
  const names = [...new Set([...Object.keys(learner), ...Object.keys(controller)])].sort();
  const differences = names
    .filter((name) => own(learner, name) !== own(controller, name))
    .map((name) =>
      `${name} is ${quote(own(learner, name))} on the learner and ` +
      `${quote(own(controller, name))} on the controller`
    );
  if (differences.length === 0) return null;
  return `Learner and controller do not match: ${differences.join("; ")}; ` +
    "start both from the same checkpoint and configuration";
}

/**
 * Decide whether a hello may be accepted.
 * @param hello What the controller said.
 * @param expected The learner's signature.
 * @returns One sentence to refuse it with, or null if it is welcome.
 */
export function refusalOf(hello: HelloMessage, expected: Signature): string | null {
  if (hello.protocolVersion !== PROTOCOL_VERSION) {
    return `Learner and controller do not match: protocol version is ${PROTOCOL_VERSION} on the ` +
      `learner and ${hello.protocolVersion} on the controller; run the same release on both sides`;
  }
  return describeDifference(expected, hello.signature);
}

function own(signature: Signature, name: string): string | undefined {
  return Object.hasOwn(signature, name) ? signature[name] : undefined;
}

function quote(value: string | undefined): string {
  if (value === undefined) return "missing";
  return value.length <= MAX_QUOTED_LENGTH
    ? JSON.stringify(value)
    : JSON.stringify(value.slice(0, MAX_QUOTED_LENGTH) + "…");
}
