/**
 * What `/status` and `/metrics` show of the policy that acts: where and with what it computes, and how
 * long that takes.
 *
 * @module
 */

import { currentGpu } from "../common/device/current_gpu.ts";
import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { behaviourOfTfjs } from "../common/policy/behaviour.ts";
import type { ChosenDevice } from "../common/policy/backend.ts";
import type { DecoderTimes } from "../common/policy/chunk_decoder.ts";
import type { Decoder } from "../common/types.ts";
import type { SourceGauge } from "./chunk_source.ts";

/** A policy as it computes now; a lost GPU changes it. */
export interface PolicyStatus {
  /** How its matrices are kept. */
  readonly precision: string;
  /** What decodes its chunks. */
  readonly decoder: Decoder;
  /** The GPU's name; null if it computes on none. */
  readonly gpu: string | null;
  /** Means a chunk in milliseconds, by part; null where tfjs decodes, which does not tell. */
  readonly chunkMs: Readonly<Record<ChunkPart, number | null>> | null;
}

/** Parts of the time of a chunk; `decode` has the critic and the reading back in it. */
export type ChunkPart = "all" | "vision" | "prefill" | "decode";

const PARTS: readonly (readonly [ChunkPart, (times: DecoderTimes) => number | null])[] = [
  ["all", (times) => times.chunkMs],
  ["vision", (times) => times.visionMs],
  ["prefill", (times) => times.prefillMs],
  ["decode", (times) => times.decodeMs],
];

/** Describe a policy as it computes now. */
export function policyStatus({ network, decoder }: ActorCritic): PolicyStatus {
  const { precision } = network.backbone;
  const name = decoder?.name ?? behaviourOfTfjs(precision).decoder;
  const isOnGpu = name === "engine" || name === "webgpu";
  return {
    precision,
    decoder: name,
    gpu: isOnGpu ? currentGpu()?.info.name ?? null : null,
    chunkMs: decoder ? meanTimes(decoder.times) : null,
  };
}

function meanTimes(times: DecoderTimes): PolicyStatus["chunkMs"] {
  if (times.chunks === 0) return null;
  const mean = (ms: number | null) => ms === null ? null : ms / times.chunks;
  return Object.fromEntries(PARTS.map(([part, read]) => [part, mean(read(times))])) as Record<
    ChunkPart,
    number | null
  >;
}

/**
 * Say in the log where and with what a policy computes.
 *
 * @param device What was chosen, and why.
 */
export function describePolicy({ network, decoder }: ActorCritic, device: ChosenDevice): string {
  const computing = `computing on ${device.backend} (${device.reason}) in ` +
    network.backbone.precision;
  return decoder ? `${computing} with ${decoder.description}` : computing;
}

/**
 * Gauges of the policy.
 *
 * @param status Asked at each request.
 */
export function policyGauges(status: () => PolicyStatus): SourceGauge[] {
  return [
    {
      name: "policy_info",
      help: "1, with where and with what the policy computes as labels",
      labels: ["decoder", "precision", "gpu"],
      read: () => {
        const { decoder, precision, gpu } = status();
        return [{ labels: { decoder, precision, gpu: gpu ?? "" }, value: 1 }];
      },
    },
    {
      name: "chunk_ms",
      help: "Mean milliseconds from an observation to its chunk in the decode engine, by part",
      labels: ["part"],
      read: () =>
        Object.entries(status().chunkMs ?? {}).flatMap(([part, value]) =>
          value === null ? [] : [{ labels: { part }, value }]
        ),
    },
  ];
}
