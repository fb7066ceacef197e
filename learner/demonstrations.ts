/**
 * Demonstrations in a file, to imitate beside PPO: what a person or a script did, each chunk as one that
 * a person drove. It is a file of chunks like any other (`common/wire/chunk_file.ts`), of which only
 * observations and tokens are read.
 *
 * @module
 */

import type { ActorCritic } from "../common/policy/actor_critic.ts";
import type { ChunkTransition } from "../common/types.ts";
import { decodeChunks, encodeChunks } from "../common/wire/chunk_file.ts";
import type { ImitationExample } from "./imitation.ts";

/**
 * Encode demonstrations.
 * @param examples Observations with FAST ids of the policy that will imitate them.
 * @returns The file's bytes.
 */
export function encodeDemonstrations(examples: readonly ImitationExample[]): Uint8Array {
  return encodeChunks(examples.map(({ observation, tokens }, i): ChunkTransition => ({
    chunkId: `demonstration-${i}`,
    episodeId: `demonstration-${i}`,
    chunkIndex: 0,
    driver: "person",
    policyVersion: 0,
    observation,
    tokens,
    logProb: 0,
    tokenLogProbs: new Float32Array(0),
    behaviour: { precision: "float32", decoder: "cpu" },
    value: 0,
    reward: 0,
    stepRewards: new Float32Array(1),
    humanRewards: new Float32Array(0),
    stepsExecuted: 1,
    isTerminal: true,
    isTruncated: false,
    isCutShort: false,
    isSuccess: true,
    finalValue: 0,
  })));
}

/**
 * Read a file of demonstrations, all of which a policy must be able to imitate.
 * @param path The file.
 * @param policy The policy.
 * @returns At least one example.
 * @throws RangeError if the file is damaged or empty, or has a chunk that the policy's grammar or its
 *   pictures' size do not allow; Deno's own errors if it cannot be read.
 */
export async function readDemonstrations(
  path: string,
  policy: Pick<ActorCritic, "findFault">,
): Promise<ImitationExample[]> {
  const chunks = decodeChunks(await Deno.readFile(path));
  for (const { observation, tokens } of chunks) {
    const fault = policy.findFault(observation, tokens);
    if (fault === null) continue;
    throw new RangeError(
      `Cannot imitate ${path}: ${fault}; record demonstrations with the tokenizer and the pictures ` +
        "of this policy",
    );
  }
  if (chunks.length === 0) throw new RangeError(`Cannot imitate ${path}: it has no chunk`);
  return chunks.map(({ observation, tokens }) => ({ observation, tokens }));
}
