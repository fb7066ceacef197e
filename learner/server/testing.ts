/**
 * A learner server on loopback for tests of either side of the wire.
 *
 * @module
 */
import type { ChunkTransition, Logger } from "../../common/types.ts";
import type { RefusalReason } from "../../common/wire/refusals.ts";
import type { Signature } from "../../common/wire/messages.ts";
import { sampleTensors } from "../../common/wire/testing.ts";
import { ChunkDedup, createIntake } from "./dedup.ts";
import { LearnerServer, type LearnerServerOptions } from "./learner_server.ts";

/** The signature of {@link startLearner}'s servers. */
export const TEST_SIGNATURE: Signature = {
  model: "tiny",
  tokenizer: "fast-a1",
  normalization: "q-77",
};

/** Keeps lines instead of printing them. */
export class LineLogger implements Logger {
  /** All lines, oldest first. */
  readonly lines: string[] = [];
  /** Keep a line. */
  info(message: string): void {
    this.lines.push(message);
  }
  /** Keep a line. */
  warn(message: string): void {
    this.lines.push(message);
  }
  /** Keep a line. */
  error(message: string): void {
    this.lines.push(message);
  }
}

/** A learner that runs on loopback. */
export interface TestLearner extends AsyncDisposable {
  /** The server. */
  readonly server: LearnerServer;
  /** The controllers' address. */
  readonly url: string;
  /** The port bound. */
  readonly port: number;
  /** What was accepted, in order. */
  readonly accepted: ChunkTransition[];
  /** Chunks accepted before, survives this learner. */
  readonly dedup: ChunkDedup;
  /** What was counted. */
  readonly counts: {
    accepted: number;
    duplicates: number;
    malformed: number;
    /** By what was wrong. */
    refused: Partial<Record<RefusalReason, number>>;
  };
  /** What was logged. */
  readonly logger: LineLogger;
}

/**
 * Start a learner.
 * @param changes Options that differ from the usual ones.
 * @param place The port, default any, and the memory of accepted chunks, default empty.
 * @returns The learner; dispose of it to stop it.
 */
export function startLearner(
  changes: Partial<LearnerServerOptions> = {},
  place: { port?: number; dedup?: ChunkDedup } = {},
): TestLearner {
  const accepted: ChunkTransition[] = [];
  const dedup = place.dedup ?? new ChunkDedup();
  const counts: TestLearner["counts"] = { accepted: 0, duplicates: 0, malformed: 0, refused: {} };
  const logger = new LineLogger();
  const server = new LearnerServer({
    runName: "test-run",
    initialization: "checkpoint",
    signature: TEST_SIGNATURE,
    initialWeights: { version: 1, tensors: sampleTensors(1) },
    intake: createIntake(dedup, (transition) => accepted.push(transition)),
    status: () => ({ run: "test-run" }),
    registry: { contentType: "text/plain", metrics: () => Promise.resolve("tendon_test 1\n") },
    metrics: {
      accepted: (chunks) => counts.accepted += chunks,
      duplicates: (chunks) => counts.duplicates += chunks,
      malformed: (items) => counts.malformed += items,
      refused: (reason, chunks) => {
        counts.refused[reason] = (counts.refused[reason] ?? 0) + chunks;
      },
    },
    logger,
    ...changes,
  });
  const { port } = server.listen({ port: place.port ?? 0 });
  return {
    server,
    port,
    url: `ws://127.0.0.1:${port}/ws`,
    accepted,
    dedup,
    counts,
    logger,
    [Symbol.asyncDispose]: () => server.close(),
  };
}
