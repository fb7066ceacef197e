/**
 * What controllers and learner say to each other, one interface a message, told apart by `type`.
 *
 * A connection's life: the controller says `hello`; the learner answers `welcome` (or `refuse`, and
 * closes) and sends its `weights`. Then the controller streams `transitions`, each answered by an
 * `ack`, and the learner streams newer `weights`, each answered by `weights_received`. `busy` asks
 * the controller to wait, `resume` takes it back, `shutdown` says that the run is over.
 *
 * @module
 */
import type { Initialization } from "../checkpoint/metadata.ts";
import type { ChunkTransition } from "../types.ts";
import type { RefusalReason } from "./refusals.ts";

/** What must be equal on both sides for experience and weights to make sense; names are free. */
export type Signature = Readonly<Record<string, string>>;

/** The first message of a controller. */
export interface HelloMessage {
  /** Tells the messages apart. */
  readonly type: "hello";
  /** The sender's PROTOCOL_VERSION. */
  readonly protocolVersion: number;
  /** Only controllers open connections. */
  readonly role: "controller";
  /** Stays the same over the controller's reconnections. */
  readonly controllerId: string;
  /** Model, tokenizer, normalisation and whatever else must agree. */
  readonly signature: Signature;
}

/** The hello was accepted. */
export interface WelcomeMessage {
  /** Tells the messages apart. */
  readonly type: "welcome";
  /** Version of the learner's current weights, which follow. */
  readonly policyVersion: number;
  /** Name of the learner's run. */
  readonly runName: string;
  /** Whether the run began with a checkpoint's weights or with random ones, which no real arm executes. */
  readonly initialization: Initialization;
  /** Whether chunks should bring their image tokens: the learner then need not compute them. */
  readonly wantsImageTokens: boolean;
}

/** The hello was not accepted; the connection closes after it. */
export interface RefuseMessage {
  /** Tells the messages apart. */
  readonly type: "refuse";
  /** Why, in one sentence. */
  readonly sentence: string;
  /** Whether trying again later may help. */
  readonly canRetry: boolean;
}

/** A transition that the receiver could not accept. */
export interface RefusedTransition {
  /** Its id, if that much could be read. */
  readonly chunkId: string | null;
  /** What is wrong, in a word. */
  readonly reason: RefusalReason;
  /** What is wrong, in one sentence. */
  readonly sentence: string;
}

/** Experience, oldest first. */
export interface TransitionsMessage {
  /** Tells the messages apart. */
  readonly type: "transitions";
  /** The valid ones. */
  readonly transitions: readonly ChunkTransition[];
  /** Set by the decoder, never sent: those that were in the frame and are not valid. */
  readonly refused?: readonly RefusedTransition[];
}

/** Chunks that the controller may forget. */
export interface AckMessage {
  /** Tells the messages apart. */
  readonly type: "ack";
  /** Accepted now. */
  readonly chunkIds: readonly string[];
  /** Accepted before: the learner dropped this second copy. */
  readonly duplicateIds: readonly string[];
  /**
   * Not valid: sending them again would not help. They may have been accepted before: some faults show
   * when a chunk is to be trained on.
   */
  readonly refusedIds: readonly string[];
}

/** Consecutive values of one tensor. */
export interface TensorSlice {
  /** Parameter path. */
  readonly name: string;
  /** Dimensions of the whole tensor. */
  readonly shape: readonly number[];
  /** Position of the first value in the flattened tensor. */
  readonly offset: number;
  /** The values. */
  readonly data: Float32Array;
}

/**
 * One part of a version of the weights; see `weights_parts.ts`. The first version over a connection has
 * all tensors. A later one may lack those that are as they were.
 */
export interface WeightsMessage {
  /** Tells the messages apart. */
  readonly type: "weights";
  /** Policy version, growing. */
  readonly version: number;
  /** How much of the run was done when they were published, 0–1. */
  readonly progress: number;
  /** Position of this part, from 0. */
  readonly partIndex: number;
  /** Number of parts, at least 1. */
  readonly partCount: number;
  /** Values carried by this part. */
  readonly slices: readonly TensorSlice[];
}

/** The controller holds a complete version; the learner may send a newer one. */
export interface WeightsReceivedMessage {
  /** Tells the messages apart. */
  readonly type: "weights_received";
  /** The version received. */
  readonly version: number;
}

/** The learner's buffer is full: send nothing new until `resume`. */
export interface BusyMessage {
  /** Tells the messages apart. */
  readonly type: "busy";
}

/** Takes a `busy` back. */
export interface ResumeMessage {
  /** Tells the messages apart. */
  readonly type: "resume";
}

/** The learner's run is over; the controller need not come back. */
export interface ShutdownMessage {
  /** Tells the messages apart. */
  readonly type: "shutdown";
  /** Why, in one sentence. */
  readonly sentence: string;
}

/** Something that the peer sent could not be used; a close may follow. */
export interface ErrorMessage {
  /** Tells the messages apart. */
  readonly type: "error";
  /** What is wrong, in one sentence. */
  readonly sentence: string;
}

/** Everything that a frame may hold. */
export type Message =
  | HelloMessage
  | WelcomeMessage
  | RefuseMessage
  | TransitionsMessage
  | AckMessage
  | WeightsMessage
  | WeightsReceivedMessage
  | BusyMessage
  | ResumeMessage
  | ShutdownMessage
  | ErrorMessage;
