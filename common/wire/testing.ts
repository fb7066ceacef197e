/**
 * Experience and weights for tests of whatever crosses the wire.
 *
 * @module
 */
import { CAMERA_NAMES, type ChunkTransition, type HostTensor, type RgbImage } from "../types.ts";

/**
 * A valid transition with small pictures.
 * @param chunkIndex Position in its episode; also makes the id.
 * @param changes Fields that differ.
 * @returns The transition.
 */
export function sampleTransition(
  chunkIndex: number,
  changes: Partial<ChunkTransition> = {},
): ChunkTransition {
  const images = Object.fromEntries(
    CAMERA_NAMES.map((name, camera) => [name, sampleImage(4 + camera, 3, chunkIndex)]),
  ) as Record<(typeof CAMERA_NAMES)[number], RgbImage>;
  return {
    chunkId: `chunk-${chunkIndex}`,
    episodeId: "episode-0",
    chunkIndex,
    driver: "policy",
    policyVersion: 1,
    observation: {
      images,
      state: Float32Array.from({ length: 14 }, (_, joint) => joint / 7 - 1),
      prompt: "reach the red ball",
    },
    tokens: Int32Array.of(5, 1999, 0, chunkIndex),
    logProb: -12.5,
    tokenLogProbs: Float32Array.of(-4, -8.25, 0, -0.25),
    behaviour: { precision: "float32", decoder: "wasm" },
    value: 0.25,
    reward: 1.5,
    stepRewards: Float32Array.of(0.25, 0, 2, -0.75),
    humanRewards: Float32Array.of(0, 0, 2, 0),
    stepsExecuted: 4,
    isTerminal: false,
    isTruncated: false,
    isCutShort: false,
    isSuccess: false,
    finalValue: 0,
    ...changes,
  };
}

/**
 * Two small tensors.
 * @param seed Makes the values differ.
 * @returns The tensors.
 */
export function sampleTensors(seed: number): HostTensor[] {
  return [
    { name: "PaliGemma/llm/final_norm/scale", shape: [4], data: Float32Array.of(seed, 1, 2, 3) },
    { name: "value_head/bias", shape: [], data: Float32Array.of(seed / 2) },
  ];
}

function sampleImage(width: number, height: number, seed: number): RgbImage {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, at) => (at * 7 + seed) & 255);
  return { width, height, data };
}
