/**
 * Which policy a chunk's log-probabilities are those of.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Precision } from "../config/config.ts";
import { type Behaviour, type Decoder, DECODERS } from "../types.ts";

/**
 * Describe a policy that decodes with tfjs as it stands now.
 *
 * @param precision How its matrices are kept.
 * @throws {RangeError} The backend in force is none that this project knows.
 */
export function behaviourOfTfjs(precision: Precision): Behaviour {
  const backend = tf.getBackend();
  if (!isDecoder(backend)) {
    throw new RangeError(
      `Cannot name what decodes: tfjs computes on ${JSON.stringify(backend)}, known are ` +
        `${DECODERS.join(", ")}; choose one with useDevice()`,
    );
  }
  return { precision, decoder: backend };
}

function isDecoder(name: string): name is Decoder {
  return (DECODERS as readonly string[]).includes(name);
}
