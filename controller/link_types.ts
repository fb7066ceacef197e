/**
 * What a link to the learner is told and what it tells.
 *
 * @module
 */
import type { Logger } from "../common/types.ts";
import type { Signature, WelcomeMessage } from "../common/wire/messages.ts";
import type { WeightsSnapshot } from "../common/wire/weights_parts.ts";

/** What a link needs. */
export interface LearnerLinkOptions {
  /** The learner's WebSocket, such as `ws://127.0.0.1:8080/ws`. */
  readonly url: string;
  /** The learner's token, if it has one. */
  readonly token?: string | null;
  /** Who this is; the same over all connections of this process. */
  readonly controllerId: string;
  /** Must equal the learner's. */
  readonly signature: Signature;
  /** Looks at a learner that has accepted this controller; a sentence ends the link as refused. */
  readonly refuseLearner?: (welcome: WelcomeMessage) => string | null;
  /** Uniform numbers in [0, 1) from a seeded generator, for the jitter of the pauses. */
  readonly random: () => number;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Called with each complete version of the weights, besides `takeLatestWeights`. */
  readonly onWeights?: (weights: WeightsSnapshot) => void;
  /** Chunks held while the learner is away; default 1024. */
  readonly outboxCapacity?: number;
  /** Unacknowledged chunks at which `hasCapacity` turns false; default 64. */
  readonly windowChunks?: number;
  /** Chunks in one frame at most; default 8. */
  readonly batchChunks?: number;
  /** Cap of a frame in bytes, either way; default 64 MiB. */
  readonly maxFrameBytes?: number;
  /** Pause between pings; default 5000 ms. */
  readonly heartbeatMs?: number;
  /** Silence after which the learner counts as gone, hello included; default 15,000 ms. */
  readonly deadlineMs?: number;
  /** First pause before a new attempt; doubles with each failure; default 200 ms. */
  readonly backoffBaseMs?: number;
  /** Longest pause before a new attempt; default 10,000 ms. */
  readonly backoffCapMs?: number;
}

/** Where a link stands. `ended` is final: refused, run over or closed. */
export type LinkState = "idle" | "connecting" | "connected" | "waiting" | "ended";

/** Why a link has ended for good. */
export interface LinkEnd {
  /** `refused`: the learner will never take this controller; `run_over`; `closed`: by this side. */
  readonly reason: "refused" | "run_over" | "closed";
  /** For people. */
  readonly sentence: string;
}

/** What a link has done since its start. */
export interface LinkCounts {
  /** Chunks sent, each once however often it was sent. */
  readonly sent: number;
  /** Chunks sent again over a later connection. */
  readonly resent: number;
  /** Chunks that the learner accepted or had accepted before. */
  readonly acked: number;
  /** Of those, the ones it had accepted before. */
  readonly duplicates: number;
  /** Chunks that the learner found invalid; some of them it had accepted before. */
  readonly refused: number;
  /** Chunks dropped because the outbox was full. */
  readonly dropped: number;
  /** Connections made after the first one. */
  readonly reconnects: number;
  /** Chunks held now. */
  readonly queued: number;
}
