/**
 * The chunk grammar in WGSL: the same question as `ChunkGrammar.allowed`, from the same tables.
 * @module
 */

import type { GrammarTables } from "../../tokenizer/grammar.ts";
import type { Fragment } from "../kernel.ts";

/**
 * Functions `effect_of(pending, token)`, `is_allowed(effect, remaining, budget)`, and what an effect
 * does to the state.
 *
 * @param tables The grammar's tables.
 * @returns The fragment; binds `grammar`, the tables one after the other.
 */
export function grammarFragment(tables: GrammarTables): Fragment {
  const { vocabSize, pendings, coefficients } = tables;
  return {
    bindings: [{ name: "grammar", access: "read", type: "array<i32>" }],
    code: `
fn effect_of(pending: u32, token: u32) -> i32 { return grammar[pending * ${vocabSize}u + token]; }
fn count_of(effect: i32) -> u32 { return u32(effect) / ${pendings}u; }
fn pending_after(effect: i32) -> u32 { return u32(effect) % ${pendings}u; }
fn is_allowed(effect: i32, remaining: u32, budget: u32) -> bool {
  if (effect < 0 || count_of(effect) > remaining) { return false; }
  let row = ${pendings * vocabSize}u + pending_after(effect) * ${coefficients + 1}u;
  return u32(grammar[row + remaining - count_of(effect)]) < budget;
}`,
  };
}

/**
 * The tables as the kernels read them.
 *
 * @param tables The grammar's tables.
 * @returns Effects, then fewest tokens.
 */
export function grammarWords({ effects, fewest }: GrammarTables): Int32Array<ArrayBuffer> {
  const words = new Int32Array(effects.length + fewest.length);
  words.set(effects);
  words.set(fewest, effects.length);
  return words;
}
