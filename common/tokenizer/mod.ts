/**
 * Tokens in and out of the policy: FAST for actions, its grammar, the language side, the prompt
 * and normalisation.
 *
 * @module
 */

export * from "./dialect.ts";
export * from "./fast.ts";
export * from "./grammar.ts";
export * from "./language.ts";
export * from "./normalization.ts";
export * from "./prompt.ts";
export * from "./word_level.ts";
