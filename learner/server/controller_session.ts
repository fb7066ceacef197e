/**
 * One controller's connection: hello, then experience in and weights out.
 *
 * Weights are flow-controlled by the controller's `weights_received`: at most one version is on its
 * way, and the next one sent is the newest at that moment, so a slow controller skips versions
 * instead of filling this side's memory.
 *
 * @module
 */
import type { Initialization } from "../../common/checkpoint/metadata.ts";
import type { ChunkTransition, Logger } from "../../common/types.ts";
import { decodeFrame, encodeFrame } from "../../common/wire/frames.ts";
import type { RefusalReason } from "../../common/wire/refusals.ts";
import type {
  HelloMessage,
  Message,
  RefusedTransition,
  Signature,
  TransitionsMessage,
} from "../../common/wire/messages.ts";
import { CLOSE_CODES } from "../../common/wire/protocol.ts";
import { refusalOf } from "../../common/wire/signature.ts";
import { MAX_TRANSITIONS_PER_FRAME } from "../../common/wire/validate.ts";
import { WireError } from "../../common/wire/wire_error.ts";
import type { Intake } from "./dedup.ts";
import type { PublishedWeights } from "./published_weights.ts";

/** The part of a WebSocket that a session needs. */
export interface SessionSocket {
  /** Send one frame; silently nothing once the socket is closed. */
  send(frame: Uint8Array<ArrayBuffer>): void;
  /** Close with a code of CLOSE_CODES. */
  close(code: number): void;
}

/** Counts what comes in. */
export interface IntakeMetrics {
  /** Chunks accepted for training. */
  accepted(chunks: number): void;
  /** Copies dropped. */
  duplicates(chunks: number): void;
  /** Frames or transitions that were not valid. */
  malformed(items: number): void;
  /**
   * Those of them that were transitions, by what was wrong; they include accepted ones that training
   * has found to be unfit.
   */
  refused(reason: RefusalReason, transitions: number): void;
}

/** What all sessions of a server share. */
export interface SessionHost {
  /** What a controller's signature must equal. */
  readonly signature: Signature;
  /** Told to controllers. */
  readonly runName: string;
  /** Told to controllers: a real robot refuses weights that began at random. */
  readonly initialization: Initialization;
  /** Told to controllers: whether chunks should bring their image tokens. */
  readonly wantsImageTokens: boolean;
  /** Cap of a frame in bytes. */
  readonly maxFrameBytes: number;
  /** The newest weights. */
  weights(): PublishedWeights;
  /** Whether a version was published before the learner went back to an older checkpoint. */
  isLost(version: number): boolean;
  /** Whether controllers are asked to wait. */
  isBusy(): boolean;
  /** Take a session among the controllers, or say in a sentence why there is no room. */
  admit(session: ControllerSession): string | null;
  /** Takes valid transitions. */
  readonly intake: Intake;
  /** Counts what comes in. */
  readonly metrics: IntakeMetrics;
  /** Takes lines for people. */
  readonly logger: Logger;
}

/** One controller's connection. */
export class ControllerSession {
  readonly #socket: SessionSocket;
  readonly #host: SessionHost;
  #controllerId: string | null = null;
  #sentVersion: number | null = null;
  #heldVersion: number | null = null;
  #accepted = 0;
  #isClosed = false;

  /**
   * A connection that has yet to say hello.
   * @param socket Its socket.
   * @param host What it shares with others.
   */
  constructor(socket: SessionSocket, host: SessionHost) {
    this.#socket = socket;
    this.#host = host;
  }

  /** Who this is; null before the hello. */
  get controllerId(): string | null {
    return this.#controllerId;
  }

  /** Version of the weights that the controller holds completely; null before the first. */
  get heldVersion(): number | null {
    return this.#heldVersion;
  }

  /** Chunks accepted over this connection. */
  get acceptedChunks(): number {
    return this.#accepted;
  }

  /**
   * Take what the socket received. Never throws: what cannot be used is answered with a sentence.
   * @param data The event's data; only binary frames are valid.
   */
  receive(data: unknown): void {
    // What comes after our close is not acknowledged, so the controller sends it again.
    if (this.#isClosed) return;
    try {
      if (!(data instanceof ArrayBuffer)) {
        throw new WireError("malformed", "Cannot read frame: it is text, frames are binary");
      }
      const { maxFrameBytes } = this.#host;
      this.#take(decodeFrame(new Uint8Array(data), { maxFrameBytes }));
    } catch (error) {
      if (error instanceof WireError) {
        this.#host.metrics.malformed(1);
        this.#fail(error.message, error.code === "oversize" ? "oversize" : "malformed");
      } else {
        this.#host.logger.error(`Cannot take transitions from ${this.#name()}: ${error}`);
        // Not acknowledged, so the controller sends them again over its next connection.
        this.#fail("The learner failed to take the transitions", "learnerFailed");
      }
    }
  }

  /** Close because no hello came in time. */
  expireHello(): void {
    if (this.#controllerId === null) this.#fail("No hello came in time", "noHello");
  }

  /**
   * Send the newest weights unless a version is still on its way or this one was sent. The first ones
   * over this connection are all there are, later ones those that change.
   */
  offerWeights(): void {
    const weights = this.#host.weights();
    const { version } = weights;
    if (this.#controllerId === null || this.#sentVersion === version) return;
    if (this.#sentVersion !== this.#heldVersion) return;
    const frames = this.#sentVersion === null ? weights.all() : weights.changes();
    this.#sentVersion = version;
    for (const frame of frames) this.#socket.send(frame);
  }

  /**
   * Say something short.
   * @param message What to say.
   */
  say(message: Message): void {
    this.#socket.send(encodeFrame(message));
  }

  /**
   * Take accepted transitions back: they have turned out not to be valid. The controller is told as
   * if they had been refused at once.
   * @param refused What is wrong with each.
   */
  refuse(refused: readonly RefusedTransition[]): void {
    const ids = refused.flatMap(({ chunkId }) => chunkId ?? []);
    for (let from = 0; from < ids.length; from += MAX_TRANSITIONS_PER_FRAME) {
      const refusedIds = ids.slice(from, from + MAX_TRANSITIONS_PER_FRAME);
      this.say({ type: "ack", chunkIds: [], duplicateIds: [], refusedIds });
    }
    this.#explain(refused);
  }

  /**
   * Close the connection.
   * @param reason Which close code.
   */
  close(reason: keyof typeof CLOSE_CODES): void {
    this.#isClosed = true;
    this.#socket.close(CLOSE_CODES[reason]);
  }

  #take(message: Message): void {
    if (this.#controllerId === null) {
      if (message.type === "hello") return this.#greet(message);
      return this.#fail(`Expected a hello first, got ${message.type}`, "noHello");
    }
    switch (message.type) {
      case "transitions":
        return this.#takeTransitions(this.#controllerId, message);
      case "weights_received":
        this.#heldVersion = message.version;
        return this.offerWeights();
      case "error":
        return this.#host.logger.warn(`Controller ${this.#name()} says: ${message.sentence}`);
      default:
        throw new WireError("malformed", `A controller may not send ${message.type} here`);
    }
  }

  #greet(hello: HelloMessage): void {
    const mismatch = refusalOf(hello, this.#host.signature);
    if (mismatch !== null) return this.#refuse(hello.controllerId, mismatch, false);
    this.#controllerId = hello.controllerId;
    const full = this.#host.admit(this);
    if (full !== null) {
      this.#controllerId = null;
      return this.#refuse(hello.controllerId, full, true);
    }
    const { version } = this.#host.weights();
    const { runName, initialization, wantsImageTokens } = this.#host;
    this.say({
      type: "welcome",
      policyVersion: version,
      runName,
      initialization,
      wantsImageTokens,
    });
    if (this.#host.isBusy()) this.say({ type: "busy" });
    this.#host.logger.info(`Controller ${this.#name()} connected`);
    this.offerWeights();
  }

  #takeTransitions(controllerId: string, message: TransitionsMessage): void {
    const { intake, metrics } = this.#host;
    const { version } = this.#host.weights();
    const isKnown = ({ policyVersion }: ChunkTransition) =>
      policyVersion <= version && !this.#host.isLost(policyVersion);
    const transitions = message.transitions.filter(isKnown);
    const unknown = message.transitions.filter((chunk) => !isKnown(chunk));
    const refused = [
      ...message.refused ?? [],
      ...unknown.map((chunk) => versionFault(chunk, version, this.#host)),
    ];
    const { acceptedIds, duplicateIds } = intake(controllerId, transitions);
    this.#accepted += acceptedIds.length;
    metrics.accepted(acceptedIds.length);
    metrics.duplicates(duplicateIds.length);
    const refusedIds = refused.flatMap(({ chunkId }) => chunkId ?? []);
    this.say({ type: "ack", chunkIds: acceptedIds, duplicateIds, refusedIds });
    this.#explain(refused);
  }

  /** Count what was refused, and say why: one sentence a reason stands for all. */
  #explain(refused: readonly RefusedTransition[]): void {
    const { metrics, logger } = this.#host;
    countRefused(metrics, refused);
    const byReason = Map.groupBy(refused, ({ reason }) => reason);
    for (const [{ sentence }, ...others] of byReason.values()) {
      // A frame may hold a thousand.
      logger.warn(`Refused ${1 + others.length} transitions of ${this.#name()}: ${sentence}`);
      this.say({ type: "error", sentence });
    }
  }

  #refuse(controllerId: string, sentence: string, canRetry: boolean): void {
    this.#host.logger.warn(`Refused controller ${JSON.stringify(controllerId)}: ${sentence}`);
    this.say({ type: "refuse", sentence, canRetry });
    this.close(canRetry ? "full" : "refused");
  }

  #fail(sentence: string, reason: keyof typeof CLOSE_CODES): void {
    this.#host.logger.warn(`Closing the connection of ${this.#name()}: ${sentence}`);
    this.say({ type: "error", sentence });
    this.close(reason);
  }

  // Ids come from outside: quoted, so that they cannot forge a line of the log.
  #name(): string {
    return this.#controllerId === null ? "an unknown peer" : JSON.stringify(this.#controllerId);
  }
}

/**
 * Count transitions that were refused.
 * @param metrics What counts.
 * @param refused What is wrong with each.
 */
export function countRefused(
  metrics: IntakeMetrics,
  refused: readonly RefusedTransition[],
): void {
  metrics.malformed(refused.length);
  for (const { reason } of refused) metrics.refused(reason, 1);
}

/** What has been gone back on, and what another life of the learner, or none, has meant. */
function versionFault(
  { chunkId, policyVersion }: ChunkTransition,
  newest: number,
  { isLost }: Pick<SessionHost, "isLost">,
): RefusedTransition {
  const [reason, fate] = isLost(policyVersion)
    ? ["lost_version", "was lost when the learner went back to a checkpoint"] as const
    : ["version", "was never published here"] as const;
  const sentence =
    `Cannot accept transition: policyVersion: ${policyVersion} ${fate}, the newest ` +
    `version is ${newest}`;
  return { chunkId, reason, sentence };
}
