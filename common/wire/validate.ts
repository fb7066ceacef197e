/**
 * Turns whatever a frame held into a message, or says in one sentence why it is none. Both ends use
 * it: the receiver because peers are not trusted, the controller before it queues a transition so
 * that a faulty one is refused where it was made.
 *
 * @module
 */
import { z } from "zod";
import { INITIALIZATIONS } from "../checkpoint/metadata.ts";
import { PRECISIONS } from "../config/config.ts";
import { CAMERA_NAMES, type ChunkTransition, DECODERS, DRIVERS } from "../types.ts";
import { findLogProbFault } from "./log_probs.ts";
import type { Message, RefusedTransition } from "./messages.ts";
import type { RefusalReason } from "./refusals.ts";
import { findRewardFault } from "./rewards.ts";
import { WireError } from "./wire_error.ts";

/** Longest id of a chunk, an episode or a controller, in UTF-16 units. */
export const MAX_ID_LENGTH = 200;
/** Most transitions in one frame. */
export const MAX_TRANSITIONS_PER_FRAME = 1024;

const MAX_SENTENCE_LENGTH = 2000;
const MAX_PROMPT_LENGTH = 4096;
const MAX_IMAGE_SIDE_PIXELS = 4096;
const MAX_TOKENS = 8192;
/** Above any FAST vocabulary in use (2048) and above Gemma's whole vocabulary (257,152). */
const MAX_TOKEN_ID = 1_000_000;
/** ALOHA's two arms of six joints and a gripper each. */
const STATE_SIZE = 14;
const MAX_STEPS_PER_CHUNK = 10_000;
const MAX_DIMENSIONS = 8;
const MAX_TENSORS_PER_FRAME = 20_000;

const id = z.string().min(1).max(MAX_ID_LENGTH);
const sentence = z.string().max(MAX_SENTENCE_LENGTH);
const count = z.int().min(0);
const finite = z.number();

const floats = z.instanceof(Float32Array, { error: "must be a Float32Array" });
/** An issue about an array's size or shape, told apart from others when it is refused. */
const aboutShape = (message: string) => ({ code: "custom" as const, message, params: SHAPE });
const SHAPE = { reason: "shape" } as const;

const state = floats.superRefine((data, context) => {
  if (data.length !== STATE_SIZE) {
    context.addIssue(aboutShape(`must have ${STATE_SIZE} numbers, got ${data.length}`));
    return;
  }
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) context.addIssue(`must be finite, got ${data[bad]} at index ${bad}`);
});

const finiteFloats = floats.superRefine((data, context) => {
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) context.addIssue(`must be finite, got ${data[bad]} at index ${bad}`);
});

const tokens = z.instanceof(Int32Array, { error: "must be an Int32Array" })
  .superRefine((data, context) => {
    if (data.length < 1 || data.length > MAX_TOKENS) {
      context.addIssue(aboutShape(`must have 1 to ${MAX_TOKENS} tokens, got ${data.length}`));
      return;
    }
    const bad = data.findIndex((value) => value < 0 || value >= MAX_TOKEN_ID);
    if (bad >= 0) {
      context.addIssue(`must be in [0, ${MAX_TOKEN_ID}), got ${data[bad]} at index ${bad}`);
    }
  });

const image = z.object({
  width: z.int().min(1).max(MAX_IMAGE_SIDE_PIXELS),
  height: z.int().min(1).max(MAX_IMAGE_SIDE_PIXELS),
  data: z.instanceof(Uint8Array, { error: "must be a Uint8Array" }),
}).superRefine((picture, context) => {
  const bytes = picture.width * picture.height * 3;
  if (picture.data.length !== bytes) {
    context.addIssue(aboutShape(
      `must have ${bytes} bytes for ${picture.width}x${picture.height} RGB, ` +
        `got ${picture.data.length}`,
    ));
  }
});

const transition = z.object({
  chunkId: id,
  episodeId: id,
  chunkIndex: count,
  driver: z.enum(DRIVERS),
  policyVersion: count,
  observation: z.object({
    images: z.object({
      [CAMERA_NAMES[0]]: image,
      [CAMERA_NAMES[1]]: image,
      [CAMERA_NAMES[2]]: image,
    }),
    state,
    prompt: z.string().max(MAX_PROMPT_LENGTH),
  }),
  tokens,
  // Its range is checked together with that of the tokens', so that refusals are told apart.
  logProb: z.custom<number>((value) => typeof value === "number", "must be a number"),
  tokenLogProbs: floats,
  behaviour: z.object({ precision: z.enum(PRECISIONS), decoder: z.enum(DECODERS) }),
  value: finite,
  // Rewards are checked together, so that refusals are told apart.
  reward: z.custom<number>((value) => typeof value === "number", "must be a number"),
  stepRewards: floats,
  humanRewards: floats,
  stepsExecuted: z.int().min(1).max(MAX_STEPS_PER_CHUNK),
  isTerminal: z.boolean(),
  isTruncated: z.boolean(),
  isCutShort: z.boolean(),
  isSuccess: z.boolean(),
  finalValue: finite,
  imageTokens: finiteFloats.optional(),
});

const slice = z.object({
  name: id,
  shape: z.array(z.int().min(1)).max(MAX_DIMENSIONS),
  offset: count,
  data: floats,
});

const ids = z.array(id).max(MAX_TRANSITIONS_PER_FRAME);

const SCHEMAS = {
  hello: z.object({
    type: z.literal("hello"),
    protocolVersion: z.int(),
    role: z.literal("controller"),
    controllerId: id,
    signature: z.record(z.string().min(1).max(64), z.string().max(512))
      .refine((record) => Object.keys(record).length <= 32, "must have at most 32 entries"),
  }),
  welcome: z.object({
    type: z.literal("welcome"),
    policyVersion: count,
    runName: z.string().max(MAX_ID_LENGTH),
    initialization: z.enum(INITIALIZATIONS),
    wantsImageTokens: z.boolean(),
  }),
  refuse: z.object({ type: z.literal("refuse"), sentence, canRetry: z.boolean() }),
  transitions: z.object({
    type: z.literal("transitions"),
    transitions: z.array(z.unknown()).min(1).max(MAX_TRANSITIONS_PER_FRAME),
  }),
  ack: z.object({ type: z.literal("ack"), chunkIds: ids, duplicateIds: ids, refusedIds: ids }),
  weights: z.object({
    type: z.literal("weights"),
    version: count,
    progress: z.number().min(0).max(1),
    partIndex: count,
    partCount: z.int().min(1),
    slices: z.array(slice).max(MAX_TENSORS_PER_FRAME),
  }).refine((part) => part.partIndex < part.partCount, "partIndex must be below partCount"),
  weights_received: z.object({ type: z.literal("weights_received"), version: count }),
  busy: z.object({ type: z.literal("busy") }),
  resume: z.object({ type: z.literal("resume") }),
  shutdown: z.object({ type: z.literal("shutdown"), sentence }),
  error: z.object({ type: z.literal("error"), sentence }),
} satisfies Record<Message["type"], z.ZodType>;

const typed = z.object({ type: z.string() });

/**
 * Check a decoded value against the messages.
 * @param value What the codec decoded.
 * @returns The message. Typed arrays are the same objects, not copies. Of `transitions`, those that
 *   are not valid are listed in `refused` and the others kept.
 * @throws {WireError} If it is no message.
 */
export function parseMessage(value: unknown): Message {
  const head = typed.safeParse(value);
  if (!head.success) {
    throw new WireError("malformed", "Cannot read frame: it holds no message with a type");
  }
  const { type } = head.data;
  if (!isMessageType(type)) {
    throw new WireError(
      "malformed",
      `Cannot read frame: no message has type ${JSON.stringify(type.slice(0, 40))}`,
    );
  }
  const parsed = SCHEMAS[type].safeParse(value);
  if (!parsed.success) {
    throw new WireError("malformed", `Cannot read ${type} message: ${firstIssue(parsed.error)}`);
  }
  return parsed.data.type === "transitions"
    ? sortTransitions(parsed.data.transitions)
    : parsed.data;
}

/**
 * Check one transition.
 * @param value What should be a transition.
 * @returns The transition; its typed arrays are the same objects.
 * @throws {WireError} If a field is missing, has the wrong type or length, or is out of range.
 */
export function parseTransition(value: unknown): ChunkTransition {
  const sorted = sortTransition(value);
  if ("fault" in sorted) throw new WireError("malformed", sorted.fault.sentence);
  return sorted.transition;
}

type Sorted =
  | { readonly transition: ChunkTransition }
  | { readonly fault: { readonly reason: RefusalReason; readonly sentence: string } };

function sortTransition(value: unknown): Sorted {
  const parsed = transition.safeParse(value);
  const refuse = (reason: RefusalReason, problem: string): Sorted => ({
    fault: { reason, sentence: `Cannot accept transition: ${problem}` },
  });
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const isShape = issue.code === "custom" && issue.params === SHAPE;
    return refuse(isShape ? "shape" : "fields", firstIssue(parsed.error));
  }
  const fault = findRewardFault(parsed.data) ?? findLogProbFault(parsed.data);
  if (fault !== null) return refuse(fault.reason, `${fault.field}: ${fault.problem}`);
  return { transition: parsed.data };
}

function isMessageType(type: string): type is Message["type"] {
  return Object.hasOwn(SCHEMAS, type);
}

function sortTransitions(values: readonly unknown[]): Message {
  const transitions: ChunkTransition[] = [];
  const refused: RefusedTransition[] = [];
  for (const value of values) {
    const sorted = sortTransition(value);
    if ("fault" in sorted) {
      const named = z.object({ chunkId: id }).safeParse(value);
      refused.push({ chunkId: named.success ? named.data.chunkId : null, ...sorted.fault });
    } else {
      transitions.push(sorted.transition);
    }
  }
  return refused.length > 0
    ? { type: "transitions", transitions, refused }
    : { type: "transitions", transitions };
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  const path = issue.path.map((key) => String(key).slice(0, 64)).join(".");
  const text = issue.message.slice(0, 300);
  return path === "" ? text : `${path}: ${text}`;
}
