/**
 * Log-probabilities of given tokens under a masked softmax and the entropies of it, for every tfjs
 * backend, as one kernel with a gradient: masks are bytes, and no tensor of all log-probabilities is
 * made or kept.
 *
 * Letters: M rows, V tokens.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor1D, Tensor2D } from "../policy/tensors.ts";
import { MASKED_LOG_PROB_CPU, MASKED_LOG_PROB_WASM } from "./masked_log_prob_host.ts";
import { MASKED_LOG_PROB, MASKED_LOG_PROB_GRADIENT } from "./masked_log_prob_kernel.ts";
import { MASKED_LOG_PROB_WEBGPU } from "./masked_log_prob_webgpu.ts";
import { kernelRegistrar, runKernel } from "./register_kernels.ts";

/** What was drawn, and from what. */
export interface MaskedLogProbOptions {
  /** `[M, V]`, 1 where a row allows a token. */
  readonly allowed: Uint8Array;
  /** `[M]`: the token of each row, which it allows; −1 for a row that counts for nothing. */
  readonly tokens: Int32Array;
  /** Above 0. */
  readonly temperature: number;
}

/**
 * Log-probabilities of tokens in softmax(logits / temperature) over what is allowed, and its entropies.
 *
 * @param logits `[M, V]` float32.
 * @returns `[M]` each, in nats: 0 for rows that count for nothing, −∞ for a token that is not allowed.
 * @throws {RangeError} When a mask or a token is missing, a token is none of V, or the temperature is
 *   not a positive number.
 */
export function maskedLogProbs(
  logits: Tensor2D,
  { allowed, tokens, temperature }: MaskedLogProbOptions,
): { readonly logProb: Tensor1D; readonly entropy: Tensor1D } {
  ensureKernels();
  const [rows, vocab] = logits.shape;
  if (!(temperature > 0 && temperature < Infinity)) {
    throw new RangeError(
      `Cannot compute log-probabilities at temperature ${temperature}: it must be a positive number`,
    );
  }
  if (allowed.length !== rows * vocab || tokens.length !== rows) {
    throw new RangeError(
      `Cannot compute log-probabilities of logits [${logits.shape}]: a mask of ${allowed.length} ` +
        `places and ${tokens.length} tokens were given, ${rows * vocab} and ${rows} are needed`,
    );
  }
  const odd = tokens.findIndex((token) => token < -1 || token >= vocab);
  if (odd >= 0) {
    throw new RangeError(
      `Cannot compute the log-probability of token ${
        tokens[odd]
      } in row ${odd}: there are tokens ` +
        `0…${vocab - 1}, and −1 for none`,
    );
  }
  const [logProb, entropy] = tf.tidy(() => {
    const inputs = {
      logits,
      allowed: tf.tensor2d(allowed, [rows, vocab], "bool"),
      tokens: tf.tensor1d(tokens, "int32"),
    };
    return tf.unstack(runKernel(MASKED_LOG_PROB, inputs, { inverse: 1 / temperature }), 1);
  });
  return { logProb: logProb as Tensor1D, entropy: entropy as Tensor1D };
}

const ensureKernels = kernelRegistrar({
  cpu: MASKED_LOG_PROB_CPU,
  wasm: MASKED_LOG_PROB_WASM,
  webgpu: MASKED_LOG_PROB_WEBGPU,
  gradients: {
    [MASKED_LOG_PROB]: {
      inputs: ["logits", "allowed", "tokens"],
      of: (dy, [logits, allowed, tokens], attrs) => ({
        logits: () => runKernel(MASKED_LOG_PROB_GRADIENT, { logits, allowed, tokens, dy }, attrs),
      }),
    },
  },
});
