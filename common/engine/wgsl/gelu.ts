/**
 * gelu in WGSL.
 * @module
 */

import type { Fragment } from "../kernel.ts";
import { f32 } from "./shared.ts";

/**
 * `gelu(x)`, tanh approximation, as `common/policy/layers.ts` has it: a sigmoid, exactly. Its argument
 * is held where exp stays finite.
 */
export const GELU: Fragment = {
  bindings: [],
  code: `fn gelu(x: f32) -> f32 {
  let slope = ${f32(2 * Math.sqrt(2 / Math.PI))} * x * (1.0 + 0.044715 * x * x);
  return x / (1.0 + exp(-clamp(slope, -80.0, 80.0)));
}`,
};
